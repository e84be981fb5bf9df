"""Many keys, one call of the factory: for the keys that nobody else is computing, and the others are waited for.

A batch takes part in everything single keys do: it joins the flights that are under way, its own can be joined, and
its keys are leased. It never waits for another process while it holds leases itself: it computes what it won first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final

from cachecore.contract.errors import FlightCycleError
from cachecore.contract.results import UNSET, Lookup
from cachecore.encoding.claim import ClaimMark
from cachecore.encoding.plain import type_name
from cachecore.engine import read as reading
from cachecore.engine.apart import computes_apart
from cachecore.engine.computation import Computation
from cachecore.engine.compute import end_claim, pin, served, take_claim, wait_for
from cachecore.engine.factories import awaited
from cachecore.engine.flights.flight import Flight, Retry, computing
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.lookup import Ttl, rescue, serve_stale
from cachecore.engine.publish import FlightAnswer, longest_life, publish, unstored_answer
from cachecore.engine.read import read, take
from cachecore.engine.scope import Scope
from cachecore.engine.stamp_keeper import StampKeeper
from cachecore.engine.store_read import StoreRead

FactoryMany = Callable[[list[Any]], Awaitable[Mapping[Any, Any]]]
ABSENT: Any = object()
"""What a key comes to that the factory left out."""
_NO_COPY: Final = object()
"""What a key comes to that another caller computes, whose value cannot be copied."""


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
    """What there was under a key."""

    found: StoreRead
    value: Any
    """What may be served; UNSET: nothing."""
    newer_than: float | None = None
    """Not None: a new answer is due behind this one; see `Computation.newer_than`."""


def _remembered(scope: Scope, key: str, tags: Sequence[str]) -> _Seen | None:
    """Return what memory has and may be served."""
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
    """Return what the store has and may be served as it is."""
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
    """Start one computation of all in `due` that is, that nobody waits for."""
    engine = scope.engine
    due = [seen for seen in due if seen.newer_than is not None]
    if not due or state.background >= engine.store.max_background:
        return
    ones: list[_One] = []
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
        ones.append(_One(names[key], work))
    if not ones:
        return
    flights = [one.computation.flight for one in ones]
    state.flights.run(flights, _Batch(scope, ones, factory).run)
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
    own: dict[str, _One] = {}
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
            own[key] = _One(name, work)
            waits[key] = asyncio.ensure_future(_outcome(flight.join))  # joins before the batch can answer
        elif flight.landing:
            waits[key] = asyncio.ensure_future(_outcome(partial(_landed, flight)))
        else:
            waits[key] = asyncio.ensure_future(_outcome(partial(_joined, flight)))
    if own:
        batch = _Batch(scope, list(own.values()), factory)
        state.flights.run([one.computation.flight for one in own.values()], batch.run)
    try:
        outcomes = await asyncio.gather(*waits.values(), return_exceptions=True)
    except asyncio.CancelledError:
        for one in own.values():  # cancelled before it had joined, nobody would ever leave
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
        rescued = await rescue(scope, state, found)
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


def check_names(asked: Sequence[Hashable], values: Mapping[Any, Any]) -> None:
    """Return if a factory answers under names that it was given. Raises ValueError, which quotes no name.

    It may leave names out, and more than was asked does no harm. But other names alone are a mistake, which would be
    paid for again and again.
    """
    if not values or any(name in values for name in asked):
        return
    strange = next(iter(values))
    raise ValueError(
        f"the factory of a batch answered under {len(values)} names, none of which it was given: its mapping needs the "
        f"names in the list that it gets (of type {type_name(type(asked[0]))}), not others (of type "
        f"{type_name(type(strange))})"
    )


async def _nothing() -> Any:
    raise AssertionError("a batch calls its own factory")


@dataclass(slots=True)
class _One:
    """One key of a batch."""

    name: Hashable
    computation: Computation
    stored: bool = False


_Held = tuple[_One, ClaimMark]
"""A key, and the claim of the process that computes it."""


@dataclass(slots=True)
class _Batch:
    """The computation of all keys that one call owns."""

    scope: Scope
    ones: list[_One]
    factory: FactoryMany
    _held: list[_Held] = field(default_factory=list)

    async def run(self) -> None:
        """Compute the keys that we claim, then wait for those of others, then compute what they failed at."""
        try:
            for one in self.ones:
                one.computation.flight.reading()
            await asyncio.gather(*(self._take(one) for one in self.ones))
            waiting = {id(one) for one, _ in self._held}
            await self._round([one for one in self.ones if id(one) not in waiting])
            await self._give_back()
            if self._held:
                failed = [one for one in await asyncio.gather(*map(self._outwait, self._held)) if one is not None]
                await asyncio.gather(*(take_claim(one.computation) for one in failed))
                await self._round(failed)
        finally:
            await self._give_back()

    async def _take(self, one: _One) -> None:
        if one.computation.alone:
            return
        holder = await take_claim(one.computation)
        if holder is not None and one.computation.behind:
            one.computation.flight.answer(error=Retry())
        elif holder is not None and not computes_apart():
            self._held.append((one, holder))

    async def _give_back(self) -> None:
        await asyncio.gather(*(end_claim(one.computation, stored=one.stored) for one in self.ones))
        for one in self.ones:
            one.computation.claim = None

    async def _outwait(self, held: _Held) -> _One | None:
        """Wait for another process's answer; return the key if there came none.

        Claims nothing, however its holder ended: other keys of the batch may still be waited for.
        """
        one, holder = held
        answer = await wait_for(one.computation, holder, succeed=False)
        if answer is None:
            return one
        one.computation.flight.answer(answer, late_too=False)
        return None

    async def _round(self, ones: list[_One]) -> None:
        """Call the factory once for those of `ones` that are still to be computed."""
        wanted: list[_One] = []
        for one in ones:
            if one.computation.flight.answered:  # given up, or computed elsewhere
                continue
            answer = served(one.computation)
            if answer is None:
                wanted.append(one)
            else:
                one.computation.flight.answer(answer, late_too=False)
        if not wanted:
            return
        await asyncio.gather(*(pin(one.computation) for one in wanted))
        values, seconds = await self._call(wanted)
        await asyncio.gather(*(self._land(one, values, seconds) for one in wanted))

    async def _call(self, wanted: list[_One]) -> tuple[Mapping[Any, Any], float]:
        engine, limit = self.scope.engine, self.scope.policy.factory_timeout
        for one in wanted:
            one.computation.flight.start_timer(limit, f"the factory did not answer within {limit:g} s")
        self.scope.telemetry.counts.factory_calls += 1
        first = wanted[0].computation  # all have one policy and one ttl
        life = longest_life(first.policy, first.chosen_ttl)
        keeper = StampKeeper(self.scope, first.state, [one.computation.flight for one in wanted], life)
        began = engine.monotonic()
        keeper.start()
        try:
            with computing(first.flight):
                values = await awaited(self.factory, [one.name for one in wanted])
            if not isinstance(values, Mapping):
                raise TypeError(f"factory must return a mapping of names to answers, not a {type(values).__name__}")
        except BaseException:
            self.scope.telemetry.factory(engine.monotonic() - began, failed=True)
            raise
        finally:
            keeper.stop()
        seconds = engine.monotonic() - began
        self.scope.telemetry.factory(seconds, failed=False)
        check_names([one.name for one in wanted], values)
        for one in wanted:
            one.computation.flight.land()
        await keeper.settle()
        return values, seconds

    async def _land(self, one: _One, values: Mapping[Any, Any], seconds: float) -> None:
        work = one.computation
        value = values.get(one.name, ABSENT)
        if value is ABSENT:
            work.flight.answer(FlightAnswer(self.scope, Lookup(value=None, outcome="miss", key=work.found.key)))
            return
        if work.alone:
            work.flight.answer(unstored_answer(work, value))
        else:
            one.stored = await publish(work, value, seconds)
