"""Bugs that other caches have had, each put back into ours by a patch: what a simulation must find.

A patch replaces a piece of the library by what somebody else shipped, or by the mistake next to it.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import xxhash

from cachecore.contract.protocols import FeedEvent, Lost
from cachecore.encoding import entry
from cachecore.engine import compute
from cachecore.engine import delete as deleting
from cachecore.engine import invalidate as invalidating
from cachecore.engine import keep as keeping
from cachecore.engine import publish as publishing
from cachecore.engine import read as reading
from cachecore.engine import refresh as refreshing
from cachecore.engine.computation import Computation
from cachecore.engine.flights.flight import Flight
from cachecore.engine.flights.flights import Flights
from cachecore.invalidation.feed import FeedState, Listener
from cachecore.keys import KeySpace
from cachecore.store.bulkhead import Bulkhead
from cachecore.store.guard import Guard
from cachecore.store.store_clock import StoreClock
from cachecore.testing.simulation.network import SimulatedBackend
from tests.simulation import checks

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug of somebody's, and how to have it."""

    name: str
    whose: str
    patch: Patch
    check: Callable[[], object] | None
    """What fails while the bug is there; None: a simulation of one of many seeds."""


BUGS: list[Bug] = []


def bug(whose: str, check: Callable[[], object] | None = None) -> Callable[[Patch], Patch]:
    """Enter a patch into the table, under its own name."""

    def enter(patch: Patch) -> Patch:
        BUGS.append(Bug(patch.__name__, whose, patch, check))
        return patch

    return enter


# Computations and invalidations


@bug("FusionCache #628: a computation that began before an invalidation lands after it")
def stamps_read_after_the_factory(patch: pytest.MonkeyPatch) -> None:
    publish = publishing.publish

    async def late(computation: Computation, value: Any, seconds: float) -> bool:
        computation.flight.pins.stamps.clear()
        return await publish(computation, value, seconds)

    patch.setattr(compute, "publish", late)
    detach = Flights.detach_tags

    def keep_the_claim(self: Flights, tags: Any, *, pushed: bool = False) -> None:
        detach(self, tags, pushed=True)

    patch.setattr(Flights, "detach_tags", keep_the_claim)


@bug("every cache over a store that evicts: an absent key is taken for one that nothing was done to")
def absence_is_evidence(patch: pytest.MonkeyPatch) -> None:
    async def unclaimed(computation: Computation) -> None:
        return None

    def refused(self: Computation) -> str | None:
        return "store" if self.snapshot.error is not None else "newer" if not self.snapshot.replaceable else None

    patch.setattr(compute, "take_claim", unclaimed)
    patch.setattr(Computation, "refused", property(refused))


@bug("cashews, aiocache: a computation writes over whatever is there")
def swap_replaced_by_set(patch: pytest.MonkeyPatch) -> None:
    swap = Guard.swap

    async def blind(self: Guard, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        if new is None or ":e:" not in key or key.startswith("cc.l:"):
            return await swap(self, key, old, new, ttl=ttl)
        await self.set_many({key: new}, ttl=ttl)
        return True

    patch.setattr(Guard, "swap", blind)


@bug("all peers: a deleted key looks as if it had never been there")
def no_tombstone(patch: pytest.MonkeyPatch) -> None:
    async def bury(scope: Any, state: Any, key: str) -> bool:
        return bool(await scope.engine.backend.delete_many([key]))

    patch.setattr(deleting, "_bury", bury)


@bug("HybridCache #7411: an invalidation that other processes never learn of")
def invalidation_forgets_only_memory(patch: pytest.MonkeyPatch) -> None:
    async def local(scope: Any, tags: Any, kind: str, *, again: bool = False) -> None:
        scope.engine.forget_stamps(scope.stamp_keys(tags))

    patch.setattr(invalidating, "invalidate_stamps", local)
    for module in _importers("invalidate_stamps"):
        patch.setattr(module, "invalidate_stamps", local)


@bug("FusionCache: tag markers that are gone say that nothing was invalidated")
def missing_stamp_matches(patch: pytest.MonkeyPatch) -> None:
    hold = reading._stamps_hold

    def lenient(scope: Any, found: Any, tagset: Any, batch: Any, live: bool, later: Any) -> str | None:
        values = dict(batch.values)
        for tag, stamp in found.stamps:
            name = scope.name(tag, None)
            if values.get(name, b"") is None:
                values[name] = stamp
        asked, batch.values = batch.values, values
        try:
            return hold(scope, found, tagset, batch, live, later)
        finally:
            batch.values = asked

    patch.setattr(reading, "_stamps_hold", lenient)


@bug("every single-flight without invalidation: who comes after it is given the computation that began before")
def late_joiner_served(patch: pytest.MonkeyPatch) -> None:
    def stay(self: Flights, *args: Any, **kwargs: Any) -> None:
        return None

    patch.setattr(Flights, "detach_keys", stay)
    patch.setattr(Flights, "detach_tags", stay)
    patch.setattr(Flights, "detach_all", stay)


@bug("cashews: one caller's tags are another's")
def joins_in_spite_of_tags(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flights, "to_join", lambda self, key, tags: self.get(key))


@bug("FusionCache: a refresh is given what was being computed already")
def refresh_joins(patch: pytest.MonkeyPatch) -> None:
    refresh = refreshing.refresh

    async def joining(question: Any, factory: Any) -> Any:
        flight = question.state.flights.get(question.key)
        if flight is None or flight.landing:
            return await refresh(question, factory)
        return (await flight.join()).for_joiner().value

    for module in _importers("refresh"):
        patch.setattr(module, "refresh", joining)


# Copies in memory


@bug(
    "FusionCache, Bentocache: who was cut off from the invalidations is never repaired",
    checks.lost_news_are_made_up_for,
)
def lost_feed_ignored(patch: pytest.MonkeyPatch) -> None:
    hear = FeedState.hear

    def deaf(self: FeedState, event: FeedEvent, listener: Listener) -> None:
        if not isinstance(event, Lost):
            hear(self, event, listener)

    patch.setattr(FeedState, "hear", deaf)


@bug("DSPy: the stored object itself is handed out")
def handed_out_by_reference(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keeping, "is_immutable", lambda value: True)


@bug("DSPy: all who wait for a computation get one object")
def joiners_share_the_object(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publishing.FlightAnswer, "for_joiner", lambda self: replace(self.lookup, joined=True))


# Keys and bytes


@bug("LangChain, GPTCache: the namespace is no part of the key")
def key_without_namespace(patch: pytest.MonkeyPatch) -> None:
    child = KeySpace.child

    def shared(self: KeySpace, namespace: str) -> KeySpace:
        made = child(self, namespace)
        made.key = self.key
        return made

    patch.setattr(KeySpace, "child", shared)


def _forge(data: bytes, key: str) -> bytes:
    """Return `data` as an entry of `key`, with a checksum that fits."""
    if len(data) < entry._OVERHEAD:
        return data
    body = data[:3] + xxhash.xxh3_64_digest(key.encode())[-2:] + data[5:-8]
    return body + xxhash.xxh3_64_digest(body, xxhash.xxh3_64_intdigest(key.encode()))


def _pass_over(patch: pytest.MonkeyPatch, reason: str) -> None:
    """Accept what would be rejected for `reason`."""
    decode = entry.decode

    def lenient(data: bytes, key: str) -> Any:
        found = decode(data, key)
        if isinstance(found, entry.Rejected) and found.reason == reason:
            return decode(_forge(bytes(data), key), key)
        return found

    patch.setattr(reading, "decode", lenient)


@bug("Helicone, Bifrost: what lies under a key is not checked to belong to it")
def entry_of_another_key_accepted(patch: pytest.MonkeyPatch) -> None:
    _pass_over(patch, "key")


@bug("aiocache, cashews without a secret: changed bytes are decoded as they are", checks.changed_bytes_are_not_served)
def checksum_unchecked(patch: pytest.MonkeyPatch) -> None:
    _pass_over(patch, "checksum")


# Time


@bug("dogpile: the writer's clock decides when an entry expires")
def writers_clock_decides(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StoreClock, "now", lambda self: self._clock.time())
    patch.setattr(reading, "MAX_CLOCK_SKEW", math.inf)


@bug("redisvl: each read makes an entry live longer")
def sliding_ttl(patch: pytest.MonkeyPatch) -> None:
    seal = publishing.seal_value
    last_read: dict[tuple[str, float], float] = {}

    def lasting(*args: Any) -> Any:
        return replace(seal(*args), life=None)

    def sliding(times: Any, now: float, policy: Any) -> str:
        last = last_read.get((times.key, times.created), times.created)
        last_read[times.key, times.created] = now
        return "fresh" if now - last < (times.fresh_until or math.inf) - times.created else "dead"

    patch.setattr(publishing, "seal_value", lasting)
    patch.setattr(reading, "decide", sliding)


@bug("langchain-redis: value and ttl are set in two steps")
def ttl_in_a_second_step(patch: pytest.MonkeyPatch) -> None:
    swap, set_many = SimulatedBackend.swap, SimulatedBackend.set_many

    async def swap_first(
        self: SimulatedBackend, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None
    ) -> bool:
        done = await swap(self, key, old, new, ttl=None)
        return done and (ttl is None or new is None or await swap(self, key, new, new, ttl=ttl))

    async def set_first(self: SimulatedBackend, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        await set_many(self, items, ttl=None)
        await set_many(self, items, ttl=ttl)

    patch.setattr(SimulatedBackend, "swap", swap_first)
    patch.setattr(SimulatedBackend, "set_many", set_first)


# Callers


@bug("cashews: who is cancelled takes all who wait with him")
def cancellation_reaches_the_flight(patch: pytest.MonkeyPatch) -> None:
    leave = Flight._leave

    def take_all(self: Flight, future: asyncio.Future[Any]) -> None:
        if self.task is not None and not self.landing:
            self.task.cancel()
        leave(self, future)

    patch.setattr(Flight, "_leave", take_all)


@bug("FusionCache: a factory that hangs holds its key for everybody")
def hanging_factory_holds_the_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flight, "start_timer", lambda self, seconds, message: None)


@bug("redis-py on Python 3.11: a cancellation is swallowed")
def cancellation_swallowed(patch: pytest.MonkeyPatch) -> None:
    join = Flight.join

    async def swallow(self: Flight, patience: float | None = None) -> Any:
        try:
            return await join(self, patience)
        except asyncio.CancelledError:
            if self.joinable and patience is None:
                return await join(self, patience)
            raise

    patch.setattr(Flight, "join", swallow)


@bug("cashews, aiocache: a store that fails fails the caller")
def store_errors_reach_the_caller(patch: pytest.MonkeyPatch) -> None:
    read = reading.read

    async def raising(*args: Any, **kwargs: Any) -> Any:
        found = await read(*args, **kwargs)
        if found.error is not None:
            raise found.error
        return found

    for module in _importers("read"):
        patch.setattr(module, "read", raising)


@bug("redis-py, aiocache: a store that hangs makes callers wait")
def no_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Bulkhead, "_arm", lambda self, deadline: None)


def _importers(name: str) -> list[Any]:
    """Return the modules of the library that know a function by `name`."""
    return [
        module
        for path, module in sys.modules.items()
        if path.startswith("cachecore.") and ".testing" not in path and callable(getattr(module, name, None))
    ]
