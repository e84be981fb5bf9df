"""Many loops, threads and forks: each has connections of its own, and nobody gets another's reply."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Callable

import pytest

from cachecore.contract import BackendUnavailable
from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from tests.redis.waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are not to be had here")


async def use(backend: RedisBackend, name: str, rounds: int) -> None:
    """Write and read keys of one's own, many at once; raise if any answer is another's."""
    for round_ in range(rounds):
        items = {f"{name}:{i}": f"{name}:{i}:{round_}".encode() for i in range(20)}
        await backend.set_many(items, ttl=60)
        values = await asyncio.gather(*(backend.get_many([key]) for key in items))
        assert [value for (value,) in values] == list(items.values())


def test_hundred_loops_in_turn(any_server: Server) -> None:
    """`asyncio.run` again and again, without closing: no error, no warning, no connection left behind."""
    backend = RedisBackend(any_server.url)
    for i in range(100):
        asyncio.run(use(backend, f"loop{i}", 1))
    assert not backend._nodes._kept
    asyncio.run(backend.aclose())


def test_loop_that_ends_over_writes_says_nothing_about_the_server(any_server: Server) -> None:
    """What is written while a loop ends fails as closed, not as a fault that would count against the store."""
    backend = RedisBackend(any_server.url)
    late: list[asyncio.Task[bool]] = []

    async def last_words() -> None:
        try:
            await asyncio.Event().wait()
        finally:  # as a lease is given back when its holder is cancelled
            late.append(asyncio.get_running_loop().create_task(swapped()))

    async def swapped() -> bool:
        return await backend.swap("k", None, b"v", ttl=60)

    async def main() -> asyncio.Task[None]:
        assert await swapped()
        any_server.pause()
        speaking = asyncio.create_task(last_words())
        await asyncio.sleep(0)
        return speaking

    assert asyncio.run(main()).cancelled()
    any_server.resume()
    (task,) = late
    error = task.exception()
    assert isinstance(error, BackendUnavailable)
    assert (error.reason, error.transient) == ("closed", False)
    asyncio.run(backend.aclose())


def test_call_made_when_its_loop_has_ended_opens_nothing(any_server: Server) -> None:
    """A loop whose generators were closed is over: what is called there still finds the backend closed."""
    backend = RedisBackend(any_server.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use(backend, "before", 1))
    loop.run_until_complete(loop.shutdown_asyncgens())
    with pytest.raises(BackendUnavailable, match="closed"):
        loop.run_until_complete(use(backend, "after", 1))
    loop.close()
    asyncio.run(use(backend, "another", 1))
    asyncio.run(backend.aclose())


def test_loops_in_threads(any_server: Server) -> None:
    """Four loops in four threads share a backend; closing it from one closes them all."""
    backend = RedisBackend(any_server.url)
    failures: list[BaseException] = []
    working = threading.Barrier(5)
    closed = threading.Event()

    async def work(i: int) -> None:
        await use(backend, f"thread{i}", 20)
        working.wait(60)
        await until(closed.is_set)
        with pytest.raises(BackendUnavailable):
            await backend.get_many(["k"])
        await until(lambda: not backend._nodes._kept)

    def run(i: int) -> None:
        try:
            asyncio.run(asyncio.wait_for(work(i), 60))
        except BaseException as error:
            failures.append(error)
            working.abort()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    working.wait(60)
    asyncio.run(backend.aclose())
    closed.set()
    for thread in threads:
        thread.join(60)
    assert not failures


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; return the child's process id. It ends with 0 if nothing was raised."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forks_while_reads_are_under_way(any_server: Server) -> None:
    """A hundred forks in the middle of reads, parent and child reading on: every answer is right."""
    backend = RedisBackend(any_server.url)

    async def parent() -> None:
        await use(backend, "parent", 1)
        for i in range(100):
            reading = asyncio.ensure_future(use(backend, "parent", 1))
            await asyncio.sleep(0)
            child = forked(lambda i=i: asyncio.run(use(backend, f"child{i}", 10)))  # type: ignore[misc] # mypy infers no default of a lambda
            await reading
            await use(backend, "parent", 10)
            ended, status = await asyncio.to_thread(os.waitpid, child, 0)
            assert (ended, status) == (child, 0)
        await backend.aclose()

    asyncio.run(parent())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_child_that_closes_leaves_the_parent_its_connection(any_server: Server) -> None:
    """Closing in a forked child touches nothing of the parent's."""
    backend = RedisBackend(any_server.url)

    async def parent() -> None:
        await use(backend, "parent", 1)
        connection = backend._nodes.get("test").main.current
        child = forked(lambda: asyncio.run(backend.aclose()))
        assert await asyncio.to_thread(os.waitpid, child, 0) == (child, 0)
        await use(backend, "parent", 1)
        assert backend._nodes.get("test").main.current is connection
        await backend.aclose()

    asyncio.run(parent())
