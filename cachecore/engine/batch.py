"""Many keys, one call of the factory: for the keys that are not under way elsewhere; the others are waited for.

A batch takes part in everything single keys do: it joins the flights that are under way, its own can be joined, and
its keys are leased. It never waits for another process while it holds leases itself: it computes what it won first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final

from cachecore.contract.errors import FlightCycleError
from cachecore.contract.results import UNSET
from cachecore.engine import read as reading
from cachecore.engine.apart import computes_apart
from cachecore.engine.batch_computation import ABSENT, BatchComputation, BatchKey, FactoryMany
from cachecore.engine.computation import Computation
from cachecore.engine.flights.flight import Flight, Retry
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.lookup import Ttl, rescue, serve_stale
from cachecore.engine.publish import FlightAnswer
from cachecore.engine.read import read, take
from cachecore.engine.scope import Scope
from cachecore.engine.store_read import StoreRead

_NO_COPY: Final = object()
"""The result of a key that another caller computes and whose value cannot be copied."""


async def lookup_many(
    scope: Scope, keys: Mapping[str, Hashable], tags: Sequence[str], factory: FactoryMany, ttl: Ttl
) -> dict[str, Any]:
    """Return the answers under `keys` (key to the name the factory knows it by); `ABSENT` for those left out."""
    state = scope.engine.state()
    in_memory = [seen for key in keys if (seen := _remembered(scope, key, tags)) is not None]
    answers = {seen.found.key: seen.value for seen in in_memory}
    _refresh_behind(scope, state, keys, in_memory, factory, ttl)
    open_keys = [key for key in keys if key not in answers]
    if open_keys:
        with scope.telemetry.span("cachecore.get_or_set_many"):
            await _answer(scope, state, keys, open_keys, tags, factory, ttl, answers)
    return answers


async def _answer(
    scope: Scope,
    state: LoopState,
    names: Mapping[str, Hashable],
    open_keys: list[str],
    tags: Sequence[str],
    factory: FactoryMany,
    ttl: Ttl,
    answers: dict[str, Any],
) -> None:
    """Add the answers under `open_keys`, which are not in memory, to `answers`."""
    while open_keys:
        read_now = await asyncio.gather(*(_read(scope, state, key, tags) for key in open_keys))
        answers.update({seen.found.key: seen.value for seen in read_now if seen.value is not UNSET})
        _refresh_behind(scope, state, names, read_now, factory, ttl)
        missing = {seen.found.key: (names[seen.found.key], seen.found) for seen in read_now if seen.value is UNSET}
        results = await _compute(scope, state, missing, factory, ttl) if missing else {}
        open_keys = []
        for key, result in results.items():
            if not isinstance(result, _Failure):
                answers[key] = result
            elif isinstance(result.error, Retry):  # an invalidation came in between
                open_keys.append(key)
            else:
                raise result.error.with_traceback(result.frames)


@dataclass(slots=True)
class _Seen:
    """The state of a key at the first read."""

    found: StoreRead
    value: Any
    """The value that may be served; UNSET: none."""
    newer_than: float | None = None
    """Not None: a new answer is due behind this one; see `Computation.newer_than`."""


def _remembered(scope: Scope, key: str, tags: Sequence[str]) -> _Seen | None:
    """Return the copy in memory, if it may be served."""
    tagset = scope.tagset(key, tags)
    copy = scope.find_copy(key, tagset.tags if tags else ())
    if copy is None:
        return None
    value = scope.reader.value_of(copy)
    if value is UNSET:
        return None
    scope.telemetry.counts.hits_l1 += 1
    seen = _Seen(StoreRead(key, tagset, None), value)
    if copy.claim_refresh(scope.engine.monotonic()):
        seen.newer_than = copy.entry.created
    return seen


async def _read(scope: Scope, state: LoopState, key: str, tags: Sequence[str]) -> _Seen:
    """Return the stored entry, with its value if it may be served."""
    tagset = scope.tagset(key, tags)
    found = await read(scope, state, key, tagset)
    seen = _Seen(found, take(scope, found))
    stale = found.state == "stale"
    if seen.value is UNSET and found.entry is not None and (stale or scope.engine.recently_failed(key)):
        seen.value = reading.load(scope, found)
        if seen.value is not UNSET:
            serve_stale(scope, found, seen.value, "stale" if stale else "rescued")
            seen.newer_than = -math.inf if stale else None
    return seen


def _refresh_behind(
    scope: Scope, state: LoopState, names: Mapping[str, Hashable], due: Sequence[_Seen], factory: FactoryMany, ttl: Ttl
) -> None:
    """Start one background computation for the keys in `due` that need a refresh."""
    engine = scope.engine
    due = [seen for seen in due if seen.newer_than is not None]
    if not due or state.background >= engine.store.max_background:
        return
    ones: list[BatchKey] = []
    for seen in due:
        found, key = seen.found, seen.found.key
        if seen.newer_than is None or state.flights.get(key) or engine.recently_failed(key):
            continue
        flight = state.flights.open(key, scope.concerns(found.tagset))
        flight.hold()
        work = Computation(
            scope, state, flight, found, _nothing, scope.policy, ttl, behind=True, newer_than=seen.newer_than,
            batch_factory=factory,
        )  # fmt: skip
        ones.append(BatchKey(names[key], work))
    if not ones:
        return
    flights = [one.computation.flight for one in ones]
    state.flights.run(flights, BatchComputation(scope, ones, factory).run)
    state.background += 1
    task = flights[0].task
    if task is None:
        return

    def ended(_: object) -> None:
        state.background -= 1
        for flight in flights:
            if flight.failed:
                engine.note_failure(flight.key, scope.policy.retry_after)

    task.add_done_callback(ended)


async def _compute(
    scope: Scope,
    state: LoopState,
    missing: Mapping[str, tuple[Hashable, StoreRead]],
    factory: FactoryMany,
    ttl: Ttl,
    *,
    alone: bool = False,
) -> dict[str, Any]:
    """Join or start the flights of `missing`, or compute `alone`; return value or exception of each."""
    own: dict[str, BatchKey] = {}
    waits: dict[str, asyncio.Future[FlightAnswer | _Failure]] = {}
    beside = computes_apart()
    for key, (_, found) in missing.items():
        state.flights.refuse_cycle(key, scope.concerns(found.tagset))
    unshared = alone or scope.engine.unshared.lately(scope.keys.namespace, factory)
    for key, (name, found) in missing.items():
        concerns = scope.concerns(found.tagset)
        flight = None if alone or beside else state.flights.to_join(key, concerns)
        if flight is None or unshared:
            single = alone or flight is not None
            flight = state.flights.open_alone(key, concerns) if single or beside else state.flights.open(key, concerns)
            work = Computation(
                scope, state, flight, found, _nothing, scope.policy, ttl, alone=single, batch_factory=factory
            )
            flight.finish = scope.policy.finish
            own[key] = BatchKey(name, work)
            waits[key] = asyncio.ensure_future(_outcome(flight.join))  # joins before the batch can answer
        elif flight.landing:
            waits[key] = asyncio.ensure_future(_outcome(partial(_landed, flight)))
        else:
            waits[key] = asyncio.ensure_future(_outcome(partial(_joined, flight)))
    if own:
        batch = BatchComputation(scope, list(own.values()), factory)
        state.flights.run([one.computation.flight for one in own.values()], batch.run)
    try:
        outcomes = await asyncio.gather(*waits.values(), return_exceptions=True)
    except asyncio.CancelledError:
        for one in own.values():  # cancelled before it joined: no caller is left to give the flight up
            one.computation.flight.give_up_alone()
        raise
    results: dict[str, Any] = {}
    for key, outcome in zip(waits, outcomes, strict=True):
        results[key] = await _result(scope, state, missing[key][1], outcome, mine=key in own)
    left = {key: missing[key] for key, result in results.items() if result is _NO_COPY}
    if left:
        results.update(await _compute(scope, state, left, factory, ttl, alone=True))
    return results


async def _result(scope: Scope, state: LoopState, found: StoreRead, outcome: Any, *, mine: bool) -> Any:
    counts = scope.telemetry.counts
    if isinstance(outcome, FlightAnswer):
        lookup = outcome.lookup if mine else outcome.for_joiner()
        if lookup is None:
            return _NO_COPY
        if lookup.outcome == "hit":
            counts.hits_l2 += 1
        elif lookup.outcome == "miss":
            counts.misses += 1
            return ABSENT
        else:
            counts.computed += 1
            counts.joined += lookup.joined
        return lookup.value
    if isinstance(outcome, BaseException):
        raise outcome
    if not isinstance(outcome.error, Retry | FlightCycleError):
        rescued = await rescue(scope, state, found, outcome.error)
        if rescued is not None:
            return rescued.value
        counts.failed += 1
    return outcome


@dataclass(frozen=True, slots=True)
class _Failure:
    """An exception that a key came to, and its frames as they are before any caller raises it."""

    error: Exception
    frames: TracebackType | None


async def _outcome(join: Callable[[], Awaitable[FlightAnswer]]) -> FlightAnswer | _Failure:
    try:
        return await join()
    except Exception as error:  # noqa: BLE001 - the factory's own: its caller raises it
        return _Failure(error, error.__traceback__)


async def _joined(flight: Flight) -> FlightAnswer:
    if flight.answered:  # in the turn since it was found: given up by its last caller, or too old an answer for us
        raise Retry
    answer: FlightAnswer = await flight.join()
    if answer.lookup.outcome == "miss":
        raise Retry  # left out by another caller's factory, which says nothing about ours
    return answer


async def _landed(flight: Flight) -> FlightAnswer:
    await flight.landed()
    raise Retry


async def _nothing() -> Any:
    raise AssertionError("a batch calls its own factory")
