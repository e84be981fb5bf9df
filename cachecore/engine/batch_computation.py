"""The computations of a batch that began together: one call of the factory for all keys that have come to it.

Each key is computed as any single key is. At its factory it waits until every other key is decided: answered, waiting
for another process, or at its factory too. Then the factory is called once, for all keys that wait there. Keys that
waited for another process in vain make a later call, once all else is answered; until then they claim nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from cachecore.encoding.plain import type_name
from cachecore.engine.computation import ABSENT, Computation
from cachecore.engine.compute import call, pin, run
from cachecore.engine.factories import awaited
from cachecore.engine.flights.flight import Retry

FactoryMany = Callable[[list[Any]], Awaitable[Mapping[Any, Any]]]
T = TypeVar("T")


class BatchComputation:
    """The computations of several keys, which one task computes. Belongs to one event loop.

    Args:
        computations: not begun yet; of one view, one policy and one ttl.
        names: each key's name for the factory.
        factory: takes a list of names, returns a mapping of names to answers.
    """

    def __init__(
        self, computations: Sequence[Computation], names: Mapping[str, Hashable], factory: FactoryMany
    ) -> None:
        self._computations = computations
        self._names = names
        self._factory = factory
        self._left = len(computations)  # not ended
        self._undecided = set(computations)
        self._waiting = 0  # for other processes
        self._waited: list[Computation] = []  # in vain
        self._over = asyncio.Event()
        """Set when those that waited in vain may go on."""
        self._came: dict[Computation, asyncio.Future[tuple[Any, float]]] = {}
        """Those at their factory, and their values to be."""
        self._news = asyncio.Event()
        self._error: BaseException | None = None
        for computation in computations:
            computation.batch = self

    async def run(self) -> None:
        """Compute all keys. The first exception ends all of them, as one call of the factory does."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._compute(computation)) for computation in self._computations]
        try:
            while await self._next_call():
                came, self._came = self._came, {}
                await self._call(came)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # they give up their claims

    async def value(self, computation: Computation) -> tuple[Any, float]:
        """Return the value that the call of the factory has for a key, `ABSENT` for none, and the call's seconds."""
        value: asyncio.Future[tuple[Any, float]] = asyncio.get_running_loop().create_future()
        self._came[computation] = value
        self._undecided.discard(computation)
        self._news.set()
        return await value

    async def outwait(self, computation: Computation, wait: Awaitable[T | None]) -> T | None:
        """Return the result of a wait for another process; None only once all other keys are answered, or have None."""
        self._undecided.discard(computation)
        self._waiting += 1
        self._news.set()
        try:
            result = await wait
        finally:
            self._waiting -= 1
            self._news.set()
        if result is None:
            self._waited.append(computation)
            await self._over.wait()
        return result

    async def _compute(self, computation: Computation) -> None:
        try:
            await run(computation)
        except Retry as error:
            computation.flight.answer(error=error)
        except Exception as error:  # noqa: BLE001 - raised again by the task of all
            self._error = self._error or error
        finally:
            self._left -= 1
            self._undecided.discard(computation)
            self._news.set()

    async def _next_call(self) -> bool:
        """Wait until the factory is to be called; return False once all keys are answered."""
        while self._left:
            if self._error is not None:
                break
            if not self._undecided:
                if self._came:
                    return True
                if self._waited and not self._waiting:
                    self._undecided.update(self._waited)
                    self._waited = []
                    self._over.set()
            self._news.clear()
            await self._news.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return False

    async def _call(self, came: Mapping[Computation, asyncio.Future[tuple[Any, float]]]) -> None:
        wanted: list[Computation] = []
        for computation in self._computations:  # in the caller's order
            if computation not in came:
                continue
            if computation.flight.answered:  # given up by its callers meanwhile
                came[computation].cancel()
            else:
                wanted.append(computation)
        if not wanted:
            return
        await asyncio.gather(*map(pin, wanted))
        names = [self._names[computation.question.key] for computation in wanted]
        values, seconds = await call(wanted, partial(self._answers, names))
        check_names(names, values)
        for computation, name in zip(wanted, names, strict=True):
            came[computation].set_result((values.get(name, ABSENT), seconds))
        self._undecided.update(wanted)  # until their answers are stored

    async def _answers(self, names: list[Hashable]) -> Mapping[Any, Any]:
        values = await awaited(self._factory, names)
        if not isinstance(values, Mapping):
            raise TypeError(f"factory must return a mapping of names to answers, not a {type(values).__name__}")
        return values


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
