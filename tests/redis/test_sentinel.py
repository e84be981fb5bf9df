"""Behind Sentinels: the new primary is found whatever happens to the old one, and to a Sentinel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cachecore.contract import Alive, BackendError, Lost, OptionsError
from cachecore.testing.groups import SERVICE, SentinelGroup, ask
from cachecore_redis import RedisBackend, SentinelBackend, from_url
from cachecore_redis.wire.address import split_hosts
from tests.redis.conftest import SERVERS
from tests.redis.waiting import LoopTime, until, until_it_works


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    """A group for each test: waiting until one is ready for the next failover takes longer than starting one."""
    with SentinelGroup(SERVERS[max(SERVERS)], down_after_ms=400) as group:
        yield group


class Prober:
    """Writes and reads all the time; knows when it last failed, what was wrong, and which errors were not transient."""

    def __init__(self, backend: RedisBackend, time: LoopTime) -> None:
        self.backend = backend
        self.time = time
        self.lasting = 0
        self.last_failure = 0.0
        self.slowest = 0.0
        self.wrong = 0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        number = 0
        while True:
            number += 1
            started = self.time.seconds
            try:
                await self.backend.set_many({"probe": b"%d" % number}, ttl=60)
                self.wrong += await self.backend.get_many(["probe"]) != [b"%d" % number]
            except BackendError as error:
                self.lasting += not error.transient
                self.last_failure = self.time.seconds
            self.slowest = max(self.slowest, self.time.seconds - started)
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def promoted(group: SentinelGroup, old: object) -> None:
    """Wait until the Sentinels name another primary."""
    await until(lambda: asyncio.to_thread(lambda: group.primary() is not old), within=30)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_failover(group: SentinelGroup, fault: str) -> None:
    """The primary dies or freezes: the new one is used within a second of its promotion."""
    backend = from_url(group.url)
    assert isinstance(backend, SentinelBackend)
    await backend.set_many({"kept": b"v"}, ttl=600)
    old = group.primary()
    with LoopTime() as time:
        prober = Prober(backend, time)
        await asyncio.sleep(0.1)
        if fault == "kill":
            old.kill()
        else:
            old.pause()
        await promoted(group, old)
        moment = time.seconds
        await until_it_works(lambda: backend.set_many({"after": b"v"}, ttl=600))
        back = time.seconds - moment
        await asyncio.sleep(0.3)
        await prober.stop()
    assert back < 1.0
    assert prober.last_failure < moment + 1.0
    assert prober.slowest < 2.0
    assert (prober.wrong, prober.lasting) == (0, 0)
    if fault == "kill":
        old.start()
    else:
        old.resume()
    await asyncio.sleep(0.2)
    assert await backend.get_many(["after"]) == [b"v"]
    await backend.aclose()


async def test_planned_failover_with_a_feed(group: SentinelGroup) -> None:
    """An operator moves the primary: the feed says Lost, then Alive, and tells of changes on the new one."""
    backend, writer = from_url(group.url), from_url(group.url)
    await backend.set_many({"p:k": b"v"}, ttl=600)
    old = group.primary()
    stream = backend.feed("p:")
    while not isinstance(await anext(stream), Alive):
        pass
    await until(
        lambda: asyncio.to_thread(lambda: ask(group.sentinels[0], "SENTINEL", "FAILOVER", SERVICE) == "OK"), within=20
    )
    while not isinstance(await anext(stream), Lost):
        pass
    await promoted(group, old)
    await until_it_works(lambda: writer.set_many({"p:k": b"w"}, ttl=600))
    while not isinstance(await anext(stream), Alive):
        pass
    await until_it_works(lambda: writer.set_many({"p:new": b"w"}, ttl=600))
    while "p:new" not in getattr(await anext(stream), "keys", ()):
        pass
    await stream.aclose()  # type: ignore[attr-defined] # an async generator
    await backend.aclose()
    await writer.aclose()


async def test_dead_and_frozen_sentinels_cost_nothing(group: SentinelGroup) -> None:
    """One Sentinel is frozen and the first of the URL does not exist: connecting is as quick as ever."""
    host = "redis+sentinel://127.0.0.1:1,"
    with group.sentinels[0].paused():
        backend = from_url(group.url.replace("redis+sentinel://", host))
        with LoopTime() as time:
            await backend.get_many(["k"])
            assert time.seconds < 0.5
        await backend.aclose()


async def test_no_sentinel_answers() -> None:
    """Without Sentinels the store is refused, transiently."""
    backend = from_url("redis+sentinel://127.0.0.1:1,127.0.0.1:2/main")
    with pytest.raises(BackendError) as failed:
        await backend.get_many(["k"])
    assert (failed.value.reason, failed.value.transient) == ("refused", True)
    assert repr(backend) == "SentinelBackend(service main of 2 Sentinels)"
    await backend.aclose()


def test_urls() -> None:
    """Hosts without ports, IPv6 and users are understood; a URL without a service or host is wrong."""
    url, hosts = split_hosts("redis+sentinel://u:p%40@a,b:5,[::1]:6/main/2", 26379)
    assert hosts == [("a", 26379), ("b", 5), ("::1", 6)]
    assert url == "redis+sentinel://u:p%40@a:26379/main/2"
    for wrong in ("redis+sentinel://host:1", "redis+sentinel:///main", "redis+sentinel://a:b/main"):
        with pytest.raises(OptionsError):
            from_url(wrong)
