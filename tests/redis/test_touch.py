"""On a server that evicts by use, what memory answers for counts as used: entry and stamps, on each kind of node."""

from __future__ import annotations

import asyncio

import pytest
import redis

from cachecore import Cache
from cachecore.memory import warmth
from tests.redis.waiting import until


@pytest.mark.parametrize("policy", ["allkeys-lfu", "volatile-lfu"])
async def test_what_memory_answers_for_is_used_in_the_eyes_of_the_server(
    policy: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counter of LFU rises for the entry and its stamps, although only memory is read."""
    monkeypatch.setattr(warmth, "NOTE_SECONDS", 0.05)
    with redis.Redis.from_url(redis_url) as server:
        before = server.config_get("maxmemory-policy", "lfu-decay-time")
        server.config_set("maxmemory-policy", policy, "lfu-decay-time", 0)  # counters rise only
        cache: Cache[int] = Cache(f"{redis_url}?heartbeat=0.02", ttl=60)
        try:
            await cache.set("hot", 1, tags=["t"])
            await cache.set("cold", 1)
            while cache.stats.hits_l1 < 1:
                assert await cache.get("hot") == 1
                await asyncio.sleep(0.01)
            keys = {name: cache.key(name) for name in ("hot", "cold")} | {"root": "cc:s:n", "tag": "cc:s:t%2Ft"}
            began = {name: server.object("freq", key) for name, key in keys.items()}
            from_store = cache.stats.hits_l2

            async def used() -> bool:
                assert await cache.get("hot") == 1
                return all(server.object("freq", keys[name]) > began[name] for name in ("hot", "root", "tag"))

            await until(used)
            assert server.object("freq", keys["cold"]) == began["cold"]
            assert cache.stats.hits_l2 == from_store
        finally:
            await cache.aclose()
            for name, value in before.items():
                server.config_set(name, value)
