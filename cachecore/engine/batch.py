"""Many keys, one call of the factory: a batch is a computation for each key, as any single key has, with one factory.

So a batch takes part in everything single keys do: it joins the flights that are under way, its own can be joined, and
its keys are leased.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachecore.contract.results import UNSET
from cachecore.engine import read as reading
from cachecore.engine.batch_computation import BatchComputation, FactoryMany
from cachecore.engine.computation import ABSENT, Computation
from cachecore.engine.lookup import background, compute, may_refresh, run_behind, serve_stale
from cachecore.engine.read import parts, read, take
from cachecore.engine.scope import Question, Scope, Ttl, question
from cachecore.engine.store_read import StoreRead


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
    _beginning: list[Computation] = field(default_factory=list)
    """Computations that begin together in the next turn of the loop."""

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
        reads = [seen for part in parts(unanswered) for seen in await asyncio.gather(*map(self._read, part))]
        answers.update({seen.question.key: seen.value for seen in reads if seen.value is not UNSET})
        self._refresh_behind(reads)
        missing = [seen for seen in reads if seen.value is UNSET]
        for seen in missing:  # before any of them begins
            seen.question.state.flights.refuse_cycle(seen.question.key, seen.question.tagset.concerns)
        lookups = [compute(seen.question, seen.snapshot, self.factory, self._begin) for seen in missing]
        outcomes = await asyncio.gather(*lookups, return_exceptions=True)
        for seen, outcome in zip(missing, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            answers[seen.question.key] = ABSENT if outcome.outcome == "miss" else outcome.value

    def _begin(self, computation: Computation) -> None:
        """Begin a computation in the next turn of the loop, with the others of this turn."""
        if not self._beginning:
            computation.state.loop.call_soon(self._begin_all)
        self._beginning.append(computation)

    def _begin_all(self) -> None:
        computations, self._beginning = self._beginning, []
        wanted = [one for one in computations if not one.flight.answered]  # by now, callers may be gone
        for one in wanted:
            one.flight.reading()  # callers that join from here on may have come after an invalidation
        if wanted:
            self._run(wanted)

    def _run(self, computations: Sequence[Computation]) -> None:
        batch = BatchComputation(computations, self.names, self.factory)
        computations[0].state.flights.run([one.flight for one in computations], batch.run)

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
        wanted = [
            background(seen.question, seen.snapshot, self.factory, seen.newer_than)
            for seen in due
            if seen.newer_than is not None and may_refresh(seen.question)
        ]
        if wanted:
            self._run(wanted)
            run_behind(wanted[0].question, *[one.flight for one in wanted])
