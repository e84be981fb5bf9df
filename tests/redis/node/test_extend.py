"""Lives are lengthened and never shortened, by each method: PEXPIRE GT, a script, or no end at all."""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest
import redis
from redis.asyncio import Redis

from cachecore import Cache
from cachecore.contract import SupportsExtend
from cachecore.testing.groups import Cluster
from cachecore.testing.servers import Server
from cachecore_redis import ClusterBackend, RedisBackend
from cachecore_redis.node import extend

UNKNOWN = b"*1\r\n$9\r\nNOTHEREYO\r\n"


class Client(Protocol):
    """What the checks use of redis-py."""

    def set(self, name: str, value: bytes, *, px: int | None = ...) -> object: ...
    def hset(self, name: str, key: str, value: str) -> object: ...
    def pttl(self, name: str) -> int: ...


@pytest.fixture(params=extend.METHODS)
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The best method that the server has: commands of those before it are unknown to it."""
    wanted: str = request.param
    known, order = extend.commands_for, extend.METHODS

    def commands_for(method: str, key: str, value: bytes, px: int | None) -> list[bytes]:
        made = known(method, key, value, px)
        return made if order.index(method) >= order.index(wanted) else [UNKNOWN] * len(made)

    monkeypatch.setattr(extend, "commands_for", commands_for)
    return wanted


async def check_extend(backend: SupportsExtend, client: Client, method: str) -> None:
    """Extend values with each kind of end, and keys that have another value, another type, or are not there."""
    for key, px in (("short", 5_000), ("long", 500_000), ("ever", None)):
        client.set(key, b"v", px=px)
    client.set("other", b"theirs", px=5_000)
    client.hset("hash", "field", "value")
    keys = ("short", "long", "ever", "other", "hash", "gone")
    assert await backend.extend(dict.fromkeys(keys, b"v"), ttl=50) == [True, True, True, False, False, False]
    short, long, ever = (int(client.pttl(key)) for key in ("short", "long", "ever"))
    if method == "swap":
        assert (short, long, ever) == (-1, -1, -1)
    else:
        assert 40_000 < short <= 50_000 < 400_000 < long <= 500_000
        assert ever == -1
    assert await backend.extend({"short": b"v"}, ttl=None) == [True]
    assert (client.pttl("short"), client.pttl("gone")) == (-1, -2)


async def test_lives_on_one_server(own_server: Server, method: str) -> None:
    backend = RedisBackend(own_server.url)
    with redis.Redis.from_url(own_server.url) as client:
        await check_extend(backend, client, method)
    await backend.aclose()


async def test_lives_in_a_cluster(calm: Cluster, method: str) -> None:
    backend = ClusterBackend(calm.url)
    client = redis.RedisCluster.from_url(f"redis://127.0.0.1:{calm.nodes[0].port}")
    await check_extend(backend, client, method)
    client.close()
    await backend.aclose()


async def test_lives_over_the_callers_own_client(own_server: Server) -> None:
    async with Redis.from_url(own_server.url) as given:
        with redis.Redis.from_url(own_server.url) as client:
            await check_extend(RedisBackend.from_client(given), client, "gt")


async def test_user_without_any_of_it_still_has_a_cache(own_server: Server) -> None:
    """Who may neither set an end nor run scripts gets hits all the same, and stamps that stay."""
    with redis.Redis.from_url(own_server.url) as admin:
        admin.execute_command(
            *["ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "+@all", "-pexpire", "-persist", "-@scripting"]
        )
        url = own_server.url.replace("://", "://app:pw@")
        async with Cache[int](url, ttl=1, l1_max_entries=0) as one:
            await one.scoped("faq").set("q", 1)
        async with Cache[int](url, ttl=60, l1_max_entries=0) as two:
            await two.scoped("faq").set("q", 2)
            assert await two.scoped("faq").get_or_set("other", lambda: asyncio.sleep(0, 3)) == 3
            assert await two.scoped("faq").get_many(["q", "other"]) == {"q": 2, "other": 3}
            assert two.stats.not_stored == {}
        assert admin.pttl("cc:s:n%2Ffaq") == -1


async def test_two_thousand_sessions_leave_no_key(own_server: Server) -> None:
    """Each `scoped()` namespace has a stamp, which ends soon after its answers; the root's and the mark stay."""
    with redis.Redis.from_url(own_server.url) as client:
        async with Cache[int](own_server.url, ttl=30) as cache:
            await asyncio.gather(*(cache.scoped(f"session-{n}").set("q", n) for n in range(2_000)))
            assert client.dbsize() > 4_000
            lasting = {key for key in client.scan_iter(count=1000) if client.pttl(key) == -1}
            assert lasting == {b"cc:s:n", b"cc.m:"}
            longest = max(client.pttl(key) for key in client.scan_iter(count=1000))
            assert longest <= 2 * 31_000  # an entry is kept a second longer than it is served
