"""The computation of all keys of a batch that one caller owns: one call of the factory for those that it claims."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachecore.contract.results import Lookup
from cachecore.encoding.claim import ClaimMark
from cachecore.encoding.plain import type_name
from cachecore.engine.apart import computes_apart
from cachecore.engine.computation import Computation
from cachecore.engine.compute import end_claim, pin, served, take_claim, wait_for
from cachecore.engine.factories import awaited
from cachecore.engine.flights.flight import Retry, computing
from cachecore.engine.publish import FlightAnswer, publish, unstored_answer
from cachecore.engine.scope import Scope
from cachecore.engine.stamp_keeper import StampKeeper

FactoryMany = Callable[[list[Any]], Awaitable[Mapping[Any, Any]]]
ABSENT: Any = object()
"""The result of a key that the factory left out."""


@dataclass(slots=True)
class BatchKey:
    """One key of a batch."""

    name: Hashable
    computation: Computation
    stored: bool = False


_Held = tuple[BatchKey, ClaimMark]
"""A key, and the claim of the process that computes it."""


@dataclass(slots=True)
class BatchComputation:
    """The computation of all keys that one call owns."""

    scope: Scope
    ones: list[BatchKey]
    factory: FactoryMany
    _held: list[_Held] = field(default_factory=list)

    async def run(self) -> None:
        """Compute the keys that this call claims, wait for those of others, then compute those that failed there."""
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

    async def _take(self, one: BatchKey) -> None:
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

    async def _outwait(self, held: _Held) -> BatchKey | None:
        """Wait for another process's answer; return the key if there came none.

        Claims nothing, however its holder ended: other keys of the batch may still be waited for.
        """
        one, holder = held
        answer = await wait_for(one.computation, holder, succeed=False)
        if answer is None:
            return one
        one.computation.flight.answer(answer, late_too=False)
        return None

    async def _round(self, ones: list[BatchKey]) -> None:
        """Call the factory once for those of `ones` that are still to be computed."""
        wanted: list[BatchKey] = []
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

    async def _call(self, wanted: list[BatchKey]) -> tuple[Mapping[Any, Any], float]:
        engine, limit = self.scope.engine, self.scope.policy.factory_timeout
        for one in wanted:
            one.computation.flight.start_timer(limit, f"the factory did not answer within {limit:g} s")
        self.scope.telemetry.counts.factory_calls += 1
        first = wanted[0].computation  # all have one policy and one ttl
        keeper = StampKeeper(self.scope, first.state, [one.computation.flight for one in wanted], first.life)
        began = engine.monotonic()
        keeper.start()
        try:
            with computing(first.flight):
                values = await awaited(self.factory, [one.name for one in wanted])
            if not isinstance(values, Mapping):
                raise TypeError(f"factory must return a mapping of names to answers, not a {type(values).__name__}")
        except BaseException as error:
            self.scope.telemetry.factory(engine.monotonic() - began, failed=True)
            if first.behind and isinstance(error, Exception):  # no caller is there to be told
                engine.unstored_log.warn_behind(self.scope.keys.namespace, self.factory, error)
            raise
        finally:
            keeper.stop()
        seconds = engine.monotonic() - began
        self.scope.telemetry.factory(seconds, failed=False)
        check_names([one.name for one in wanted], values)
        for one in wanted:
            one.computation.flight.land()
        if keeper.renewals:
            await keeper.settle()
        return values, seconds

    async def _land(self, one: BatchKey, values: Mapping[Any, Any], seconds: float) -> None:
        work = one.computation
        value = values.get(one.name, ABSENT)
        if value is ABSENT:
            work.flight.answer(FlightAnswer(self.scope, Lookup(value=None, outcome="miss", key=work.snapshot.key)))
            return
        if work.alone:
            work.flight.answer(unstored_answer(work, value))
        else:
            one.stored = await publish(work, value, seconds)


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
