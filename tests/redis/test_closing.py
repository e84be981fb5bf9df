"""Closing leaves nothing behind and waits for nobody."""

from __future__ import annotations

import asyncio
import gc

import pytest

from cachecore.contract import BackendError
from cachecore.testing.servers import Server, free_port
from cachecore_redis import RedisBackend
from cachecore_redis.wire.address import RedisOptions, UrlDialer
from cachecore_redis.wire.reconnecting import dial
from tests.redis.opening import connections, opened
from tests.redis.waiting import LoopTime, until


async def test_closing_leaves_nothing(any_server: Server) -> None:
    """After ten thousand calls and a close no task, timer, warning or connection remains."""
    before = await connections(any_server)
    async with opened(any_server.url) as backend:
        for _ in range(100):
            await asyncio.gather(*(backend.get_many([f"k{i}"]) for i in range(100)))
        await backend.set_many({"large": b"x" * 100_000}, ttl=60)
        stream = backend.feed("k")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined] # an async generator
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()

    async def gone() -> bool:
        return await connections(any_server) == before

    await until(gone)


async def test_closing_with_a_frozen_server(any_server: Server) -> None:
    """Closing does not wait for a server that does not answer; who waits is told."""
    async with opened(any_server.url) as backend:
        await backend.get_many(["k"])
        with any_server.paused():
            waiting = asyncio.ensure_future(backend.get_many(["k"]))
            await asyncio.sleep(0.01)
            with LoopTime() as time:
                await backend.aclose()
                assert time.seconds < 0.1
            with pytest.raises(BackendError):
                await waiting


async def test_closing_while_connecting(any_server: Server) -> None:
    """A caller whose connection is being made when the backend is closed gets an error, not a hang."""
    with any_server.paused():
        backend = RedisBackend(any_server.url, connect_timeout=60)
        waiting = asyncio.ensure_future(backend.get_many(["k"]))
        await asyncio.sleep(0.05)
        await backend.aclose()
        with pytest.raises(BackendError):
            await asyncio.wait_for(waiting, 20)


async def test_closing_while_a_connection_is_refused() -> None:
    """Whichever step the attempt has reached, nothing is told to the loop, which would log it with the address."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context)))
    reasons: set[str] = set()
    for steps in range(30):
        backend = RedisBackend(f"redis://127.0.0.1:{free_port()}/0")
        waiting = asyncio.ensure_future(backend.get_many(["k"]))
        for _ in range(steps):
            await asyncio.sleep(0)
        await backend.aclose()
        with pytest.raises(BackendError) as failed:
            await waiting
        reasons.add(failed.value.reason)
        del backend, waiting, failed
        gc.collect()
    assert told == []
    assert reasons == {"closed", "refused"}  # before and after it failed


async def test_closing_in_the_moment_of_connecting(any_server: Server) -> None:
    """A connection that is made in the very turn in which nobody wants it any more is closed, too."""
    before = await connections(any_server)
    dialing = asyncio.ensure_future(dial(UrlDialer(any_server.url, RedisOptions())))
    ours = asyncio.all_tasks()
    await asyncio.sleep(0)
    (attempt,) = asyncio.all_tasks() - ours
    attempt.add_done_callback(lambda _: dialing.cancel())  # behind the callback that wakes up whoever dials
    with pytest.raises(asyncio.CancelledError):
        await dialing
    assert attempt.exception() is None

    async def gone() -> bool:
        return await connections(any_server) == before

    await until(gone)
