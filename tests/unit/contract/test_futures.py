"""A prompt future tells of its end within the call that ends it, once, and is a future in all else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachecore.contract.futures import InlineFuture


@pytest.mark.parametrize("end", ["result", "exception", "cancel", "done before"])
async def test_told_at_once_and_once(end: str) -> None:
    future = InlineFuture[int](loop=asyncio.get_running_loop())
    told: list[bool] = []
    if end == "done before":
        future.set_result(1)
    future.at_end(lambda done: told.append(done.done()))
    if end == "result":
        future.set_result(1)
    elif end == "exception":
        future.set_exception(ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await future
    elif end == "cancel":
        assert future.cancel()
        assert not future.cancel()
    assert told == [True]
    await asyncio.sleep(0)
    assert told == [True]


async def test_each_who_asks_to_be_told_is() -> None:
    future = InlineFuture[int](loop=asyncio.get_running_loop())
    told: list[str] = []
    future.at_end(lambda _: told.append("driver"))
    future.at_end(lambda _: told.append("guard"))
    future.set_result(1)
    assert told == ["driver", "guard"]


async def test_awaited_like_any_future() -> None:
    loop = asyncio.get_running_loop()
    future = InlineFuture[int](loop=loop)
    later: list[object] = []
    future.add_done_callback(later.append)
    loop.call_soon(future.set_result, 7)
    assert await future == 7
    assert later == [future]


async def test_callback_that_raises_harms_nobody_who_gives_results() -> None:
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))

    def bad(_: object) -> None:
        raise LookupError("a bug")

    future = InlineFuture[int](loop=loop)
    future.at_end(bad)
    future.set_result(1)
    assert future.result() == 1
    assert [type(problem["exception"]) for problem in problems] == [LookupError]
