"""Deleting on servers whose operator has switched UNLINK off: with DEL, in every place that deletes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.asyncio import Redis

from cachecore import Cache
from cachecore.contract import BackendError, CacheBackend
from cachecore.testing.groups import Cluster, ask
from cachecore.testing.servers import Server
from cachecore_redis import ClusterBackend, RedisBackend
from tests.redis.conftest import SERVERS


@pytest.fixture(params=sorted(SERVERS, reverse=True))
def without_unlink(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(SERVERS[request.param], ["--rename-command", "UNLINK", ""]) as server:
        yield server


async def check_deletes(backend: CacheBackend) -> None:
    await backend.set_many({f"k{n}": b"v" for n in range(100)}, ttl=60)
    assert await backend.delete_many([f"k{n}" for n in range(150)]) == 100
    await backend.set_many({"k": b"v"}, ttl=60)
    assert not await backend.swap("k", b"other", None, ttl=None)
    assert await backend.swap("k", b"v", None, ttl=None)
    assert await backend.get_many(["k", "k1"]) == [None, None]


async def test_one_server(without_unlink: Server) -> None:
    backend = RedisBackend(without_unlink.url)
    await check_deletes(backend)
    await backend.aclose()


async def test_the_callers_own_client(without_unlink: Server) -> None:
    async with Redis.from_url(without_unlink.url) as client:
        await check_deletes(RedisBackend.from_client(client))


async def test_a_cluster_whose_user_may_not_unlink(calm: Cluster) -> None:
    for node in calm.nodes:
        assert ask(node, "ACL", "SETUSER", "default", "-unlink") == "OK"
    backend = ClusterBackend(calm.url)
    await check_deletes(backend)
    await backend.aclose()


async def test_a_cache_invalidates(without_unlink: Server) -> None:
    async with Cache[int](without_unlink.url, ttl=60, l1_max_entries=0) as cache:
        await cache.scoped("faq").set("q", 1, tags=["t"])
        await cache.invalidate_tags("t")
        assert await cache.scoped("faq").get("q") is None
        await cache.scoped("faq").set("q", 1)
        assert await cache.invalidate_prefix("faq") == 1


async def test_who_may_not_delete_at_all_is_told_so(without_unlink: Server) -> None:
    with redis.Redis.from_url(without_unlink.url) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-del")
    backend = RedisBackend(without_unlink.url)
    with pytest.raises(BackendError) as refused:
        await backend.delete_many(["k"])
    assert (refused.value.reason, refused.value.transient) == ("auth", False)
    await backend.aclose()
