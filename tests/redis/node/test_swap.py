"""Compare and swap on every kind of server, and as a user who may do little."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis import Redis

from cachecore.contract import BackendError
from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from cachecore_redis.node.swap import _DELETE, _DELETES, _WRITE, _WRITES, methods
from cachecore_redis.wire.commands import pack
from tests.redis.versions import in_one_command, needs

User = Callable[[str], Awaitable[str]]


@pytest.fixture
async def user(own_server: Server) -> AsyncIterator[User]:
    """Makes an ACL user from rules and returns its URL."""
    admin = RedisBackend(own_server.url)

    async def make(rules: str) -> str:
        words = ("ACL", "SETUSER", "app", "reset", "on", ">pw", *rules.split())
        assert await admin._nodes.get("test").ask("test", pack(words)) == b"OK"
        return own_server.url.replace("://", "://app:pw@")

    yield make
    await admin.aclose()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(url)
    try:
        yield backend
    finally:
        await backend.aclose()


async def counters(backend: RedisBackend) -> None:
    """Many tasks increase one number by swapping: none gets lost, by any method."""
    await backend.set_many({"n": b"0"}, ttl=60)
    chance = random.Random(3)

    async def increase() -> None:
        while True:
            (value,) = await backend.get_many(["n"])
            assert value is not None
            await asyncio.sleep(0 if chance.random() < 0.5 else 0.001)
            if await backend.swap("n", value, b"%d" % (int(value) + 1), ttl=60):
                return

    await asyncio.gather(*(increase() for _ in range(30)))
    assert await backend.get_many(["n"]) == [b"30"]
    deleted = await asyncio.gather(*(backend.swap("n", b"30", None, ttl=None) for _ in range(10)))
    assert sum(deleted) == 1
    assert await backend.get_many(["n"]) == [None]


async def test_best_method_of_the_server(own_server: Server) -> None:
    """Valkey 9 and Redis 8.4 swap in one command, those before by a cached script."""
    async with opened(own_server.url) as backend:
        await counters(backend)
        connection = backend._nodes.get("test").main.current
        assert connection is not None
        assert methods(connection) == in_one_command(own_server, "script")


async def test_user_without_scripts_and_dangerous_commands(own_server: Server, user: User) -> None:
    """Everything works for a user who may neither run scripts nor ask for INFO, ROLE or CONFIG."""
    needs(own_server, 7, "rules that leave an ordinary user CLIENT TRACKING")
    async with opened(await user("+@all -@scripting -@dangerous ~* &*")) as backend:
        await counters(backend)
        connection = backend._nodes.get("test").main.current
        assert connection is not None
        assert methods(connection) == in_one_command(own_server, "watch")
        stream = backend.feed("k")
        events = [await anext(stream), await anext(stream)]
        assert type(events[-1]).__name__ == "Alive"
        await backend.set_many({"k1": b"v"}, ttl=60)
        assert [page async for page in backend.scan("k")] == [["k1"]]
        assert await backend.time() > 1_600_000_000
        await backend.aclose()


@pytest.mark.parametrize("method", ["script", "watch"])
async def test_each_method_keeps_count(own_server: Server, method: str) -> None:
    """The methods of older servers, noted here as learned, keep count on every server, too."""
    async with opened(own_server.url) as backend:
        await backend.get_many(["k"])
        connection = backend._nodes.get("test").main.current
        assert connection is not None
        connection.notes.update({_WRITES: _WRITE.index(method), _DELETES: _DELETE.index(method)})
        await counters(backend)
        assert methods(connection) == (method, method)


async def test_cancelled_watch_spoils_nothing(own_server: Server) -> None:
    """A swap by WATCH, noted as learned, that is cancelled between its two steps does not make a later one fail."""
    async with opened(own_server.url) as backend:
        await backend.set_many({"a": b"1", "b": b"1"}, ttl=60)
        connection = backend._nodes.get("test").main.current
        assert connection is not None
        connection.notes[_WRITES] = _WRITE.index("watch")
        for steps in range(1, 12):
            task = asyncio.ensure_future(backend.swap("a", b"none", b"2", ttl=60))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await backend.set_many({"a": b"1"}, ttl=60)  # what the cancelled one watched
            assert await backend.swap("b", b"1", b"1", ttl=60)


async def test_user_who_may_not_write(user: User) -> None:
    """A command that is forbidden is `auth`, and asking again will not help."""
    async with opened(await user("+@all -set -@scripting ~*")) as backend:
        with pytest.raises(BackendError) as failed:
            await backend.swap("k", None, b"new", ttl=60)
        assert (failed.value.reason, failed.value.transient) == ("auth", False)
        with pytest.raises(BackendError) as failed:
            await backend.set_many({"k": b"v"}, ttl=60)
        assert (failed.value.reason, failed.value.transient) == ("auth", False)
        assert await backend.get_many(["k"]) == [None]


@pytest.mark.parametrize("method", ["script", "watch"])
@pytest.mark.parametrize("new", [b"new", None])
async def test_server_that_refuses_a_swap_says_why(own_server: Server, method: str, new: bytes | None) -> None:
    """In any step of each method, noted as learned: a full one takes no value, one that became a replica nothing."""
    async with opened(own_server.url) as backend:
        await backend.set_many({"k": b"old"}, ttl=None)
        node = backend._nodes.get("test")
        connection = node.main.current
        assert connection is not None
        connection.notes.update({_WRITES: _WRITE.index(method), _DELETES: _DELETE.index(method)})
        assert await node.ask("test", pack(("CONFIG", "SET", "maxmemory", "1"))) == b"OK"
        if new is None and method == "script":  # within MULTI a full server refuses deletions, too
            assert await backend.swap("k", b"old", None, ttl=None)
        elif new is not None:
            with pytest.raises(BackendError) as failed:
                await backend.swap("k", b"old", new, ttl=60)
            assert (failed.value.reason, failed.value.transient) == ("full", False)
            assert await backend.get_many(["k"]) == [b"old"]
        assert await node.ask("test", pack(("CONFIG", "SET", "maxmemory", "0"))) == b"OK"
        await backend.set_many({"k": b"old"}, ttl=None)
        assert await node.ask("test", pack(("REPLICAOF", "127.0.0.1", "1"))) == b"OK"
        with pytest.raises(BackendError) as failed:
            await backend.swap("k", b"old", new, ttl=60)
        assert (failed.value.reason, failed.value.transient) == ("readonly", True)


async def test_answer_begins_its_own_count_of_uses_where_the_policy_is_by_frequency(own_server: Server) -> None:
    """As a value that is set anew does; what replaces a claim is not taken for what was asked for twice."""
    with Redis.from_url(own_server.url) as server:
        server.config_set("maxmemory-policy", "allkeys-lfu", "lfu-decay-time", 0)
        async with opened(own_server.url) as backend:
            assert await backend.swap("k", None, b"claim", ttl=60)
            assert await backend.swap("k", b"claim", b"again", ttl=60)
            assert server.object("freq", "k") > 5  # renewed, so in use
            assert await backend.swap("k", b"again", b"answer", ttl=60)
            server.set("plain", b"answer")
            assert server.object("freq", "k") == server.object("freq", "plain")
            assert not await backend.swap("k", b"claim", b"another", ttl=60)
            assert await backend.get_many(["k"]) == [b"answer"]
            assert 0 < server.pttl("k") <= 60_000


async def test_user_without_scripts_swaps_in_one_command_by_frequency_too(own_server: Server, user: User) -> None:
    """The count of uses is of less worth than a second round trip."""
    needs(own_server, 7, "rules that leave an ordinary user CLIENT TRACKING")
    with Redis.from_url(own_server.url) as server:
        server.config_set("maxmemory-policy", "allkeys-lfu")
    async with opened(await user("+@all -@scripting -@dangerous ~* &*")) as backend:
        await counters(backend)
        connection = backend._nodes.get("test").main.current
        assert connection is not None
        assert methods(connection) == in_one_command(own_server, "watch")
