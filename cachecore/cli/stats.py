"""`cachecore stats URL`: how many answers a store has, of which kind, how old, how large."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import unquote

import typer
from rich.console import Console
from rich.table import Table

from cachecore.cli import outcome
from cachecore.cli.store import Json, Namespace, Prefix, Store, Stored, Url, opened

_AGES: Final = (60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)
_SIZES: Final = (256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 8_388_608)
_MOST_NAMES: Final = 100_000
"""Distinct namespaces, and distinct tags, that are counted one by one; the others together."""
_OTHERS: Final = "(others)"
_USER_TAG: Final = "t/"


@dataclass(slots=True)
class Counts:
    """What was found so far."""

    entries: int = 0
    """Answers; deleted and claimed keys are counted by state alone."""
    bytes: int = 0
    states: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    """Bytes that no reader of this version takes for an answer, by reason."""
    namespaces: dict[str, list[int]] = field(default_factory=dict)
    """Number and bytes by namespace."""
    tags: dict[str, list[int]] = field(default_factory=dict)
    serializers: Counter[str] = field(default_factory=Counter)
    ages: list[int] = field(default_factory=lambda: [0] * (len(_AGES) + 1))
    sizes: list[int] = field(default_factory=lambda: [0] * (len(_SIZES) + 1))
    largest: list[tuple[int, str]] = field(default_factory=list)
    without_expiry: int = 0
    other_prefixes: list[str] = field(default_factory=list)
    """Where there is nothing: prefixes under which the store has answers."""
    complete: bool = False
    """Whether all keys have been looked at."""

    def add(self, one: Stored, now: float, valid: bool, most_largest: int) -> None:
        """Count what lies under one key."""
        state = one.state(now, valid)
        self.states[state] += 1
        if one.rejected is not None:
            self.rejected[one.rejected] += 1
        if one.entry is None or state in ("deleted", "computing"):
            return
        size = len(one.data)
        self.entries += 1
        self.bytes += size
        self.serializers[one.entry.serializer] += 1
        self.without_expiry += one.entry.dead_until is None
        self.ages[bisect_left(_AGES, now - one.entry.created)] += 1
        self.sizes[bisect_left(_SIZES, size)] += 1
        _more(self.namespaces, unquote(one.namespace) or "(root)", size)
        for tag, _ in one.entry.stamps:
            if tag.startswith(_USER_TAG):
                _more(self.tags, tag.removeprefix(_USER_TAG), size)
        heapq.heappush(self.largest, (size, one.key))
        if len(self.largest) > most_largest:
            heapq.heappop(self.largest)

    def as_json(self) -> dict[str, Any]:
        """Return the counts as plain data; bytes are those of values without keys, ages seconds."""
        return {
            "complete": self.complete,
            "other_prefixes": self.other_prefixes,
            "entries": self.entries,
            "bytes": self.bytes,
            "states": dict(self.states),
            "rejected": dict(self.rejected),
            "without_expiry": self.without_expiry,
            "serializers": dict(self.serializers),
            "namespaces": {name: {"entries": n, "bytes": size} for name, (n, size) in _sorted(self.namespaces)},
            "tags": {name: {"entries": n, "bytes": size} for name, (n, size) in _sorted(self.tags)},
            "ages": _histogram(_AGES, self.ages),
            "sizes": _histogram(_SIZES, self.sizes),
            "largest": [{"key": key, "bytes": size} for size, key in sorted(self.largest, reverse=True)],
        }


def stats(
    url: Url = None,
    prefix: Prefix = None,
    namespace: Namespace = "",
    largest: Annotated[int, typer.Option(min=0, max=1000, help="How many of the largest answers to name.")] = 5,
    rows: Annotated[int, typer.Option(min=1, help="Namespaces and tags in the table; --json has all.")] = 20,
    as_json: Json = False,
) -> None:
    """Count the answers of a store: by state, namespace, tag, age and size. Reads everything, in small steps.

    Exits with 0, with 3 if the store does not answer or stopped answering on the way.
    """
    counts = Counts()
    ended = outcome.run(_count(counts, url, prefix, namespace, largest, as_json))
    outcome.conclude(ended, counts.as_json(), lambda: _show(counts, rows), as_json=as_json)


async def _count(
    counts: Counts, url: str | None, prefix: str | None, namespace: str, largest: int, quiet: bool
) -> None:
    async with opened(url, prefix) as store:
        now = await store.now()
        with outcome.progress("reading", None, quiet=quiet) as advance:
            async for found in store.stored(namespace):
                await _add(counts, store, found, now, largest)
                advance(sum(counts.states.values()))
        if not counts.states:
            counts.other_prefixes = await store.other_prefixes()
    counts.complete = True


async def _add(counts: Counts, store: Store, found: list[Stored], now: float, largest: int) -> None:
    for one, valid in zip(found, await store.valid(found), strict=True):
        counts.add(one, now, valid, largest)


def _more(table: dict[str, list[int]], name: str, size: int) -> None:
    if name not in table and len(table) >= _MOST_NAMES:
        name = _OTHERS
    row = table.setdefault(name, [0, 0])
    row[0] += 1
    row[1] += size


def _sorted(table: dict[str, list[int]]) -> list[tuple[str, list[int]]]:
    return sorted(table.items(), key=lambda row: (-row[1][1], row[0]))


def _ranked(counts: Counter[str]) -> dict[str, list[int]]:
    return {name or "(none)": [n, 0] for name, n in sorted(counts.items(), key=lambda row: (-row[1], row[0]))}


def _histogram(bounds: tuple[float, ...] | tuple[int, ...], counts: list[int]) -> list[dict[str, float | int | None]]:
    return [{"up_to": bound, "entries": n} for bound, n in zip([*bounds, None], counts, strict=True)]


def _show(counts: Counts, rows: int) -> None:
    console = outcome.printer()
    console.print(f"{counts.entries:,} answers, {outcome.size_of(counts.bytes)}")
    outcome.print_others(console, counts.other_prefixes)
    if not counts.complete:
        console.print("(not all of them: the rest was not read)")
    for title, table in (
        ("state", _ranked(counts.states)),
        ("namespace", dict(_sorted(counts.namespaces))),
        ("tag", dict(_sorted(counts.tags))),
        ("serializer", _ranked(counts.serializers)),
    ):
        if table:
            outcome.print_table(console, _table(title, table, rows))
    for title, bounds, values, shown in (
        ("age", _AGES, counts.ages, outcome.span_of),
        ("size", _SIZES, counts.sizes, lambda size: outcome.size_of(int(size))),
    ):
        _bars(console, title, [f"≤ {shown(bound)}" for bound in bounds] + [f"> {shown(bounds[-1])}"], values)
    for size, key in sorted(counts.largest, reverse=True):
        console.print(f"{outcome.size_of(size):>10}  {key}")
    if counts.without_expiry:
        console.print(f"{counts.without_expiry:,} never expire")


def _table(title: str, found: dict[str, list[int]], rows: int) -> Table:
    table = Table(title, "answers", "bytes", box=None, title_justify="left")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, (n, size) in list(found.items())[:rows]:
        table.add_row(outcome.shown(name), f"{n:,}", outcome.size_of(size) if size else "")
    if len(found) > rows:
        table.add_row(f"and {len(found) - rows:,} more", "", "")
    return table


def _bars(console: Console, title: str, names: list[str], counts: list[int]) -> None:
    if not any(counts):
        return
    console.print(title)
    most = max(counts)
    for name, n in zip(names, counts, strict=True):
        if n:
            console.print(f"  {name:>12} {'█' * max(1, round(30 * n / most))} {n:,}")
