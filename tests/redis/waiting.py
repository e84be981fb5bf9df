"""Receiver for a state instead of a time, and the time that a loop had."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from cachecore.contract import BackendError

_TICK = 0.005


class LoopTime:
    """How many seconds the running loop has turned or waited: one that a busy machine keeps from turning counts less.

    For bounds on what is waited for. A wait is counted whole, however long; how long code runs is not.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._last = self._loop.time()
        self._timer = self._loop.call_later(_TICK, self._tick)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        self.seconds += min(now - self._last, 2 * _TICK)
        self._last = now
        self._timer = self._loop.call_later(_TICK, self._tick)


async def until(condition: Callable[[], bool | Awaitable[bool]], *, within: float = 20.0) -> float:
    """Return the seconds of the loop that it took until `condition` held; fail after `within`."""
    with LoopTime() as time:
        while time.seconds < within:
            held = condition()
            if not isinstance(held, bool):
                held = await held
            if held:
                return time.seconds
            await asyncio.sleep(0.005)
    raise AssertionError(f"it did not happen within {within} s")


async def until_it_works(call: Callable[[], Awaitable[object]], *, within: float = 20.0) -> float:
    """Return the seconds of the loop that it took until `call` raised no BackendError."""

    async def works() -> bool:
        try:
            await call()
        except BackendError:
            return False
        return True

    return await until(works, within=within)
