"""Programs about forks, event loops and the end of a process; each runs in an interpreter of its own.

    python -X dev -W error -m tests.faults.process_life forks URL 10 200

Prints one line of JSON. They are not run inside a test, because a test's own process must not fork or end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from cachecore import Cache
from tests.faults.callers import KEYS, PATIENT, Tally, answer, ask, cache_at, filled, in_a_row, request


def _tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def _reads(cache: Cache[Any], count: int, tally: Tally) -> None:
    """Read by eight callers at once, so that many replies are under way."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await ask(cache, number % KEYS, tally)

    await asyncio.gather(*(caller() for _ in range(8)))


def _told(tally: Tally) -> str:
    return json.dumps([tally.wrong, sum(tally.errors.values()), tally.factory_calls, list(tally.errors)[:3]])


def forks(url: str, count: str, reads: str) -> None:
    """Fork again and again with connections open; parent and child read at the same time."""
    cache = cache_at(url, l1_max_entries=20, **PATIENT)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(filled(cache))
    wrong = errors = computed = 0
    problems: list[str] = []
    for _ in range(int(count)):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            tally = Tally()
            code = 1
            with contextlib.suppress(BaseException):
                asyncio.run(_reads(cache, int(reads), tally))
                os.write(theirs, _told(tally).encode())
                code = 0
            os._exit(code)
        os.close(theirs)
        tally = Tally()
        loop.run_until_complete(_reads(cache, int(reads), tally))
        with os.fdopen(ours) as pipe:
            of_child = pipe.read()
        _, status = os.waitpid(child, 0)
        for part in (_told(tally), of_child or '[0, 1, 0, ["the child died"]]'):
            bad, failed, called, what = json.loads(part)
            wrong, errors, computed = wrong + bad, errors + failed, computed + called
            problems += what
        errors += status != 0
    loop.run_until_complete(cache.aclose())
    loop.close()
    _tell(wrong=wrong, errors=errors, computed=computed, problems=problems[:3])


def fork_in_a_call(url: str, count: str) -> None:
    """Fork while calls are under way in a running loop; the child uses the cache from a loop of its own."""
    cache = cache_at(url, l1_max_entries=20, **PATIENT)
    failures: list[str] = []

    async def main() -> None:
        await filled(cache)
        tally = Tally()
        for _ in range(int(count)):
            under_way = [asyncio.ensure_future(ask(cache, number, tally)) for number in range(20)]
            await asyncio.sleep(0)
            child = os.fork()
            if child == 0:
                code = 1
                with contextlib.suppress(BaseException):
                    # In a thread, because this thread's loop is the parent's and still says that it runs.
                    mine = Tally()
                    thread = threading.Thread(target=asyncio.run, args=(_reads(cache, 50, mine),))
                    thread.start()
                    thread.join(60)
                    code = 0 if mine.calls == 50 and not mine.errors and not mine.wrong else 2
                os._exit(code)
            await asyncio.gather(*under_way)
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            if status:
                failures.append(f"child: {status}")
        tally.clean()
        await cache.aclose()

    asyncio.run(main())
    _tell(failures=failures)


def loops(url: str, changes: str, threads: str) -> None:
    """Use one cache in one `asyncio.run` after the other, then in several threads' loops at once."""
    cache = cache_at(url, l1_max_entries=20, **PATIENT)
    tallies: list[Tally] = []

    async def part(seconds: float = 0.0) -> None:
        tally = Tally()
        await _reads(cache, 50, tally)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await _reads(cache, 200, tally)
            await cache.set(request(1), answer(1))
        tallies.append(tally)

    asyncio.run(filled(cache))
    for _ in range(int(changes)):
        asyncio.run(part())
    running = [threading.Thread(target=asyncio.run, args=(part(1.0),)) for _ in range(int(threads))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    asyncio.run(cache.aclose())
    gc.collect()
    _tell(
        wrong=sum(tally.wrong for tally in tallies),
        errors=[error for tally in tallies for error in tally.errors][:5],
        computed=sum(tally.factory_calls for tally in tallies),
        loops=len(tallies),
        calls=sum(tally.calls for tally in tallies),
        open_sockets=open_sockets(),
    )


def open_sockets() -> int:
    """Return how many sockets this process has."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sum(link.startswith("socket:") for link in links)


def close(url: str, calls: str, server: str) -> None:
    """Make many calls, freeze the server (if its process id is not 0), and close."""

    async def main() -> None:
        cache = cache_at(url, stale_while_revalidate=60, **({} if int(server) else PATIENT))
        tally = Tally()
        await filled(cache)
        await _reads(cache, int(calls), tally)
        tally.clean()
        left_behind = [asyncio.ensure_future(ask(cache, 1000 + number, tally)) for number in range(20)]
        await asyncio.sleep(0)
        if int(server):
            os.kill(int(server), signal.SIGSTOP)
        began = time.monotonic()
        await cache.aclose()
        seconds = time.monotonic() - began
        await asyncio.gather(*left_behind)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            _, left = await asyncio.wait(left, timeout=5)
        _tell(seconds=seconds, left=[repr(task) for task in left], errors=list(tally.errors), wrong=tally.wrong)

    asyncio.run(main())
    gc.collect()


def exit_without_closing(url: str) -> None:
    """End with a refresh behind a stale answer, a feed and open connections, and close nothing."""

    async def main() -> None:
        cache = cache_at(url, ttl=0.05, stale_while_revalidate=60, **PATIENT)
        await cache.set({"q": 1}, 1)
        await asyncio.sleep(0.1)  # time itself is what makes an answer stale

        async def slow() -> int:
            await asyncio.Event().wait()
            return 2

        assert await cache.get_or_set({"q": 1}, slow) == 1
        await asyncio.sleep(0)
        _tell(done=True)

    asyncio.run(main())


def interrupted(url: str) -> None:
    """Get a KeyboardInterrupt while a factory runs, then use the cache again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    cache = cache_at(url, **PATIENT)

    async def main() -> None:
        await filled(cache)

        async def slow() -> int:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(30)
            return 2

        await cache.get_or_set({"q": "slow"}, slow)

    began = time.monotonic()
    try:
        asyncio.run(main())
        raised = False
    except KeyboardInterrupt:
        raised = True
    seconds = time.monotonic() - began

    async def after() -> Tally:
        tally = await in_a_row(cache, 100)
        await cache.aclose()
        return tally

    tally = asyncio.run(after())
    tally.clean()
    _tell(raised=raised, seconds=seconds, computed=tally.factory_calls)


def loop_closed_in_a_call(url: str) -> None:
    """Close a loop with calls under way, as `run_until_complete` and frameworks may; use the cache in another."""
    cache = cache_at(url, **PATIENT)
    tally = Tally()
    asyncio.run(filled(cache))
    abandoned: list[asyncio.Task[None]] = []  # kept: what asyncio says of such tasks when they go is not of interest
    for turn in range(40):
        loop = asyncio.new_event_loop()
        under_way = [loop.create_task(ask(cache, 2000 + turn * 10 + number, Tally())) for number in range(10)]
        for _ in range(turn // 2):
            loop.run_until_complete(asyncio.sleep(0))
        if turn % 2:  # the callers are told, and their calls to the store are still under way
            for task in under_way:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*under_way, return_exceptions=True))
        abandoned += [task for task in under_way if not task.done()]
        loop.close()
        asyncio.run(_reads(cache, 50, tally))
    asyncio.run(cache.aclose())
    tally.clean()
    _tell(computed=tally.factory_calls, calls=tally.calls, abandoned=len(abandoned))


PROGRAMS: dict[str, Callable[..., None]] = {
    program.__name__: program
    for program in (forks, fork_in_a_call, loops, close, exit_without_closing, interrupted, loop_closed_in_a_call)
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
