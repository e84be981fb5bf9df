"""Storms of cancelled calls: in one loop, while the process forks, and while event loops come and go.

    python -X dev -W error -m tests.faults.storms forks URL 10

The last two run in interpreters of their own, because a test's process must not fork or end loops; each prints one line
of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from redis import Redis

from cachecore import Cache
from tests.faults.callers import PATIENT, cache_at, filled, until
from tests.faults.process_life import open_sockets
from tests.faults.public_calls import CALLS

KEYS = 40
NAMES = ["get"] * 5 + ["get_or_set"] * 6 + ["lookup"] * 2
NAMES += ["pinning", "get_many", "refresh", "delete", "get_or_set_many"]


async def wave(cache: Cache[Any], chance: random.Random, size: int = 100) -> int:
    """Make `size` calls at once and cancel two in three at random await points; return how many were cancelled.

    Each is answered rightly, or cancelled because somebody asked for that. Raises AssertionError otherwise.
    """
    calls: list[asyncio.Future[None]] = []
    for _ in range(size):
        call = CALLS[chance.choice(NAMES)]
        calls.append(asyncio.ensure_future(call(cache, chance.randrange(KEYS))))
    asked = set()
    for task in calls:
        if chance.random() < 0.3:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        if chance.random() < 0.66 and task.cancel():
            asked.add(task)
    async with asyncio.timeout(60):
        results = await asyncio.gather(*calls, return_exceptions=True)
    for task, result in zip(calls, results, strict=True):
        if task in asked:
            assert task.cancelled(), f"a cancellation was swallowed: {result!r}"
        else:
            assert result is None, f"{result!r} because of {getattr(result, '__cause__', None)!r}"
    return len(asked)


def clients(url: str) -> int:
    """Return how many connections the server at `url` has; 0 for a file."""
    if not url.startswith("redis"):
        return 0
    with Redis.from_url(url.partition("?")[0]) as admin:
        return len(admin.client_list())


async def loop_at_rest(cache: Cache[Any]) -> None:
    """Wait until the running loop has no computation and no task of the cache left."""
    state = cache._engine.state()
    await until(lambda: not state.flights.tasks and len(state.flights) == 0)
    await until(lambda: not state.tasks)
    assert state.background == 0


async def nothing_under_way(cache: Cache[Any]) -> None:
    """Wait until no call to the store is under way either, in any loop; fail if an invalidation pends."""
    await loop_at_rest(cache)
    engine = cache._engine
    await until(lambda: engine.backend.under_way == 0)
    assert len(engine.outbox) == 0


async def _checked(cache: Cache[Any]) -> None:
    """Ask for everything once more."""
    for number in range(KEYS):
        await CALLS["get_or_set"](cache, number)


def forks(url: str, count: str) -> None:
    """Fork `count` times in the middle of a storm; each child makes one of its own on the same cache object."""
    asyncio.run(_forking(url, int(count)))


async def _forking(url: str, count: int) -> None:
    chance = random.Random(11)
    before = asyncio.all_tasks()
    cache = cache_at(url, l1_max_entries=20, **PATIENT)
    await filled(cache, 2)
    connections = clients(url)
    waves = cancelled = 0
    forked = asyncio.Event()
    problems: list[str] = []

    async def storm() -> None:
        nonlocal waves, cancelled
        while not forked.is_set():
            cancelled += await wave(cache, chance)
            waves += 1

    storming = asyncio.ensure_future(storm())
    for number in range(count):
        for _ in range(chance.randrange(30)):  # anywhere in the parent's calls
            await asyncio.sleep(0)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            _be_a_child(cache, number, theirs)
        os.close(theirs)
        with os.fdopen(ours) as pipe:
            said = await asyncio.to_thread(pipe.read)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        if status:
            problems.append(f"{os.waitstatus_to_exitcode(status)}: {said}")
    forked.set()
    await storming
    await _checked(cache)
    await nothing_under_way(cache)
    await until(lambda: clients(url) == connections)
    await cache.aclose()
    await until(lambda: asyncio.all_tasks() <= before)
    _tell(problems=problems[:3], waves=waves, cancelled=cancelled)


def _be_a_child(cache: Cache[Any], number: int, pipe: int) -> None:
    """Storm, close, and end the process: 0 if all was well, else what was wrong goes into the pipe."""

    async def main() -> None:
        chance = random.Random(number)
        for _ in range(3):
            await wave(cache, chance)
        await _checked(cache)
        await nothing_under_way(cache)
        assert len(cache._engine._states) == 1, "the parent's loops are none of the child's"
        await cache.aclose()
        ended.set()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException:
            os.write(pipe, traceback.format_exc()[-2000:].encode())

    ended = threading.Event()
    try:
        # In a thread, because this thread's loop is the parent's and still says that it runs.
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(60)
    finally:
        os._exit(0 if ended.is_set() else 1)


def _note_problem(problems: list[str], _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # What asyncio says of tasks that were made while it cancelled all others is nothing that a library can help.
    if context["message"] != "Task was destroyed but it is pending!":
        problems.append(repr(context))


def loops(url: str, count: str) -> None:
    """Storm in one `asyncio.run` after the other, each of which ends over calls, and in a thread all the time."""
    chance = random.Random(12)
    cache = cache_at(url, l1_max_entries=20, **PATIENT)
    done = threading.Event()
    problems: list[str] = []
    waves, in_thread, left, unfinished = itertools.count(), itertools.count(), 0, 0

    async def part() -> list[asyncio.Task[None]]:
        asyncio.get_running_loop().set_exception_handler(partial(_note_problem, problems))
        await wave(cache, chance, 50)
        next(waves)
        calls = [CALLS[chance.choice(NAMES)](cache, chance.randrange(KEYS)) for _ in range(20)]
        behind = [asyncio.get_running_loop().create_task(call) for call in calls]
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        return behind  # the end of the loop cancels what is not done

    async def beside() -> None:
        own = random.Random(13)
        while not done.is_set():
            await wave(cache, own, 50)
            next(in_thread)
        await loop_at_rest(cache)

    def run() -> None:
        try:
            asyncio.run(beside())
        except BaseException:
            problems.append(traceback.format_exc()[-2000:])

    async def end() -> None:
        await _checked(cache)
        await nothing_under_way(cache)
        assert len(cache._engine._states) <= 2, "loops that are closed are forgotten"
        await cache.aclose()

    asyncio.run(filled(cache, 2))
    thread = threading.Thread(target=run)
    thread.start()
    try:
        for _ in range(int(count)):
            for task in asyncio.run(part()):
                left += 1
                unfinished += task.cancelled()
                if not task.cancelled() and task.exception() is not None:
                    problems.append(repr(task.exception()))
    finally:
        done.set()
        thread.join(60)
    asyncio.run(end())
    _tell(
        problems=problems[:3],
        waves=next(waves),
        waves_in_thread=next(in_thread),
        left_over=left,
        cancelled=unfinished,
        open_sockets=_sockets_left(),
    )


def _sockets_left() -> int:
    """Return how many sockets stay open although nothing refers to the loops that had them; waits up to 10 s."""
    gc.collect()
    limit = time.monotonic() + 10
    while open_sockets() and time.monotonic() < limit:
        gc.collect()
    return open_sockets()


def _tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


PROGRAMS: dict[str, Callable[..., None]] = {program.__name__: program for program in (forks, loops)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
