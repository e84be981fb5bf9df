"""A bad network between us and the server: whatever happens to the bytes, nobody gets a wrong value."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest

from cachecore.contract import Alive, BackendError, Changed, Flushed, Lost
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from cachecore_redis.wire.reconnecting import Backoff
from tests.redis.versions import needs
from tests.redis.waiting import LoopTime, until, until_it_works


class Hurried(random.Random):
    """Chance that makes the waits between two attempts to connect a hundredth of what they are."""

    def uniform(self, a: float, b: float) -> float:
        return super().uniform(a, b) / 100


def hurried(url: str) -> RedisBackend:
    """A backend that is cut off as often as any other, and connects again as often, but sooner.

    Its back-off is replaced: the promise is right answers or errors after any cut, however long the waits.
    """
    backend = RedisBackend(url)
    backend._backoff = Backoff(Hurried(7))
    return backend


@pytest.fixture
async def direct(any_server: Server) -> AsyncIterator[RedisBackend]:
    """A backend past the proxy."""
    backend = RedisBackend(any_server.url)
    yield backend
    await backend.aclose()


async def test_connections_cut_in_the_middle_of_replies(any_server: Server, direct: RedisBackend) -> None:
    """Forty cuts at random places: every answer is right or an error, and the next call works again."""
    chance = random.Random(5)
    values = {f"k{i}": b"%d:" % i * chance.randrange(1, 2000) for i in range(50)}
    await direct.set_many(values, ttl=600)
    answered = failed = 0
    with Proxy(any_server.port) as proxy:
        backend = hurried(proxy.url)
        for _ in range(40):
            proxy.cut(chance.randrange(1, 100_000))
            asked = [chance.sample(sorted(values), chance.randrange(1, 6)) for _ in range(10)]
            outcomes = await asyncio.gather(*(backend.get_many(keys) for keys in asked), return_exceptions=True)
            proxy.heal()
            for keys, outcome in zip(asked, outcomes, strict=True):
                if isinstance(outcome, BackendError):
                    assert outcome.transient
                    failed += 1
                else:
                    assert outcome == [values[key] for key in keys]
                    answered += 1
            await until_it_works(lambda: backend.get_many(["k0"]))
        await backend.aclose()
    assert answered > 40
    assert failed > 40


async def test_writes_cut_off_happen_once_or_not_at_all(any_server: Server, direct: RedisBackend) -> None:
    """A number increased by swapping while connections are cut: never more than was answered or left open."""
    chance = random.Random(6)
    await direct.set_many({"n": b"0"}, ttl=600)
    sure = unsure = 0
    with Proxy(any_server.port) as proxy:
        backend = hurried(proxy.url)
        for _ in range(60):
            proxy.cut(chance.randrange(1, 16))
            try:
                (value,) = await backend.get_many(["n"])
                assert value is not None
                sure += await backend.swap("n", value, b"%d" % (int(value) + 1), ttl=600)
            except BackendError:
                unsure += 1
            proxy.heal()
            await until_it_works(lambda: backend.get_many(["n"]))
            # What an older server says while a connection learns how it swaps is longer than any of the cuts.
            assert not await backend.swap("n", b"none", b"none", ttl=600)
        await backend.aclose()
    (value,) = await direct.get_many(["n"])
    assert value is not None
    assert sure <= int(value) <= sure + unsure
    assert sure > 10
    assert unsure > 10


async def test_silent_network(any_server: Server, direct: RedisBackend) -> None:
    """Bytes vanish without a word: callers wait for one deadline, the feed says Lost, and all is mended after it."""
    with Proxy(any_server.port) as proxy:
        backend = RedisBackend(proxy.url, timeout=0.2, connect_timeout=0.3, heartbeat=0.05)
        await backend.set_many({"p:k": b"v"}, ttl=600)
        stream = backend.feed("p:")
        while not isinstance(await anext(stream), Alive):
            pass
        proxy.blackhole()
        with LoopTime() as waited, pytest.raises(BackendError) as failed:
            await backend.get_many(["p:k"])
        assert failed.value.reason in ("timeout", "reset")
        assert waited.seconds < 1.0
        while not isinstance(await anext(stream), Lost):
            pass
        await direct.set_many({"p:k": b"w"}, ttl=600)
        proxy.heal()
        assert await until_it_works(lambda: backend.get_many(["p:k"])) < 2.0
        assert await backend.get_many(["p:k"]) == [b"w"]
        while not isinstance(await anext(stream), Alive):
            pass
        await direct.set_many({"p:k": b"x"}, ttl=600)
        while not isinstance(await anext(stream), Changed | Flushed):
            pass
        await stream.aclose()  # type: ignore[attr-defined] # an async generator
        await backend.aclose()


async def test_slow_network_is_only_slow(any_server: Server) -> None:
    """With 100 ms for each reply, a thousand calls at once take little longer than one."""
    with Proxy(any_server.port) as proxy:
        backend = RedisBackend(proxy.url)
        await backend.get_many(["k"])
        proxy.slow(0.1)
        with LoopTime() as waited:
            await asyncio.gather(*(backend.set_many({f"k{i}": b"v"}, ttl=60) for i in range(1000)))
        assert waited.seconds < 2.0  # one after the other: 100 s
        assert proxy.connects == 1
        await backend.aclose()


async def test_cancellations_at_random(own_server: Server) -> None:
    """Thousands of calls of every kind, cancelled at any moment: others get their own answers, nothing is left over."""
    chance = random.Random(8)
    backend = RedisBackend(own_server.url)
    await backend.set_many({f"k{i}": b"%d" % i for i in range(100)}, ttl=600)

    async def call(i: int) -> None:
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        key = f"k{i}"
        match i % 5:
            case 0:
                assert await backend.get_many([key, "none"]) == [b"%d" % i, None]
            case 1:
                await backend.set_many({key: b"%d" % i}, ttl=600)
            case 2:
                assert await backend.swap(key, b"%d" % i, b"%d" % i, ttl=600)
            case 3:
                assert await backend.get_many([key]) == [b"%d" % i]
            case _:
                assert not await backend.swap(key, b"other", None, ttl=None)

    cancelled = 0
    for _ in range(100):
        tasks = [asyncio.ensure_future(call(i)) for i in range(100)]
        for task in chance.sample(tasks, 50):
            if chance.random() < 0.1:
                await asyncio.sleep(0)
            cancelled += task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    assert cancelled > 1000
    node = backend._nodes.get("test")
    connection = node.main.current
    assert connection is not None
    await until(lambda: connection.idle)
    assert await backend.get_many([f"k{i}" for i in range(100)]) == [b"%d" % i for i in range(100)]
    await backend.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_server_that_loads_its_data(own_server: Server) -> None:
    """While a server reads its data from disk it is `loading`, transient; then it is used by itself."""
    needs(own_server, 7, "loading slowly")
    backend = RedisBackend(own_server.url)
    for start in range(0, 6000, 2000):
        await backend.set_many({f"k{i}": b"v" * 100 for i in range(start, start + 2000)}, ttl=None)
    own_server.arguments = ["--save", "3600 1000000"]
    node = backend._nodes.get("test")
    from cachecore_redis.wire.commands import pack

    assert await node.ask("test", pack(("SAVE",))) == b"OK"
    own_server.kill()
    own_server.arguments += ["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"]
    own_server.start()
    with pytest.raises(BackendError) as failed:
        await until_loading(backend)
    assert (failed.value.reason, failed.value.transient) == ("loading", True)
    await until_it_works(lambda: backend.get_many(["k7"]), within=30)
    assert await backend.get_many(["k7"]) == [b"v" * 100]
    await backend.aclose()


async def until_loading(backend: RedisBackend) -> None:
    """Read until the server says that it loads; a connection may be refused before that."""
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        try:
            await backend.get_many(["k7"])
        except BackendError as error:
            if error.reason == "loading":
                raise
        await asyncio.sleep(0.01)
