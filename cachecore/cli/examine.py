"""What a store is and does, tried without writing anything; and what of it needs attention, with the remedy.

A backend may be able to do what this server or this user is not: each ability is tried. What can only be tried by
writing is not, and said to be unknown.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import unquote

from cachecore.cli.store import Store, Stored, patient
from cachecore.contract.errors import BackendError
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import (
    Alive,
    CacheBackend,
    SupportsAbout,
    SupportsFeed,
    SupportsMarks,
    SupportsPartitions,
    SupportsScan,
    SupportsTime,
    SupportsTouch,
)

_FEED_PATIENCE: Final = 2.0
"""Seconds in which a feed must say that it can be trusted."""
_DEFAULTS: Final = StoreOptions()
_TRIPS: Final = 5
_CLOCK: Final = 1.0
"""Seconds by which a clock may differ before it is worth a line."""

ABILITIES: Final = {
    "scan": ("invalidating a namespace gives memory back and counts", "it cannot count or give memory back"),
    "feed": ("copies in memory are told of changes", "copies in memory live for l1_max_age"),
    "time": ("one clock for all hosts", "the clocks of hosts are compared"),
    "touch": ("what memory answers for is not evicted as unused", "it does not evict by use"),
    "marks": ("a store that goes back in time is noticed", "a restored store may bring invalidated answers back"),
    "partitions": ("several nodes, guarded one by one", "one node"),
}
_KINDS: Final[Mapping[str, Any]] = {
    "scan": SupportsScan,
    "feed": SupportsFeed,
    "time": SupportsTime,
    "touch": SupportsTouch,
    "marks": SupportsMarks,
    "partitions": SupportsPartitions,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What needs attention, and the remedy."""

    what: str
    remedy: str
    level: Literal["problem", "warning", "advice"] = "advice"
    """`problem`: the cache does not do its work as it is; `warning`: it does less than it could."""


async def examine(store: Store, sample: int) -> dict[str, Any]:
    """Return what the store is and does; `findings` holds `Finding`s. Raises BackendError if it does not answer.

    Args:
        store: an open store.
        sample: answers that are looked at, at most.
    """
    backend = store.backend
    found: dict[str, Any] = {"answers": True}
    trips = await _round_trips(store)
    found["read_seconds"] = trips
    found["read_deadline_seconds"] = deadline_of(trips)
    abilities, refused = await _abilities(store)
    found["abilities"], found["refused"] = abilities, refused
    if abilities["time"] and isinstance(backend, SupportsTime):
        before = time.time()
        said = await patient("time", backend.time())
        found["clock_ahead_seconds"] = said - (before + time.time()) / 2
    if isinstance(backend, SupportsAbout):
        servers = await patient("about", backend.about(store.start))
        found["servers"] = {name: dict(facts) for name, facts in servers.items()}
    findings = [*_of_abilities(abilities, refused), *_of_servers(found.get("servers", {}))]
    if abs(found.get("clock_ahead_seconds", 0.0)) > _CLOCK:
        findings.append(
            Finding(
                f"the store's clock is {found['clock_ahead_seconds']:+.1f} s from this host's",
                "run a time service on both: answers go by the store's clock, logs and traces by this host's",
            )
        )
    if trips * _TRIPS > _DEFAULTS.backend_timeout_max:
        findings.append(
            Finding(
                f"a round trip takes {trips * 1e3:.0f} ms, so that five of them are over the longest deadline",
                "put the store nearer, or raise backend_timeout_max",
                level="problem",
            )
        )
    if abilities["scan"]:
        found["sample"], more = await _sample(store, sample)
        findings += more
        found["other_prefixes"] = [] if found["sample"]["looked_at"] or not sample else await store.other_prefixes()
    found["findings"] = findings
    return found


def deadline_of(trip: float) -> float:
    """Return the deadline of a read, in seconds, that follows from a round trip of `trip` seconds by the defaults."""
    return max(_DEFAULTS.backend_timeout, min(_TRIPS * trip, _DEFAULTS.backend_timeout_max))


async def _round_trips(store: Store) -> float:
    """Return the seconds of the quickest of a few reads; the first one connects."""
    key = [f"{store.start}s:doctor"]
    await store.values(key)
    quickest = float("inf")
    for _ in range(_TRIPS):
        began = time.perf_counter()
        await store.values(key)
        quickest = min(quickest, time.perf_counter() - began)
    return quickest


async def _abilities(store: Store) -> tuple[dict[str, bool | None], dict[str, str]]:
    """Return each ability (None: only a write could tell), and of those that are refused the reason."""
    backend = store.backend
    abilities: dict[str, bool | None] = {name: isinstance(backend, kind) for name, kind in _KINDS.items()}
    refused: dict[str, str] = {}
    tries: dict[str, Callable[[], Awaitable[object]]] = {
        "scan": lambda: _first_page(backend, store.entry_prefix),
        "time": lambda: _time(backend),
        "touch": lambda: _touch(backend, f"{store.start}s:doctor"),
    }
    for name, attempt in tries.items():
        if abilities[name]:
            try:
                await patient(name, attempt())
            except BackendError as error:
                if error.reason == "no_bucket":  # reads find nothing there either: it is the place that is wrong
                    raise
                abilities[name], refused[name] = False, error.reason
    if isinstance(backend, SupportsFeed):
        abilities["feed"] = await _tells(backend, store.start)
    if abilities["marks"]:
        abilities["marks"] = None
    return abilities, refused


async def _first_page(backend: CacheBackend, prefix: str) -> None:
    if isinstance(backend, SupportsScan):
        async for _ in backend.scan(prefix):
            return


async def _time(backend: CacheBackend) -> None:
    if isinstance(backend, SupportsTime):
        await backend.time()


async def _touch(backend: CacheBackend, key: str) -> None:
    if isinstance(backend, SupportsTouch):
        await backend.touch([key])  # of a key that is not there: it does nothing, and is refused all the same


async def _tells(backend: SupportsFeed, prefix: str) -> bool:
    """Return whether the feed says that it can be trusted."""
    try:
        async with asyncio.timeout(_FEED_PATIENCE):
            async for event in backend.feed(prefix):
                if isinstance(event, Alive):
                    return True
    except TimeoutError:
        pass
    return False


def _of_abilities(abilities: Mapping[str, bool | None], refused: Mapping[str, str]) -> list[Finding]:
    found = [
        Finding(f"{name} is refused ({reason}): {ABILITIES[name][1]}", f"let this user do it ({name})")
        for name, reason in refused.items()
    ]
    if abilities["marks"] is False:
        found.append(
            Finding("this backend has no marks: " + ABILITIES["marks"][1], "after restoring a store, invalidate --all")
        )
    return found


def memory_warnings(maxmemory: str, policy: str) -> list[str]:
    """Return what a server's memory limit (bytes as text; "0": none) and its eviction policy cost a cache.

    Each is a line for people. Empty if they cost nothing, or the server did not tell them.
    """
    return [f"{one.what}: {one.remedy}" for one in _of_memory(maxmemory, policy)]


def _of_memory(maxmemory: str, policy: str) -> list[Finding]:
    if not policy or maxmemory == "0":
        return []
    found: list[tuple[str, str]] = []
    if policy in ("allkeys-random", "volatile-random"):
        better = policy.replace("random", "lru")
        found.append((f"{policy} evicts what is used most as readily as what is used least", f"choose {better}"))
    if policy == "noeviction":
        found.append(("noeviction takes nothing new once memory is full", "choose allkeys-lru"))
    if policy.startswith("volatile-"):
        found.append(
            (
                f"{policy} never evicts answers with ttl=None, and takes nothing new once they fill memory",
                "give every answer a ttl, or choose allkeys-lru",
            )
        )
    return [Finding(what, remedy, "warning") for what, remedy in found]


def _of_servers(servers: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    found: list[Finding] = []
    for name, said in servers.items():
        if "error" in said:
            found.append(Finding(f"{name} does not answer: {said['error']}", "see its log", level="problem"))
            continue
        found += _of_memory(said.get("maxmemory", ""), said.get("maxmemory_policy", ""))
        if said.get("maxmemory") == "0":
            found.append(Finding(f"{name} has no memory limit", "set maxmemory, with allkeys-lru"))
        if said.get("swap", "").startswith("refused"):
            found.append(
                Finding(
                    f"{name} refuses to swap ({said['swap']}): no answer of a computation is stored",
                    "its memory is full: raise maxmemory, or choose a policy that evicts"
                    if said["swap"] == "refused (full)"
                    else "let this user write (+@write), and run scripts (+@scripting) where the server needs them",
                    level="problem",
                )
            )
        if said.get("persistence", "").startswith("snapshots ("):
            found.append(
                Finding(
                    f"{name} writes snapshots: after a crash it is as old as the last one, and all answers are "
                    "invalidated once, if anything was invalidated since",
                    'a server that is a cache and nothing else needs none: save "", appendonly no',
                )
            )
    return found


async def _sample(store: Store, most: int) -> tuple[dict[str, Any], list[Finding]]:
    """Return what a part of the answers is like, and what of it needs attention."""
    states: Counter[str] = Counter()
    serializers: Counter[tuple[str, str]] = Counter()
    for_ever, short, rejected = 0, 0, Counter[str]()
    now = await store.now()
    looked = 0
    async for found in store.stored():
        for one, valid in zip(found, await store.valid(found), strict=True):
            looked += 1
            states[one.state(now, valid)] += 1
            if one.rejected:
                rejected[one.rejected] += 1
            if one.entry is not None and not (one.entry.tombstone or one.entry.claim):
                serializers[one.namespace.partition("/")[0], one.entry.serializer] += 1
                for_ever += one.entry.dead_until is None
                short += _is_short(one)
        if looked >= most:
            break
    facts = {
        "looked_at": looked,
        "states": dict(states),
        "serializers": dict(sum((Counter({name: n}) for (_, name), n in serializers.items()), Counter())),
        "without_expiry": for_ever,
        "ttl_shorter_than_compute_time": short,
        "rejected": dict(rejected),
    }
    return facts, _of_sample(looked, serializers, for_ever, short, rejected)


def _is_short(one: Stored) -> bool:
    entry = one.entry
    return (
        entry is not None and entry.fresh_until is not None and entry.fresh_until - entry.created < entry.compute_time
    )


def _of_serializers(found: Collection[tuple[str, str]]) -> Iterator[Finding]:
    """Yield what differs within one first segment of namespaces: a gateway's answers and functions' are apart by it."""
    for place in sorted({place for place, _ in found}):
        families = {name.partition("-")[0] if name.startswith("typed-") else name for at, name in found if at == place}
        if len(families) > 1:
            where = f" in the namespace {unquote(place)}" if place else ""
            yield Finding(
                f"answers{where} are written by {len(families)} serializers ({', '.join(sorted(families))}): processes "
                "that differ in it do not find each other's answers",
                "configure one serializer everywhere; after a change the old answers go with their ttl",
            )


def _of_sample(
    looked: int, serializers: Collection[tuple[str, str]], for_ever: int, short: int, rejected: Counter[str]
) -> list[Finding]:
    found = list(_of_serializers(serializers))
    if for_ever:
        found.append(
            Finding(f"{for_ever:,} of {looked:,} answers never expire", "give them a ttl, unless the store evicts them")
        )
    if short:
        found.append(
            Finding(
                f"{short:,} of {looked:,} answers live for less time than it took to compute them",
                "raise the ttl, or use stale_while_revalidate",
            )
        )
    if rejected["version"]:
        found.append(
            Finding(
                f"{rejected['version']:,} of {looked:,} answers are of a newer version than this one",
                "update cachecore here: this version computes them again",
            )
        )
    damaged = rejected.total() - rejected["version"]
    if damaged:
        found.append(
            Finding(
                f"{damaged:,} of {looked:,} answers are no entries of their key ({', '.join(sorted(rejected))})",
                "something else writes under this prefix, or the store damages bytes; they are computed again",
                level="problem",
            )
        )
    return found
