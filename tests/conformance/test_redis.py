"""The Redis backend keeps the contract: on each server, over each kind of connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from operator import attrgetter
from pathlib import Path

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from cachecore.contract import CacheBackend, SupportsLinks
from cachecore.testing import groups, servers
from cachecore.testing.conformance import CHECKS, Check
from cachecore_redis import RedisBackend, from_url

each_check = pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))


class RedisHarness:
    """A backend on a real server, whose clock only time itself moves."""

    ttl_rounding = 0.0

    def __init__(self, backend: CacheBackend) -> None:
        self.backend = backend

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@asynccontextmanager
async def opened(backend: CacheBackend) -> AsyncIterator[RedisHarness]:
    if isinstance(backend, SupportsLinks):
        backend.limit_waits(connect=20, silence=20)  # a reply may be late on a busy machine
    try:
        yield RedisHarness(backend)
    finally:
        await backend.aclose()


class Secure:
    """A server with a password that speaks TLS, too."""

    def __init__(self, server: servers.Server, authority: Path, port: int) -> None:
        self.url = server.url.replace("://", "://:pass%2Fword@")
        self.unix_url = f"unix://little:pw@{server.socket_path}?db=1"
        self.tls_url = f"rediss://:pass%2Fword@127.0.0.1:{port}/2?ssl_ca_certs={authority}"


@pytest.fixture(scope="module")
def secure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    made = servers.Certificates(tmp_path_factory.mktemp("certificates"))
    port = servers.free_port()
    for program in servers.installed().values():
        if not servers.speaks_tls(program):
            continue
        with servers.Server(program, [*made.arguments(port), "--requirepass", "pass/word"]) as server:
            yield Secure(server, made.authority, port)
        return
    pytest.skip("no server here speaks TLS")


@pytest.fixture
def secure(secure_server: Secure) -> Secure:
    with SyncRedis.from_url(secure_server.url) as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "little", "on", ">pw", "~*", "+@all", "-@scripting", "-@dangerous")
    return secure_server


@pytest.fixture(scope="module")
def cluster_servers() -> Iterator[groups.Cluster]:
    # None of its nodes fails here; a second without word is no failure on a busy machine.
    with groups.Cluster(servers.installed()[max(servers.installed())], timeout_ms=20_000) as cluster:
        yield cluster


@pytest.fixture
def cluster(cluster_servers: groups.Cluster) -> groups.Cluster:
    for primary in cluster_servers.nodes[:3]:
        assert groups.ask(primary, "FLUSHALL") == "OK"
    return cluster_servers


@each_check
async def test_backend_keeps_the_contract(check: Check, redis_url: str) -> None:
    async with opened(RedisBackend(redis_url)) as harness:
        await check(harness)


@each_check
async def test_user_without_scripts_and_dangerous_commands_on_a_unix_socket(check: Check, secure: Secure) -> None:
    async with opened(RedisBackend(secure.unix_url)) as harness:
        await check(harness)


@each_check
async def test_backend_over_tls_keeps_the_contract(check: Check, secure: Secure) -> None:
    async with opened(RedisBackend(secure.tls_url)) as harness:
        await check(harness)


@each_check
async def test_backend_on_the_callers_client_keeps_the_contract(check: Check, secure: Secure) -> None:
    async with Redis.from_url(secure.url) as client, opened(RedisBackend.from_client(client)) as harness:
        await check(harness)


@each_check
async def test_backend_on_a_cluster_keeps_the_contract(check: Check, cluster: groups.Cluster) -> None:
    async with opened(from_url(cluster.url)) as harness:
        await check(harness)
