"""Servers that come back, are full, became replicas; and large values beside small ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract import BackendError, BackendUnavailable
from cachecore.encoding.entry import TOMBSTONE_BYTES
from cachecore.testing.groups import ask
from cachecore.testing.servers import Server, free_port
from cachecore_redis import RedisBackend
from cachecore_redis.wire.commands import pack
from tests.faults.callers import PATIENT
from tests.redis.opening import counted, opened
from tests.redis.waiting import until, until_it_works


async def test_server_that_comes_back(own_server: Server) -> None:
    """After a crash and a restart the backend works again within a second, without being told."""
    async with opened(own_server.url) as backend:
        await backend.set_many({"k": b"v"}, ttl=60)
        own_server.kill()
        with pytest.raises(BackendUnavailable):
            await backend.get_many(["k"])
            await backend.get_many(["k"])
        own_server.start()
        assert await until_it_works(lambda: backend.get_many(["k"])) < 1.5
        assert await backend.get_many(["k"]) == [None]


async def test_server_that_appears_later() -> None:
    """A backend that was used before its server existed attaches when it appears."""
    from tests.redis.conftest import SERVERS

    port = free_port()
    async with opened(f"redis://127.0.0.1:{port}/0") as backend:
        with pytest.raises(BackendUnavailable):
            await backend.get_many(["k"])
        with Server(SERVERS[max(SERVERS)], port=port):
            assert await until_it_works(lambda: backend.get_many(["k"])) < 1.0


async def test_full_server(own_server: Server) -> None:
    """OOM is `full` and not transient; reads and deletions go on."""
    own_server.arguments = ["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]
    own_server.kill()
    own_server.start()
    async with opened(own_server.url) as backend:
        with pytest.raises(BackendError) as failed:
            for i in range(100):
                await backend.set_many({f"k{i}": b"x" * 100_000}, ttl=60)
        assert (failed.value.reason, failed.value.transient) == ("full", False)
        with pytest.raises(BackendError) as failed:
            await backend.swap("new", None, b"x" * 100_000, ttl=60)
        assert failed.value.reason == "full"
        assert (await backend.get_many(["k0"]))[0] == b"x" * 100_000
        assert await backend.delete_many(["k0"]) == 1


async def test_read_only_server(own_server: Server) -> None:
    """A replica refuses writes as `readonly`, transient, without a storm of connections; reads work."""
    async with opened(own_server.url) as backend:
        await backend.set_many({"k": b"v"}, ttl=60)
        node = backend._nodes.get("test")
        await node.ask("test", pack(("REPLICAOF", "127.0.0.1", str(free_port()))))
        with counted(backend) as dialer:
            started = time.monotonic()
            while time.monotonic() < started + 1.3 or not dialer.made:
                with pytest.raises(BackendError) as failed:
                    await backend.set_many({"k": b"w"}, ttl=60)
                assert (failed.value.reason, failed.value.transient) == ("readonly", True)
                await asyncio.sleep(0.005)
            # Every second it looks whether the address leads elsewhere by now.
            assert dialer.made <= time.monotonic() - started
        assert await backend.get_many(["k"]) == [b"v"]
        await node.ask("test", pack(("REPLICAOF", "NO", "ONE")))
        await backend.set_many({"k": b"w"}, ttl=60)


async def test_key_of_another_type(redis_url: str) -> None:
    """A list under our key reads as missing, alone or among others; the first write replaces it."""
    async with opened(redis_url) as backend:
        node = backend._nodes.get("test")
        await node.ask("test", pack(("LPUSH", "k", "x")))
        assert await backend.get_many(["k"]) == [None]
        assert await backend.get_many(["k", "none"]) == [None, None]
        assert not await backend.swap("k", b"old", b"new", ttl=60)
        await backend.set_many({"k": b"v"}, ttl=60)
        assert await backend.get_many(["k"]) == [b"v"]


async def test_large_values_have_a_connection_of_their_own(any_server: Server) -> None:
    """While forty-eight megabytes travel, small reads are not behind them."""
    large = [f"large{number}" for number in range(6)]
    async with opened(any_server.url, bulk_bytes=100_000) as backend:
        for key in ("large", *large):
            await backend.set_many({key: b"x" * 8_000_000, "small": b"v"}, ttl=60)
        node = backend._nodes.get("test")
        assert node.bulk.current is not None
        assert await backend.get_many(["small", "large", "none"]) == [b"v", b"x" * 8_000_000, None]
        loads = [asyncio.ensure_future(backend.get_many([key])) for key in large]
        await asyncio.sleep(0)
        assert await backend.get_many(["small"]) == [b"v"]
        assert not all(load.done() for load in loads)
        assert [len(value or b"") for (value,) in await asyncio.gather(*loads)] == [8_000_000] * 6
        await backend.set_many({"large": b"little"}, ttl=60)
        assert "large" not in backend._large.keys


async def test_large_value_written_by_others_is_found_out(any_server: Server) -> None:
    """A value that turned out large when read takes the other connection from then on."""
    async with opened(any_server.url) as writer, opened(any_server.url) as reader:
        await writer.set_many({"large": b"x" * 100_000}, ttl=60)
        assert reader._nodes.get("test").bulk.current is None
        for _ in range(2):
            assert await reader.get_many(["large"]) == [b"x" * 100_000]
        assert reader._nodes.get("test").bulk.current is not None


async def test_several_connection(any_server: Server) -> None:
    """`connections=3` spreads calls over three connections."""
    async with opened(any_server.url, connections=3) as backend:
        for i in range(9):
            await backend.set_many({f"k{i}": b"%d" % i}, ttl=60)
            assert await backend.get_many([f"k{i}"]) == [b"%d" % i]
        assert [connection.current is not None for connection in backend._nodes.get("test").connections] == [True] * 3


@asynccontextmanager
async def filled(server: Server) -> AsyncIterator[tuple[Cache[Any], Cache[Any], RedisBackend]]:
    """Two processes and a look at the store itself, with answers to 0…99 in it."""
    options: dict[str, Any] = {"ttl": 600, "stale_if_error": 600, "l1_max_entries": 0, **PATIENT}
    async with (
        opened(server.url) as store,
        Cache[Any](server.url, **options) as one,
        Cache[Any](server.url, **options) as two,
    ):
        await one.set_many(dict.fromkeys(range(100), "old"))
        yield one, two, store


def limit(server: Server, most: str) -> None:
    """Let the server have so much memory; "1": it is full, whatever is deleted."""
    assert ask(server, "CONFIG", "SET", "maxmemory-policy", "noeviction") == "OK"
    assert ask(server, "CONFIG", "SET", "maxmemory", most) == "OK"


async def entry(store: RedisBackend, cache: Cache[Any], number: int) -> bytes | None:
    return (await store.get_many([cache.key(number)]))[0]


async def test_full_server_deletes_what_it_is_asked_to(own_server: Server) -> None:
    """At once and for everybody, though it takes no tombstones; those are delivered as soon as there is room."""
    async with filled(own_server) as (one, two, store):
        limit(own_server, "1")
        assert await one.delete(0) is True
        assert await one.delete_many([*range(1, 60), "never there"]) == 59
        assert await one.expire(60) is True  # deleted, since it cannot be marked
        for number in range(61):
            assert await entry(store, one, number) is None
        assert await two.get_many(range(100)) == dict.fromkeys(range(61, 100), "old")
        assert await one.get_many(range(100)) == dict.fromkeys(range(61, 100), "old")
        assert one.stats.pending == 62
        assert one.stats.invalidated == {"delete": 61, "expire": 1}
        limit(own_server, "0")
        await until(lambda: one.stats.pending == 0)
        assert len(await entry(store, one, 0) or b"") == TOMBSTONE_BYTES
        assert await two.get_many(range(100)) == dict.fromkeys(range(61, 100), "old")


async def test_deletion_makes_room_for_its_tombstone(own_server: Server) -> None:
    """Where the deleted answers were large, nothing is left to be done later."""
    async with filled(own_server) as (one, _, store):
        limit(own_server, "8mb")
        numbers = range(1000, 2000)
        for number in numbers:
            if not await one.set(number, "x" * 100_000):
                break
        with pytest.raises(BackendError) as refused:  # what is left is too little for a tombstone, too
            for small in numbers:
                await store.set_many({f"small:{small}": b"x" * 200}, ttl=600)
        assert refused.value.reason == "full"
        assert await one.delete_many(numbers[:2]) == 2
        for deleted in numbers[:2]:
            assert len(await entry(store, one, deleted) or b"") == TOMBSTONE_BYTES


async def test_full_server_loses_the_value_that_a_set_did_not_replace(own_server: Server) -> None:
    """At once, not when there is room: nobody is served the old value of what was set."""
    async with filled(own_server) as (one, two, store):
        seen = await one.lookup(2)
        limit(own_server, "1")
        assert await one.set(0, "new") is False
        assert not any(await one.set_many({1: "new", 3: "new"}))
        assert await one.set(2, "new", since=seen) is False
        for number in range(4):
            assert await entry(store, one, number) is None
            assert await two.get(number) is None
        assert one.stats.pending == 4
        limit(own_server, "0")
        await until(lambda: one.stats.pending == 0)
        await one.set(0, "new")
        assert await two.get(0) == "new"


async def test_what_began_before_a_deletion_on_a_full_server_does_not_stay(own_server: Server) -> None:
    """A computation of another process lands when there is room again, and is deleted as soon as there is."""
    began, go = asyncio.Event(), asyncio.Event()

    async def factory() -> str:
        began.set()
        await go.wait()
        return "old"

    async with filled(own_server) as (one, two, store):
        computing = asyncio.ensure_future(two.get_or_set(1000, factory))
        await began.wait()
        limit(own_server, "1")
        assert await one.delete(1000) is False
        limit(own_server, "0")
        go.set()
        assert await computing == "old"
        await until(lambda: one.stats.pending == 0)
        assert len(await entry(store, one, 1000) or b"") == TOMBSTONE_BYTES
        assert await two.get(1000) is None
