"""Requests, tokens and money by model, tenant and prompt: sums over thousands of rows, worked out beside the gateway.

With many tenants they take a tenth of a second. So they are made in a thread, and not again before fifty times as long
has passed: the page takes two hundredths of the time of a core at most, however many look at it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from cachecore_llm import ResponseCache
from cachecore_llm.cost.ledger import By, Row, Rows, Totals, empty_row
from cachecore_proxy.activity import FROM_CACHE, LOOKED_UP, Activity, Name

K = TypeVar("K")

FIELDS: Final[tuple[By, ...]] = ("model", "tenant", "prompt")
_REST: Final = 50

_Asked = list[tuple[Name, dict[str, int], float]]
"""Names, and their requests by outcome and in seconds."""


class Group(NamedTuple):
    """Requests of one model, tenant or prompt since the start."""

    name: str
    requests: int
    cached: int
    asked: int
    """For which the cache was asked."""
    seconds: float
    """In the mean."""
    saved: Totals | None
    """None where the ledger counts by other names: a model is paid under the name that answered."""


@dataclass(frozen=True, slots=True)
class Summed:
    """The sums as they were when they were made."""

    groups: Mapping[By, Sequence[Group]]
    """The most frequent first."""
    paid: Sequence[tuple[str, Row]]
    """Tokens and money by the model that answered, the most saved first."""
    total: Row


class Sums:
    """The sums of one gateway."""

    def __init__(self, cache: ResponseCache, activity: Activity) -> None:
        self._cache = cache
        self._activity = activity
        self._made: Summed | None = None
        self._due = 0.0
        self._making = asyncio.Lock()

    async def now(self) -> Summed:
        """Return the sums, as old as the time that they take allows."""
        async with self._making:
            made = self._made
            if made is None or time.perf_counter() >= self._due:
                asked = [(name, dict(row.outcomes), row.seconds) for name, row in self._activity.rows.items()]
                fresh, seconds = await asyncio.to_thread(self._timed, asked)
                self._made = made = fresh
                self._due = time.perf_counter() + _REST * seconds
            return made

    def _timed(self, asked: _Asked) -> tuple[Summed, float]:
        """Return the sums, and the seconds of a core that they took."""
        began = time.thread_time()
        return _summed(asked, self._cache.ledger.rows()), time.thread_time() - began


def total_of(many: Iterable[Mapping[K, int]]) -> dict[K, int]:
    """Return the sums of counts, by their names."""
    total: dict[K, int] = {}
    for one in many:
        for key, value in one.items():
            total[key] = total.get(key, 0) + value
    return total


def _summed(asked: _Asked, rows: Rows) -> Summed:
    money: dict[By, dict[str, Row]] = {field: {} for field in FIELDS}
    total = empty_row()
    for key, row in rows.items():
        _add(total, row)
        for field, sums in money.items():
            name = getattr(key, field) or ""
            if name not in sums:
                sums[name] = empty_row()
            _add(sums[name], row)
    saved = {"tenant": money["tenant"], "prompt": money["prompt"]}
    paid = sorted(money["model"].items(), key=lambda one: (-one[1].saved.dollars, -one[1].saved.calls, one[0]))
    return Summed(
        {field: _groups(asked, place, saved.get(field, {})) for place, field in enumerate(FIELDS)}, paid, total
    )


def _groups(asked: _Asked, place: int, saved: Mapping[str, Row]) -> list[Group]:
    """Return the requests by the part of their names at `place`."""
    found: dict[str, tuple[dict[str, int], list[float]]] = {}
    for name, outcomes, seconds in asked:
        sums, times = found.setdefault(name[place], ({}, []))
        for outcome, number in outcomes.items():
            sums[outcome] = sums.get(outcome, 0) + number
        times.append(seconds)
    groups = []
    for given, (sums, times) in found.items():
        requests = sum(sums.values())
        cached = sum(sums.get(outcome, 0) for outcome in FROM_CACHE)
        looked_up = sum(sums.get(outcome, 0) for outcome in LOOKED_UP)
        money = saved.get(given)
        mean = sum(times) / max(1, requests)
        groups.append(Group(given, requests, cached, looked_up, mean, None if money is None else money.saved))
    return sorted(groups, key=lambda group: (-group.requests, group.name))


def _add(sums: Row, row: Row) -> None:
    for total, one in ((sums.spent, row.spent), (sums.saved, row.saved)):
        if one.calls:
            total.calls += one.calls
            total.input_tokens += one.input_tokens
            total.cached_input_tokens += one.cached_input_tokens
            total.output_tokens += one.output_tokens
            total.reasoning_tokens += one.reasoning_tokens
            total.dollars += one.dollars
            total.unpriced += one.unpriced
            total.uncounted += one.uncounted
