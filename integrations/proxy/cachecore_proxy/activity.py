"""The work of the gateway: counts and times of its requests, streams under way, last misses, providers.

In memory and bounded: rows, misses and names have limits, and times are kept for the last hour. It holds names (models,
tenants, prompts) and digests, no text of a request or an answer. Tokens and money are in the ledger of the cache
(`cachecore_llm.cost.ledger`), under the same names.

All methods are for the event loop of the gateway; they do not wait, and none of those that record raises.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from cachecore.keys import MAX_KEY_BYTES
from cachecore_proxy.differences import Differences

Outcome = Literal[
    "hit", "joined", "stale", "similar", "miss", "bypass", "passed", "only_if_cached", "refused", "failed", "left"
]
"""`hit` to `bypass` as in `cachecore_llm.response.CacheStatus`. `passed`: another route, passed through.
`only_if_cached`: answered 504, as the client asked. `refused`: by the gateway (key, bounds, a wrong request).
`failed`: no provider answered. `left`: the client was gone before its answer began."""

FROM_CACHE: Final = ("hit", "joined", "stale", "similar")
"""Outcomes that no provider was paid for."""
LOOKED_UP: Final = (*FROM_CACHE, "miss", "only_if_cached", "failed")
"""Outcomes of requests that the cache was asked for: the hit rate is `FROM_CACHE` per these."""

OTHERS: Final = "(others)"
"""The name of the row of all that have no row of their own, as in the ledger."""
MAX_ROWS: Final = 5000
MAX_NAME: Final = 200
"""Characters of a name that are kept."""
MAX_MISSES: Final = 200
MAX_STREAMS: Final = 10_000
"""Streams of which more than the number is known."""
STEP: Final = 10.0
"""Seconds of one step of the last hour."""
STEPS: Final = 360

_PER_DOUBLING: Final = 3
BOUNDS: Final = tuple(50e-6 * 2 ** (n / _PER_DOUBLING) for n in range(73))
"""Seconds: upper bounds of the classes of times, 50 µs to 839 s, three in each doubling."""


class Name(NamedTuple):
    """A row of counts."""

    model: str
    tenant: str
    """Empty where the request has none, as for `prompt`."""
    prompt: str


@dataclass(slots=True)
class Row:
    """Counts of requests of one name, since the start."""

    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    """All requests together."""

    @property
    def requests(self) -> int:
        """Return the number of requests."""
        return sum(self.outcomes.values())


@dataclass(slots=True)
class Step:
    """Counts of requests that ended within one step of time."""

    number: int
    """Of steps since the clock's zero."""
    outcomes: dict[str, int] = field(default_factory=dict)
    from_cache: dict[int, int] = field(default_factory=dict)
    """Requests by class of time (an index of `BOUNDS`, or one behind its end), answered from the cache."""
    upstream: dict[int, int] = field(default_factory=dict)
    """The same, where a provider answered."""


class Miss(NamedTuple):
    """One request that the cache had no answer for."""

    at: float
    """Seconds since the epoch."""
    name: Name
    reason: str
    """The cache's word: `absent`, `expired`, `max_age`, `deleted`, `invalidated`, `store`, a bypass' reason, …"""
    key: str
    """The key of the entry; empty for a bypass."""
    differs: str
    """The fields in which it differs from the most alike of the last requests; empty if none is alike, or not known."""


@dataclass(slots=True, eq=False)
class Stream:
    """A stream under way. The gateway adds to `sent`, or gives a function that counts."""

    name: Name
    began: float
    """Monotonic seconds."""
    outcome: Outcome
    sent: int = 0
    """Bytes."""
    counts: Callable[[], int] | None = None
    """Returns the bytes that were sent until now."""

    @property
    def size(self) -> int:
        """Return the bytes that were sent until now."""
        return self.sent if self.counts is None else self.counts()


class UpstreamState(NamedTuple):
    """One provider as it is now."""

    name: str
    protocol: str
    address: str
    """Without credentials."""
    is_open: bool
    """Whether its breaker is open: it is not asked."""
    retry_in: float
    """Seconds until it is asked again."""
    error: str = ""
    """The class of the last fault, with its status; no text of a request."""


@dataclass(slots=True)
class UpstreamCounts:
    """Calls to one provider since the start."""

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0


class Activity:
    """The record. `clock` gives monotonic seconds, `wall` seconds since the epoch.

    The gateway calls, for each request: `began()`; `missed(…)` if the cache had no answer; `stream_opened(…)` and
    `stream_closed(…)` around a stream; `ended(…)` once, in every case.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rows: int = MAX_ROWS,
    ) -> None:
        self.clock = clock
        self.wall = wall
        self.started_at = wall()
        self.under_way = 0
        """Requests that began and have not ended."""
        self.streams_open = 0
        self.rows: OrderedDict[Name, Row] = OrderedDict()
        """Those used last are at the end."""
        self.misses: deque[Miss] = deque(maxlen=MAX_MISSES)
        """The last ones, the newest at the end."""
        self.reasons: dict[str, int] = {}
        """Misses since the start, by reason."""
        self.upstream_counts: dict[str, UpstreamCounts] = {}
        self._max_rows = max(2, rows)
        self._steps: deque[Step] = deque([Step(int(clock() / STEP))], maxlen=STEPS)
        self._streams: dict[Stream, None] = {}
        self._upstreams: Callable[[], Iterable[UpstreamState]] = tuple
        self._differences = Differences()

    def began(self) -> None:
        """Record that a request has come."""
        self.under_way += 1

    def ended(
        self,
        outcome: Outcome,
        seconds: float,
        *,
        model: str | None = None,
        tenant: str | None = None,
        prompt: str | None = None,
    ) -> None:
        """Record the end of a request that began. O(1).

        Args:
            outcome: how it was answered.
            seconds: from its arrival to the first byte of a stream, or to the end of a whole answer.
            model: as the request named it.
            tenant: that asked.
            prompt: the name of the prompt.
        """
        self.under_way -= 1
        asked = (model or "", tenant or "", prompt or "")
        row = self.rows.get(asked)  # type: ignore[call-overload]  # equal to a `Name`, which takes longer to make
        if row is None:
            row = self._new_row(_name(*asked))
        else:
            self.rows.move_to_end(asked)  # type: ignore[arg-type]  # as above
        row.outcomes[outcome] = row.outcomes.get(outcome, 0) + 1
        row.seconds += seconds
        number = int(self.clock() / STEP)
        step = self._steps[-1]
        if step.number != number:
            step = Step(number)
            self._steps.append(step)
        step.outcomes[outcome] = step.outcomes.get(outcome, 0) + 1
        if outcome in FROM_CACHE:
            times = step.from_cache
        elif outcome in ("miss", "bypass"):
            times = step.upstream
        else:
            return
        place = bisect_left(BOUNDS, seconds)
        times[place] = times.get(place, 0) + 1

    def missed(
        self,
        reason: str,
        *,
        model: str | None = None,
        tenant: str | None = None,
        prompt: str | None = None,
        key: str = "",
        request: Mapping[str, Any] | None = None,
    ) -> None:
        """Record why the cache had no answer, or was passed by.

        `request`, the canonical request, is compared with the last requests; only digests of its parts are kept.
        """
        name = _name(model, tenant, prompt)
        known = reason in self.reasons or len(self.reasons) < MAX_MISSES
        counted = reason[:MAX_NAME] if known else OTHERS
        self.reasons[counted] = self.reasons.get(counted, 0) + 1
        differs = "" if request is None else self._differences.seen(name, request)
        self.misses.append(Miss(self.wall(), name, counted, key[:MAX_KEY_BYTES], differs))

    def stream_opened(
        self,
        outcome: Outcome,
        *,
        model: str | None = None,
        tenant: str | None = None,
        prompt: str | None = None,
        counts: Callable[[], int] | None = None,
    ) -> Stream:
        """Record a stream to a client; `stream_closed` must follow.

        `counts` returns the bytes that were sent until now. Without it the gateway adds to `sent` of the result.
        """
        stream = Stream(_name(model, tenant, prompt), self.clock(), outcome, counts=counts)
        self.streams_open += 1
        if len(self._streams) < MAX_STREAMS:
            self._streams[stream] = None
        return stream

    def stream_closed(self, stream: Stream) -> None:
        """Record the end of a stream, however it ended."""
        self.streams_open -= 1
        self._streams.pop(stream, None)

    def called(self, upstream: str, seconds: float, *, failed: bool = False) -> None:
        """Record a call to the provider `upstream`, a name of the settings."""
        counts = self.upstream_counts.get(upstream)
        if counts is None:
            counts = self.upstream_counts[upstream] = UpstreamCounts()
        counts.calls += 1
        counts.failures += failed
        counts.seconds += seconds

    def upstreams_from(self, states: Callable[[], Iterable[UpstreamState]]) -> None:
        """Let `states` be asked for the providers whenever they are shown."""
        self._upstreams = states

    def upstreams(self) -> Sequence[UpstreamState]:
        """Return the providers as they are now."""
        return tuple(self._upstreams())

    def streams(self, most: int = 100) -> Sequence[Stream]:
        """Return streams under way, the oldest first."""
        return [stream for stream, _ in zip(self._streams, range(most), strict=False)]

    def steps(self, seconds: float) -> list[Step]:
        """Return the steps of the last `seconds`, at most an hour, without those in which nothing ended."""
        first = int((self.clock() - seconds) / STEP) + 1
        return [step for step in self._steps if step.number >= first]

    def _new_row(self, name: Name) -> Row:
        if name in self.rows:  # it was too long
            return self.rows[name]
        while len(self.rows) >= self._max_rows:  # one more than that if there is no row of the others yet
            self._fold()
        row = self.rows[name] = Row()
        return row

    def _fold(self) -> None:
        """Count the row that was not used for the longest time among the others."""
        others = Name(OTHERS, OTHERS, OTHERS)
        kept = self.rows.pop(others, None) or Row()
        _, old = self.rows.popitem(last=False)
        for outcome, number in old.outcomes.items():
            kept.outcomes[outcome] = kept.outcomes.get(outcome, 0) + number
        kept.seconds += old.seconds
        self.rows[others] = kept


def _name(model: str | None, tenant: str | None, prompt: str | None) -> Name:
    name = Name(model or "", tenant or "", prompt or "")
    if len(name[0]) > MAX_NAME or len(name[1]) > MAX_NAME or len(name[2]) > MAX_NAME:
        return Name(name[0][:MAX_NAME], name[1][:MAX_NAME], name[2][:MAX_NAME])
    return name


def quantile(times: Mapping[int, int], share: float) -> float | None:
    """Return the seconds that `share` of the requests did not exceed, from counts by class; None without any.

    Within a class of times, which is a quarter wide, they are taken for spread evenly.
    """
    total = sum(times.values())
    if not total:
        return None
    wanted = share * total
    passed = 0
    for place in sorted(times):
        number = times[place]
        if passed + number >= wanted:
            low = BOUNDS[place - 1] if place else 0.0
            high = BOUNDS[place] if place < len(BOUNDS) else low
            return low + (high - low) * max(0.0, wanted - passed) / number
        passed += number
    return BOUNDS[-1]
