"""How a `ResponseCache` is built: on which stores, whose they stay, and which settings are refused."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore import Cache, OptionsError
from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm import CacheConfig, CacheMetrics, LLMResponse, ResponseCache

SYSTEM = "You are a helpful assistant."
USER = "What is the capital of France?"
PATIENT: dict[str, Any] = {"backend_timeout": 10}  # a loaded machine is not what is tested here
ANSWER = LLMResponse(content="Paris.", model="m-1", provider="p-1", finish_reason="stop")


async def test_disabled_cache_neither_reads_nor_stores(redis_url: str) -> None:
    async with ResponseCache(redis_url, **PATIENT) as cache:
        await cache.set(SYSTEM, USER, None, ANSWER)
    async with ResponseCache(redis_url, CacheConfig(enabled=False), **PATIENT) as cache:
        assert not await cache.set(SYSTEM, "new?", None, ANSWER)
        assert await cache.get(SYSTEM, USER) is None
        assert cache.metrics == CacheMetrics()


async def test_callers_redis_client_stays_open(redis_url: str) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url) as client:
        async with ResponseCache(client, **PATIENT) as cache:
            await cache.set(SYSTEM, USER, None, ANSWER)
            assert await cache.get(SYSTEM, USER) is not None
        assert await client.ping()


async def test_callers_backend_stays_open() -> None:
    backend = MemoryBackend()
    async with ResponseCache(backend) as cache:
        await cache.set(SYSTEM, USER, None, ANSWER)
    assert await backend.get_many(["k"]) == [None]  # a closed one would raise


async def test_callers_cache_stays_open_and_keeps_what_is_its_own() -> None:
    shared: Cache[Any] = Cache("memory://", ttl=60)
    async with shared:
        await shared.set("mine", 1)
        async with ResponseCache(shared) as cache:
            await cache.set(SYSTEM, USER, None, ANSWER)
            assert await cache.invalidate_all() == 1
        assert await shared.get("mine") == 1


async def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(OptionsError, match="not int"):
        ResponseCache(42)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl_seconds": 0},
        {"ttl_seconds": -1},
        {"prefix": ""},
        {"stale_if_error": -1},
        {"fallback_ttl": float("nan")},
        {"similar_threshold": 0},
        {"similar_max_chars": -1},
    ],
)
def test_wrong_settings_fail_while_building(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        CacheConfig(**wrong)


def test_defaults() -> None:
    config = CacheConfig()
    assert (config.ttl_seconds, config.prefix, config.enabled) == (86_400, "llm:response", True)
