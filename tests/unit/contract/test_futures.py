"""A prompt future tells of its end within the call that ends it, once, and is a future in all else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachecore.contract.futures import InlineFuture, InlineRun


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


def test_run_goes_on_within_the_call_that_ends_what_it_waits_for() -> None:
    """It needs no turn of the loop: not to begin, not to go on, and not to say that it is done."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first: InlineFuture[int] = InlineFuture(loop=loop)
        second: InlineFuture[int] = InlineFuture(loop=loop)
        steps: list[object] = []

        async def work() -> str:
            steps.append("begun")
            steps.append(await first)
            steps.append(await second)
            return "done"

        run = InlineRun(work())
        run.at_end(lambda done: steps.append(done.result()))
        assert steps == []
        run.begin()
        assert steps == ["begun"]
        first.set_result(1)
        assert steps == ["begun", 1]
        second.set_result(2)
        assert steps == ["begun", 1, 2, "done"]
        assert await run == "done"

    asyncio.run(main())


def test_run_waits_for_other_futures_as_a_task_does() -> None:
    async def work(tasks: list[int]) -> int:
        await asyncio.sleep(0)
        numbers = await asyncio.gather(*(asyncio.sleep(0, number) for number in tasks))
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(4)
        return sum(numbers) + await done

    async def main() -> None:
        run = InlineRun(work([1, 2]))
        run.begin()
        assert not run.done()
        assert await run == 7

    asyncio.run(main())


@pytest.mark.parametrize("how", ["interrupt", "cancel", "error"])
def test_run_that_is_interrupted_raises_where_it_waits(how: str) -> None:
    """The future that it waited for is cancelled, as a task's is, and does not wake it again."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        awaited: InlineFuture[int] = InlineFuture(loop=loop)
        later: InlineFuture[int] = InlineFuture(loop=loop)
        seen: list[type] = []
        values: list[int] = []

        async def work() -> int:
            try:
                return await awaited
            except BaseException as error:
                seen.append(type(error))
                values.append(await later)  # raises nothing another time
                raise

        run = InlineRun(work())
        assert run.cancel() is False  # it has not begun
        run.begin()
        if how == "interrupt":
            run.interrupt(TimeoutError())
        elif how == "cancel":
            assert run.cancel() is True
        else:
            awaited.set_exception(TimeoutError())
        assert not run.done()
        assert awaited.cancelled() is (how != "error")
        later.set_result(2)
        assert run.done()
        assert values == [2]
        assert run.cancel() is False
        run.interrupt(ValueError())  # too late
        if how == "cancel":
            assert seen == [asyncio.CancelledError]
            assert run.cancelled()
        else:
            assert seen == [TimeoutError]
            with pytest.raises(TimeoutError):
                await run

    asyncio.run(main())


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
def test_tasks_that_an_interrupted_run_waited_for_are_cancelled(how: str) -> None:
    async def main() -> None:
        ended: list[str] = []

        async def child(name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        async def work() -> None:
            await asyncio.gather(child("a"), child("b"))

        run = InlineRun(work())
        run.begin()
        await asyncio.sleep(0)
        if how == "interrupt":
            run.interrupt(TimeoutError())
        else:
            assert run.cancel() is True
        with pytest.raises(TimeoutError if how == "interrupt" else asyncio.CancelledError):
            await run
        assert ended == ["a", "b"]

    asyncio.run(main())


def test_run_that_is_interrupted_in_a_turn_of_the_loop_is_no_noise() -> None:
    """`asyncio.sleep(0)` waits for the next turn, which comes nevertheless."""

    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        run = InlineRun(asyncio.sleep(0))
        run.begin()
        run.interrupt(TimeoutError())
        with pytest.raises(TimeoutError):
            await run
        await asyncio.sleep(0)
        assert told == []

    asyncio.run(main())


@pytest.mark.parametrize("cancelled_first", [True, False])
def test_no_deadline_undoes_that_a_run_was_cancelled(cancelled_first: bool) -> None:
    """It may strike while the future that the run waited for is still ending."""

    async def main() -> None:
        end = asyncio.Event()

        async def ends_slowly() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await end.wait()

        async def work() -> None:
            await child

        child = asyncio.ensure_future(ends_slowly())
        await asyncio.sleep(0)
        run = InlineRun(work())
        run.begin()
        if cancelled_first:
            run.cancel()
            await asyncio.sleep(0)
        run.interrupt(TimeoutError())
        if not cancelled_first:
            await asyncio.sleep(0)
            run.cancel()
        assert not run.done()
        await asyncio.sleep(0)
        end.set()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
