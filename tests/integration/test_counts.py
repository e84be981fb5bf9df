"""Hot calls do no more than `benchmarks/counts.json` holds: turns, tasks, calls of the store, thread hops, memory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest

from benchmarks import counts
from benchmarks.counting import Counter, CountingLoop, HotCall, allocated, count, thread_hops
from cachecore.testing.servers import Server
from tests.conftest import SERVERS

MEASUREMENTS = 6


@pytest.fixture(scope="module")
def found(running_servers: dict[str, Server]) -> dict[str, counts.Counts]:
    """The counts of now, measured again while one is over what is held: a busy machine may cause that some times."""
    name = max(SERVERS)
    if name not in running_servers:
        running_servers[name] = Server(SERVERS[name])
        running_servers[name].start()
    url = running_servers[name].url
    measured = counts.measured_apart(url)
    for _ in range(MEASUREMENTS - 1):
        if any(more for more, _ in counts.differences(measured, counts.held())):
            measured = counts.least(measured, counts.measured_apart(url))
    return measured


def test_hot_calls_do_no_more_than_is_held(found: dict[str, counts.Counts]) -> None:
    more = [line for more, line in counts.differences(found, counts.held()) if more]
    assert not more, "\n".join(
        [
            "hot calls do more than benchmarks/counts.json holds:",
            *more,
            f"if it must be so, renew the file with `{counts.RENEW}` and say why in the commit",
        ]
    )


def test_memory_is_held_for_this_version() -> None:
    if counts.VERSION not in counts.held()["bytes"]:
        pytest.skip(f"no bytes are held for Python {counts.VERSION}: run `{counts.RENEW}` on it")
    held = counts.held()
    for kind, calls in held["counts"].items():
        without = {call for call, row in calls.items() if not row["turns"]} - set(held["bytes"][counts.VERSION][kind])
        assert not without, f"{kind}: calls in memory without bytes"


def test_every_held_call_is_measured(found: dict[str, counts.Counts]) -> None:
    """A call that is no longer counted would be guarded by nothing."""
    held = counts.held()["counts"]
    assert {kind: set(calls) for kind, calls in found.items()} == {kind: set(calls) for kind, calls in held.items()}


def counted(run: HotCall) -> dict[str, int]:
    async def measure() -> dict[str, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        with thread_hops() as hops:
            return {**await count(run, loop, Counter(), hops), "bytes": await allocated(run, loop)}

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        return runner.run(measure())


async def nothing(number: int) -> None:
    return None


async def one_turn(number: int) -> None:
    await asyncio.sleep(0)


async def a_task(number: int) -> None:
    await asyncio.create_task(nothing(number))


async def a_task_left_behind(number: int) -> None:
    asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(nothing(number)))


async def a_thread(number: int) -> None:
    await asyncio.get_running_loop().run_in_executor(None, int)


async def a_list(number: int) -> None:
    made = [0] * 1000
    del made


NOTHING = {"turns": 0, "tasks": 0, "store calls": 0, "thread hops": 0}


@pytest.mark.parametrize(
    ("run", "more"),
    [
        (nothing, {}),
        (one_turn, {"turns": 1}),
        (a_task, {"turns": 2, "tasks": 1}),
        (a_task_left_behind, {"tasks": 1}),
    ],
)
def test_turns_and_tasks_are_counted(run: Callable[[int], Awaitable[None]], more: dict[str, int]) -> None:
    found = counted(HotCall(run))
    del found["bytes"]
    assert found == NOTHING | more


def test_a_hop_to_a_thread_and_back_is_counted() -> None:
    assert counted(HotCall(a_thread))["thread hops"] >= 2


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or a coverage tool traces this run")
def test_memory_given_back_is_counted() -> None:
    assert counted(HotCall(a_list))["bytes"] - counted(HotCall(nothing))["bytes"] >= 7900


def test_a_count_that_grew_is_told_from_one_that_fell() -> None:
    file = {"counts": {"memory://": {"set": NOTHING | {"turns": 3, "tasks": 2}}}, "bytes": {}}
    found = {"memory://": {"set": NOTHING | {"turns": 2, "tasks": 3, "bytes": 5}}}
    assert list(counts.differences(found, file)) == [
        (False, "memory://, set: turns 3 -> 2"),
        (True, "memory://, set: tasks 2 -> 3"),
    ]
