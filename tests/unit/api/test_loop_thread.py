"""The end of the thread of a synchronous cache."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from cachecore.api.loop_thread import LoopThread


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.filterwarnings("error")
def test_a_task_that_begins_while_the_loop_ends_is_not_left_unstarted(turns: int) -> None:
    """A cache that is dropped at that time starts to close so many turns of the loop later: no warning."""
    kept: list[AsyncIterator[int]] = []

    async def close() -> None:
        await asyncio.sleep(0)

    def later(left: int) -> None:
        loop = asyncio.get_running_loop()
        if left:
            loop.call_soon(later, left - 1)
        else:
            loop.create_task(close())  # noqa: RUF006 - the loop ends it

    async def events() -> AsyncIterator[int]:
        try:
            yield 1
        finally:  # the loop closes open generators as the last thing
            later(turns)

    async def begin() -> None:
        kept.append(events())
        await anext(kept[0])

    thread = LoopThread()
    thread.submit(begin()).result(5)
    thread.stop()
    kept.clear()
    gc.collect()
