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
from cachecore.engine.lookup import may_refresh, rescue, run_behind, serve_stale
from cachecore.engine.publish import FlightAnswer
from cachecore.engine.question import Question, Ttl, question
from cachecore.engine.read import read, take
from cachecore.engine.scope import Scope
from cachecore.engine.store_read import StoreRead

_NO_COPY: Final = object()
"""The result of a key that another caller computes and whose value cannot be copied."""


@dataclass(slots=True)
class _Seen:
    """The state of a key at the first read."""

    question: Question
    snapshot: StoreRead
    value: Any
    """The value that may be served; UNSET: none."""
    newer_than: float | None = None
    """Not None: a new answer is due behind this one; see `Computation.newer_than`."""


@dataclass(slots=True)
class BatchCall:
    """One call for many keys: `names` maps each key to the name under which the factory knows it."""

    scope: Scope
    names: Mapping[str, Hashable]
    tags: Sequence[str]
    factory: FactoryMany
    ttl: Ttl

    async def answers(self) -> dict[str, Any]:
        """Return the answer of each key; `ABSENT` for those that the factory left out."""
        questions = self._questions()
        in_memory = [seen for asked in questions if (seen := self._remembered(asked)) is not None]
        answers = {seen.question.key: seen.value for seen in in_memory}
        self._refresh_behind(in_memory)
        unanswered = [asked for asked in questions if asked.key not in answers]
        if unanswered:
            with self.scope.telemetry.span("cachecore.get_or_set_many"):
                await self._answer(unanswered, answers)
        return answers

    def _questions(self) -> list[Question]:
        scope, state = self.scope, self.scope.engine.state()
        return [question(scope, state, key, self.tags, self.ttl) for key in self.names]

    async def _answer(self, unanswered: list[Question], answers: dict[str, Any]) -> None:
        """Add the answers to keys that are not in memory to `answers`."""
        while unanswered:
            reads = await asyncio.gather(*map(self._read, unanswered))
            answers.update({seen.question.key: seen.value for seen in reads if seen.value is not UNSET})
            self._refresh_behind(reads)
            missing = [seen for seen in reads if seen.value is UNSET]
            results = await self._compute(missing) if missing else {}
            unanswered = []
            for seen in missing:
                result = results[seen.question.key]
                if not isinstance(result, _Failure):
                    answers[seen.question.key] = result
                elif isinstance(result.error, Retry):  # an invalidation came in between
                    unanswered.append(seen.question)
                else:
                    raise result.error.with_traceback(result.frames)

    def _remembered(self, asked: Question) -> _Seen | None:
        """Return the copy in memory, if it may be served."""
        scope = self.scope
        copy = scope.find_copy(asked.key, asked.tagset.tags if self.tags else ())
        if copy is None:
            return None
        value = scope.reader.value_of(copy)
        if value is UNSET:
            return None
        scope.telemetry.counts.hits_l1 += 1
        seen = _Seen(asked, StoreRead(asked.key, asked.tagset, None), value)
        if copy.claim_refresh(scope.engine.monotonic()):
            seen.newer_than = copy.entry.created
        return seen

    async def _read(self, asked: Question) -> _Seen:
        """Return the stored entry, with its value if it may be served."""
        scope = self.scope
        snapshot = await read(asked)
        seen = _Seen(asked, snapshot, take(scope, snapshot))
        stale = snapshot.state == "stale"
        if seen.value is UNSET and snapshot.entry is not None and (stale or scope.engine.recently_failed(asked.key)):
            seen.value = reading.load(scope, snapshot)
            if seen.value is not UNSET:
                serve_stale(scope, snapshot, seen.value, "stale" if stale else "rescued")
                seen.newer_than = -math.inf if stale else None
        return seen

    def _refresh_behind(self, due: Sequence[_Seen]) -> None:
        """Start one background computation for the keys in `due` that need a refresh."""
        ones: list[BatchKey] = []
        for seen in due:
            if seen.newer_than is not None and may_refresh(seen.question):
                flight = self._open(seen, behind=True)
                flight.computation.newer_than = seen.newer_than
                ones.append(flight)
        if not ones:
            return
        flights = [one.computation.flight for one in ones]
        state = ones[0].computation.state
        state.flights.run(flights, BatchComputation(self.scope, ones, self.factory).run)
        run_behind(ones[0].computation.question, *flights)

    def _open(self, seen: _Seen, *, behind: bool = False, alone: bool = False) -> BatchKey:
        """Return a key of this batch with a flight of its own."""
        asked, flights = seen.question, seen.question.state.flights
        beside = alone or (computes_apart() and not behind)
        flight = (flights.open_alone if beside else flights.open)(asked.key, asked.tagset.concerns)
        work = Computation(asked, flight, seen.snapshot, _nothing, behind, alone=alone, batch_factory=self.factory)
        return BatchKey(self.names[asked.key], work)

    async def _compute(self, missing: Sequence[_Seen], *, alone: bool = False) -> dict[str, Any]:
        """Join or start the flights of `missing`, or compute `alone`; return value or failure of each key."""
        own: dict[str, BatchKey] = {}
        waits: dict[str, asyncio.Future[FlightAnswer | _Failure]] = {}
        for seen in missing:
            seen.question.state.flights.refuse_cycle(seen.question.key, seen.question.tagset.concerns)
        unshared = alone or self.scope.engine.unshared.lately(self.scope.keys.namespace, self.factory)
        joins = not alone and not computes_apart()
        for seen in missing:
            key = seen.question.key
            flight = seen.question.state.flights.to_join(key, seen.question.tagset.concerns) if joins else None
            if flight is None or unshared:
                own[key] = one = self._open(seen, alone=alone or flight is not None)
                one.computation.flight.finish = self.scope.policy.finish
                # Joins before the batch can answer.
                waits[key] = asyncio.ensure_future(_outcome(one.computation.flight.join))
            elif flight.landing:
                waits[key] = asyncio.ensure_future(_outcome(partial(_landed, flight)))
            else:
                waits[key] = asyncio.ensure_future(_outcome(partial(_joined, flight)))
        if own:
            batch = BatchComputation(self.scope, list(own.values()), self.factory)
            missing[0].question.state.flights.run([one.computation.flight for one in own.values()], batch.run)
        try:
            outcomes = await asyncio.gather(*waits.values(), return_exceptions=True)
        except asyncio.CancelledError:
            for one in own.values():  # cancelled before it joined: no caller is left to give the flight up
                one.computation.flight.give_up_alone()
            raise
        results: dict[str, Any] = {}
        for seen, outcome in zip(missing, outcomes, strict=True):
            results[seen.question.key] = await self._result(seen, outcome, mine=seen.question.key in own)
        left = [seen for seen in missing if results[seen.question.key] is _NO_COPY]
        if left:
            results.update(await self._compute(left, alone=True))
        return results

    async def _result(self, seen: _Seen, outcome: Any, *, mine: bool) -> Any:
        counts = self.scope.telemetry.counts
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
            rescued = await rescue(seen.question, seen.snapshot, outcome.error)
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
