"""The figures of the first page, worked out from the record of the gateway, the ledger and the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from cachecore_llm import ResponseCache
from cachecore_llm.cost.ledger import By, Row
from cachecore_proxy.activity import (
    FROM_CACHE,
    LOOKED_UP,
    STEP,
    Activity,
    Miss,
    Step,
    Stream,
    UpstreamCounts,
    UpstreamState,
    quantile,
)
from cachecore_proxy.admin.sums import Group, Sums, total_of

WINDOWS: Final = {60: "1 min", 300: "5 min", 3600: "1 h"}
"""Seconds that can be looked at, and how they are called."""
BARS: Final = {60: 6, 300: 30, 3600: 60}
_MOST_ROWS: Final = 8
_MOST_MISSES: Final = 8
_MOST_STREAMS: Final = 20


class Times(NamedTuple):
    """Seconds that so many of the requests did not exceed; None without any."""

    half: float | None
    nearly_all: float | None
    """99 of 100."""


class Bar(NamedTuple):
    """Requests of one part of the window."""

    cached: int
    upstream: int
    other: int

    @property
    def total(self) -> int:
        """Return all of them."""
        return sum(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The content of the first page."""

    window: int
    requests: int
    cached: int
    asked: int
    failed: int
    per_second: float
    from_cache: Times
    upstream: Times
    bars: Sequence[Bar]
    under_way: int
    streams_open: int
    streams: Sequence[tuple[Stream, float]]
    """With the seconds for which it has been open."""
    upstreams: Sequence[tuple[UpstreamState, UpstreamCounts]]
    total: Row
    groups: dict[By, Sequence[Group]]
    paid: Sequence[tuple[str, Row]]
    """Tokens and money by the model that answered."""
    store: dict[str, object]
    stats: Any
    misses: Sequence[tuple[Miss, float]]
    """With their ages in seconds."""
    reasons: Sequence[tuple[str, int]]
    since: float
    """Seconds that are recorded."""


async def overview(cache: ResponseCache, activity: Activity, sums: Sums, window: int) -> Overview:
    """Return the figures of the last `window` seconds, one of `WINDOWS`. Asks the store how it is; never raises."""
    store = await cache.flow.root.health()
    summed = await sums.now()
    steps = activity.steps(window)
    outcomes = total_of(step.outcomes for step in steps)
    requests = sum(outcomes.values())
    now, wall = activity.clock(), activity.wall()
    since = max(0.0, wall - activity.started_at)
    return Overview(
        window=window,
        requests=requests,
        cached=sum(outcomes.get(outcome, 0) for outcome in FROM_CACHE),
        asked=sum(outcomes.get(outcome, 0) for outcome in LOOKED_UP),
        failed=outcomes.get("failed", 0),
        per_second=requests / max(1.0, min(window, since)),
        from_cache=_times(step.from_cache for step in steps),
        upstream=_times(step.upstream for step in steps),
        bars=_bars(steps, int(now / STEP), window),
        under_way=activity.under_way,
        streams_open=activity.streams_open,
        streams=[(stream, now - stream.began) for stream in activity.streams(_MOST_STREAMS)],
        upstreams=[
            (state, activity.upstream_counts.get(state.name, UpstreamCounts())) for state in activity.upstreams()
        ],
        total=summed.total,
        groups={by: groups[:_MOST_ROWS] for by, groups in summed.groups.items()},
        paid=summed.paid[:_MOST_ROWS],
        store=store,
        stats=cache.metrics,
        misses=last_misses(activity, _MOST_MISSES),
        reasons=sorted(activity.reasons.items(), key=lambda one: -one[1])[:_MOST_ROWS],
        since=since,
    )


def last_misses(activity: Activity, most: int) -> list[tuple[Miss, float]]:
    """Return the last misses, the newest first, with their ages in seconds."""
    now = activity.wall()
    return [(miss, max(0.0, now - miss.at)) for miss, _ in zip(reversed(activity.misses), range(most), strict=False)]


def _bars(steps: Iterable[Step], now: int, window: int) -> list[Bar]:
    """Return the requests of the window in equal parts, the newest last; the last part is still under way."""
    number = BARS[window]
    width = int(window / STEP) // number
    bars = [[0, 0, 0] for _ in range(number)]
    for step in steps:
        place = number - 1 - (now - step.number) // width
        if not 0 <= place < number:
            continue
        cached = sum(step.outcomes.get(outcome, 0) for outcome in FROM_CACHE)
        upstream = sum(step.outcomes.get(outcome, 0) for outcome in ("miss", "bypass", "passed"))
        bars[place][0] += cached
        bars[place][1] += upstream
        bars[place][2] += sum(step.outcomes.values()) - cached - upstream
    return [Bar(*bar) for bar in bars]


def _times(many: Iterable[dict[int, int]]) -> Times:
    times = total_of(many)
    return Times(quantile(times, 0.5), quantile(times, 0.99))
