"""E1-E3: a server that is full and evicts: nothing old comes back, one call for each key, hits as plain values."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import pytest
from redis.asyncio import Redis

from cachecore import Cache
from cachecore.contract.errors import InvalidationPending
from cachecore.memory import warmth
from cachecore.testing.servers import Server
from tests.conftest import SERVERS, Record
from tests.faults.callers import PATIENT, sizes, until
from tests.faults.reliability import scaled

EVICTING = (
    *("allkeys-lru", "allkeys-lfu", "allkeys-random"),
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
)
POLICIES = (*EVICTING, "noeviction")
BY_USE = ("allkeys-lru", "allkeys-lfu", "volatile-lru", "volatile-lfu", "volatile-ttl")
MIB = 1024 * 1024
CHURNED_BYTES = 2000


@pytest.fixture(scope="module")
def evicting_server() -> Iterator[Server]:
    with Server(SERVERS[max(SERVERS)]) as server:
        yield server


async def emptied(client: Redis) -> int:
    """Empty the server; return the bytes that it takes then."""
    await client.execute_command("FLUSHALL", "SYNC")  # type: ignore[no-untyped-call]
    while (memory := await client.info("memory"))["lazyfree_pending_objects"]:  # noqa: ASYNC110 - it tells nothing by itself
        await asyncio.sleep(0.01)
    return int(memory["used_memory"])


async def limited(server: Server, policy: str, limit: int) -> None:
    """Empty the server, and let it hold `limit` bytes more than it takes then."""
    async with Redis.from_url(server.url) as client:
        await client.config_set("maxmemory", 0)
        used = await emptied(client)
        await client.config_set("maxmemory-policy", policy)
        await client.config_set("maxmemory", used + limit)
        await client.config_resetstat()


async def evicted(client: Redis) -> int:
    return int((await client.info("stats"))["evicted_keys"])


@contextlib.asynccontextmanager
async def churned(client: Redis, *, idle: int = 0) -> AsyncIterator[None]:
    """Other traffic on a server that is full of it: about 1,000 answers a second, each with an hour to live.

    The answers that fill the server have not been used for `idle` seconds, by its own clock, before the traffic begins.
    """
    written = 0

    async def idletime(key: str) -> int:
        return int(await client.object("idletime", key) or 0)

    async def write(count: int) -> bool:
        nonlocal written
        pipe = client.pipeline(transaction=False)
        for _ in range(count):
            pipe.set(f"x:{written}", bytes(CHURNED_BYTES), ex=3600)
            written += 1
        return all(reply is True for reply in await pipe.execute(raise_on_error=False))

    over = asyncio.Event()  # not a cancellation: redis-py swallows those on Python 3.11

    async def churn() -> None:
        while not over.is_set():
            await write(50)
            await asyncio.sleep(0.05)

    while await write(500) and not await evicted(client):
        pass
    while idle and await idletime(f"x:{written - 1}") < idle:  # noqa: ASYNC110 - the server tells nothing by itself
        await asyncio.sleep(0.05)
    task = asyncio.create_task(churn())
    try:
        yield
    finally:
        over.set()
        await task


async def change(cache: Cache[Any], how: str, number: int) -> None:
    """Make the answer to a request wrong, and say so to the cache."""
    with contextlib.suppress(InvalidationPending):  # a full server that evicts nothing has no room for a new value
        if how == "delete":
            await cache.delete({how: number})
        elif how == "set":
            await cache.set({how: number}, "new")
        else:
            await cache.invalidate_tags(f"{how}:{number}")


@pytest.mark.parametrize("policy", POLICIES)
@sizes(30, 100)
async def test_e1_nothing_old_comes_back(size: int, policy: str, evicting_server: Server, record: Record) -> None:
    """Computations that began before a change end after the server has evicted what could have told of it."""
    await limited(evicting_server, policy, 8 * MIB)
    client = Redis.from_url(evicting_server.url)
    caches: list[Cache[Any]] = [Cache(evicting_server.url, ttl=3600, **PATIENT) for _ in range(3)]
    computing, changing, reading = caches
    old: dict[str, int] = {}
    started: list[str] = []

    async def compute(how: str, ended: asyncio.Event) -> str:
        started.append(how)
        await ended.wait()
        return "old"

    async def all_started(how: str) -> None:
        await until(lambda: started.count(how) == size, 60)

    async def much_evicted() -> None:
        before = await evicted(client)
        while await evicted(client) < before + 10 * size:  # noqa: ASYNC110 - the server tells nothing by itself
            await asyncio.sleep(0.05)

    try:
        await asyncio.gather(*(cache.get("first") for cache in caches))
        async with churned(client):
            for how in ("delete", "set", "invalidate_tags"):
                ended = asyncio.Event()
                running = [
                    asyncio.create_task(
                        computing.get_or_set({how: number}, partial(compute, how, ended), tags=[f"{how}:{number}"])
                    )
                    for number in range(size)
                ]
                await all_started(how)
                for number in range(size):
                    await change(changing, how, number)
                if policy != "noeviction":
                    await much_evicted()
                ended.set()
                assert await asyncio.gather(*running) == ["old"] * size
                answers = [await reading.get({how: number}) for number in range(size)]
                old[how] = answers.count("old")
    finally:
        for cache in caches:
            await cache.aclose()
        await client.aclose()
    assert old == {"delete": 0, "set": 0, "invalidate_tags": 0}
    record(f"E1 {policy}", "0 old after each", met=True, size=f"3 × {size} computations")


@pytest.mark.parametrize("policy", POLICIES)
@sizes(30, 100)
async def test_e2_one_call_for_each_key(size: int, policy: str, evicting_server: Server, record: Record) -> None:
    """Three caches ask for the same keys at once, and computing takes a second: a claim evicted costs a call.

    The claims are used later than the other keys, and expire no earlier: a policy can tell what is worth more.
    """
    await limited(evicting_server, policy, 8 * MIB)
    client = Redis.from_url(evicting_server.url)
    caches: list[Cache[Any]] = [Cache(evicting_server.url, ttl=3600, jitter=0, **PATIENT) for _ in range(3)]
    calls = 0

    async def compute() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(1)
        return calls

    try:
        await asyncio.gather(*(cache.get("first") for cache in caches))
        async with churned(client, idle=2 if policy.endswith("lru") else 0):
            asked = (cache.get_or_set({"lease": number}, compute) for number in range(size) for cache in caches)
            await asyncio.gather(*asked)
    finally:
        for cache in caches:
            await cache.aclose()
        await client.aclose()
    if policy.endswith("lfu"):  # a new key is worth as much as any other
        assert calls <= 2 * size
    elif policy.endswith("random"):  # the stamp of the root may go, and then nothing is stored
        assert calls <= 3 * size
    elif policy != "noeviction":
        assert calls == size
    record(f"E2 {policy}", f"{calls} calls", met=calls == size, size=f"{size} keys in 3 caches")


def zipf(keys: int, requests: int, exponent: float = 0.9) -> list[int]:
    """Return requests for keys by Zipf's law, the same in every run."""
    weights = list(accumulate(1 / rank**exponent for rank in range(1, keys + 1)))
    return random.Random(5).choices(range(keys), cum_weights=weights, k=requests)


def text_of(number: int) -> str:
    """Return the answer to a request: 500 to 4,000 characters."""
    return f"{number:>{500 + number * 7919 % 3501}}"


async def plain_hits(client: Redis, batches: Sequence[Sequence[int]]) -> int:
    """Return how many requests GET answers, with SETEX after a miss; keys as long as the cache's."""
    hits = 0
    for batch in batches:
        keys = {f"cc:e::{number:064}": number for number in batch}
        values = await client.mget(list(keys))
        hits += sum(value is not None for value in values)
        pipe = client.pipeline(transaction=False)
        for (key, number), value in zip(keys.items(), values, strict=True):
            if value is None:
                pipe.set(key, text_of(number), ex=3600)
        await pipe.execute()
    return hits


async def cached_hits(cache: Cache[Any], batches: Sequence[Sequence[int]]) -> int:
    """Return how many requests the cache answers without computing."""

    async def answer(number: int) -> str:
        return text_of(number)

    before = cache.stats.hits
    for batch in batches:
        await asyncio.gather(*(cache.get_or_set({"q": n}, partial(answer, n)) for n in batch))
    return cache.stats.hits - before


@pytest.mark.soak
@pytest.mark.parametrize("policy", EVICTING)
@pytest.mark.parametrize("size", [scaled(200_000)])
async def test_e3_as_many_hits_as_plain_values(
    size: int, policy: str, evicting_server: Server, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hottest answers are read from memory, and their stamps from its table; the server keeps them all the same.

    Only at full size: the clock by which a server tells uses apart counts seconds, and a short run lasts a few of them.
    """
    keys = size // 5
    # Here the server forgets in seconds what others keep for hours, so memory speaks up more often than there.
    monkeypatch.setattr(warmth, "NOTE_SECONDS", 0.2)
    trace = zipf(keys, size)
    batches = [list(dict.fromkeys(trace[at : at + 32])) for at in range(0, size, 32)]
    requests = sum(map(len, batches))
    limit = keys * 2370 // 4
    url = f"{evicting_server.url}?heartbeat=0.05"
    # Both are connected all the time: the server counts the buffers of connections as used memory.
    async with (
        Redis.from_url(evicting_server.url) as client,
        Cache[Any](url, ttl=3600, l1_max_entries=keys // 20, **PATIENT) as cache,
    ):
        await client.config_set("maxmemory-policy", policy)  # learned from a connection's first swap
        await cached_hits(cache, batches[:20])
        await limited(evicting_server, policy, limit)
        plain = await plain_hits(client, batches)
        assert await evicted(client) > 0
        await emptied(client)
        cached = await cached_hits(cache, batches)
        from_memory = cache.stats.hits_l1
    behind = 100 * (plain - cached) / requests
    text = f"{100 * cached / requests:.1f} % beside {100 * plain / requests:.1f} %"
    record(f"E3 {policy}", text, met=behind <= 1, size=f"{requests:,} requests, {from_memory / requests:.0%} in memory")
    if policy in BY_USE:
        assert behind <= 1
