"""A guarded server behind a network that fails: every call ends, and the server is used again once it can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore.testing.proxy import Proxy
from tests.faults.guarded_redis import guarded
from tests.unit.store.guarded import until


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    port = urlsplit(redis_url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


FAULTS: dict[str, Callable[[Proxy], None]] = {
    "blackhole": Proxy.blackhole,
    "refused": Proxy.refuse,
    "late": lambda proxy: proxy.slow(0.6, jitter=0.1),  # later than any read waits: `backend_timeout_max`
    "trickling": lambda proxy: proxy.slow(bytes_per_second=10),
    "cut": lambda proxy: proxy.cut(after_bytes=2),
    "cut at once": lambda proxy: proxy.cut(after_bytes=0),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_calls_end_while_the_network_is_ill_and_succeed_when_it_is_well(
    proxy: Proxy, fault: Callable[[Proxy], None]
) -> None:
    """Every answer is right or an error of the store; an open breaker keeps all but a few calls from the driver."""
    async with guarded(proxy.url) as made:
        fault(proxy)
        await made.opened()
        made.store.calls.clear()
        for i in range(300):
            answer = await made.ask([f"k{i % 50}"])
            assert answer == [b"%d" % (i % 50)] or isinstance(answer, BackendError)
        # What reached the driver are probes, at most one in each back-off of 75 ms and more; the rest was refused.
        refused = made.seen.errors.count(("get_many", "breaker_open"))
        assert refused >= 290
        assert len(made.store.calls) <= 10
        proxy.heal()
        await made.well()
        assert await made.insist([f"k{i}" for i in range(50)]) == [b"%d" % i for i in range(50)]
        assert made.state == "closed"


async def test_connections_that_the_network_forgot_are_replaced(proxy: Proxy) -> None:
    """Half-open connections look well and are silent for ever; nobody waits on them twice."""
    async with guarded(proxy.url) as made:
        for _ in range(3):
            proxy.lose()
            assert await made.insist(["k7"]) == [b"7"]


async def test_reset_connections_cost_a_call_at_most(proxy: Proxy) -> None:
    async with guarded(proxy.url) as made:
        for _ in range(5):
            proxy.reset()
            assert await made.insist(["k7"]) == [b"7"]


async def test_many_callers_of_a_silent_server_all_end(proxy: Proxy) -> None:
    """Calls already under way when the network fails end at their own deadlines; nothing is left waiting."""
    async with guarded(proxy.url) as made:
        proxy.blackhole()
        answers = await asyncio.gather(*(made.ask([f"k{i % 50}"]) for i in range(500)))
        assert all(isinstance(answer, BackendTimeout | BackendUnavailable) for answer in answers)
        await made.opened()
        await until(lambda: made.guard.under_way == 0)
        proxy.heal()
        await made.well()
        values = await asyncio.gather(*(made.insist([f"k{i % 50}"]) for i in range(500)))
        assert values == [[b"%d" % (i % 50)] for i in range(500)]


async def test_writes_into_a_silent_network_are_errors_and_the_guard_recovers(proxy: Proxy) -> None:
    async with guarded(proxy.url) as made:
        proxy.blackhole()
        for call in (
            made.guard.set_many({"k1": b"new"}, ttl=None),
            made.guard.delete_many(["k2"]),
            made.guard.swap("k3", b"3", b"new", ttl=None),
            made.guard.set_many({"k4": b"new"}, ttl=None),
        ):
            with pytest.raises(BackendError):
                await call
        assert made.state == "open"
        proxy.heal()
        await made.well()
        await made.until_done(lambda: made.guard.swap("k5", b"5", b"new", ttl=None))
        assert await made.insist(["k5"]) == [b"new"]


class PlainRedis:
    """A third party's backend on redis-py as it comes, without timeouts of its own."""

    def __init__(self, url: str) -> None:
        self.client = Redis.from_url(url, socket_timeout=None)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        try:
            values = await self.client.mget(keys)
        except (RedisError, OSError) as error:
            raise BackendUnavailable("get_many", reason="refused") from error
        return [value for value in values if not isinstance(value, str)]  # never text: responses are not decoded

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        await self.client.mset(items)

    async def delete_many(self, keys: Sequence[str]) -> int:
        return int(await self.client.delete(*keys))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        raise BackendError("swap", transient=False)

    async def aclose(self) -> None:
        await self.client.aclose()


async def test_driver_of_a_third_party_may_hang_as_it_likes(proxy: Proxy) -> None:
    """redis-py without timeouts waits for ever, and on Python 3.11 it swallows cancellations; its callers do not."""
    async with guarded(proxy.url, PlainRedis(proxy.url)) as made:
        proxy.blackhole()
        for _ in range(3):
            assert isinstance(await made.ask(["k1"]), BackendTimeout)
        assert made.state == "open"
        proxy.heal()
        await made.well()
        assert await made.insist(["k1"]) == [b"1"]
