"""What is acknowledged last is what stays, whichever connection it took."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cachecore import Cache
from cachecore.testing.groups import Cluster
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server
from cachecore_redis import ClusterBackend, RedisBackend, from_url
from tests.redis.opening import opened
from tests.redis.waiting import until, until_it_works

LARGE = b"x" * 1_000_000
UPLINK = 2_500_000
"""Bytes a second: a large value is on its way for 0.4 s, and its connection is given up before."""


@pytest.fixture
def link(any_server: Server) -> Iterator[Proxy]:
    """A network between the test and `any_server`."""
    with Proxy(any_server.port) as proxy:
        yield proxy


def unanswered(backend: RedisBackend) -> int:
    return len(backend._nodes.get("test")._write_order)


def _nothing_unanswered(backend: RedisBackend) -> bool:
    return unanswered(backend) == 0


async def given_up(backend: RedisBackend, link: Proxy) -> None:
    """Begin a large write of `k` over a slow link, and give it up when it has been sent."""
    await backend.set_many({"k": b"y" * 70_000, "other": b"small"}, ttl=60)
    link.throttle(UPLINK)
    writing = asyncio.ensure_future(backend.set_many({"k": LARGE}, ttl=60))
    await until(lambda: unanswered(backend) == 1)
    writing.cancel()
    await asyncio.wait([writing])
    assert writing.cancelled()
    assert unanswered(backend) == 1


async def test_deletion_comes_after_a_large_write_that_was_given_up(any_server: Server, link: Proxy) -> None:
    async with opened(link.url) as backend, opened(any_server.url) as other:
        await given_up(backend, link)
        assert await backend.delete_many(["k"]) == 1
        assert unanswered(backend) == 0
        assert await other.get_many(["k", "other"]) == [None, b"small"]


async def test_small_write_comes_after_a_large_one_that_was_given_up(any_server: Server, link: Proxy) -> None:
    async with opened(link.url) as backend, opened(any_server.url) as other:
        await given_up(backend, link)
        await backend.set_many({"k": b"new", "another": b"too"}, ttl=60)
        assert unanswered(backend) == 0
        assert await other.get_many(["k", "another"]) == [b"new", b"too"]


async def test_swap_comes_after_a_large_write_that_was_given_up(any_server: Server, link: Proxy) -> None:
    async with opened(link.url) as backend, opened(any_server.url) as other:
        await given_up(backend, link)
        assert not await backend.swap("k", b"y" * 10, b"new", ttl=60)  # compared with the value of the unanswered write
        assert unanswered(backend) == 0
        assert await other.get_many(["k"]) == [LARGE]


async def test_writes_of_other_keys_wait_for_nothing(link: Proxy) -> None:
    async with opened(link.url) as backend:
        await given_up(backend, link)
        await backend.set_many({"other": b"new"}, ttl=60)
        assert await backend.delete_many(["other"]) == 1
        assert unanswered(backend) == 1


async def test_lost_connection_leaves_nothing_on_its_way(link: Proxy) -> None:
    async with opened(link.url) as backend:
        await given_up(backend, link)
        link.reset()
        await until(lambda: unanswered(backend) == 0)
        link.heal()
        await backend.set_many({"k": b"new"}, ttl=60)
        assert await backend.get_many(["k"]) == [b"new"]


async def test_small_writes_that_are_much_together_leave_the_connection_to_others(link: Proxy) -> None:
    async with opened(link.url) as backend:
        node = backend._nodes.get("test")
        await backend.set_many({f"k{i}": b"v" * 1000 for i in range(1000)}, ttl=60)
        assert node.bulk.current is None
        await backend.set_many({f"k{i}": b"v" * 60_000 for i in range(100)}, ttl=60)
        assert node.bulk.current is not None
        assert await backend.get_many(["k0", "k99", "k999"]) == [b"v" * 60_000, b"v" * 60_000, b"v" * 1000]


async def test_in_a_cluster_too(calm: Cluster) -> None:
    """A node that stood still finds the small write in one connection before all of the large one in the other."""
    backend = from_url(f"{calm.url}?timeout=5")
    assert isinstance(backend, ClusterBackend)
    await backend.set_many({"{0}k": b"y" * 70_000, "{0}other": b"small"}, ttl=60)
    host, port = backend.partition("{0}k").split(":")
    node = backend._clusters.get("test").node((host, int(port)))
    (server,) = (member for member in calm.nodes if member.port == int(port))
    with server.paused():
        writing = asyncio.ensure_future(backend.set_many({"{0}k": LARGE * 5}, ttl=60))
        await until(lambda: len(node._write_order) == 1)
        writing.cancel()
        await asyncio.wait([writing])
        deleting = asyncio.ensure_future(backend.delete_many(["{0}k", "{0}other"]))
        await asyncio.sleep(0)
    assert await deleting == 2
    assert len(node._write_order) == 0
    assert await backend.get_many(["{0}k", "{0}other"]) == [None, None]
    await backend.aclose()


async def test_large_answer_that_was_given_up_never_comes_back(any_server: Server, link: Proxy) -> None:
    """Over a link so slow that a `set` misses its deadline, and what is set or deleted next is acknowledged.

    What was set next may be missed: a deletion that pended for the first `set` may come after it.
    """
    hurried = Cache[str](link.url, ttl=60, write_timeout=0.1)
    async with hurried as cache, Cache[str](any_server.url, ttl=60, l1_max_entries=0) as other:
        for deletes in (False, True):
            await until_it_works(lambda: cache.set("q", "first", required=True))
            link.throttle(UPLINK)
            assert await cache.set("q", "large" * 200_000) is False
            await until_it_works(
                partial(cache.delete, "q") if deletes else partial(cache.set, "q", "small", required=True)
            )
            allowed = (None,) if deletes else (None, "small")
            assert await other.get("q") in allowed
            link.heal()
            guard: Any = cache._engine.backend
            await until(partial(_nothing_unanswered, guard._backend))
            assert await other.get("q") in allowed
            assert await cache.get("q") in allowed
