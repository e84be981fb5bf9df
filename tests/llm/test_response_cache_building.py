"""How a `ResponseCache` is built: on which stores, whose they stay, and which settings are refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, OptionsError
from cachecore.serializers import EncryptedSerializer
from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm import CacheConfig, CacheMetrics, LLMResponse, ResponseCache

SYSTEM = "You are a helpful assistant."
USER = "What is the capital of France?"
PATIENT: dict[str, Any] = {"backend_timeout": 20}  # a loaded machine is not what is tested here
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


async def test_without_a_store_it_is_built_as_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `Cache()` is: an argument wins over the environment, that over the file, and that over the defaults."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cachecore.toml").write_text(
        f'backend = "sqlite://{tmp_path}/answers.db"\nttl = "2h"\nstale_if_error = "1d"\nprefix = "shop"\n'
    )
    async with ResponseCache(**PATIENT) as cache:
        assert (cache.config.ttl_seconds, cache.config.stale_if_error) == (7200, 86_400)
        await cache.set(SYSTEM, USER, None, ANSWER)
    async with ResponseCache(f"sqlite://{tmp_path}/answers.db", **PATIENT) as cache:  # the file's prefix, here too
        found = await cache.get(SYSTEM, USER)
        assert found is not None
        assert found.content == "Paris."
    monkeypatch.setenv("CACHECORE_TTL", "5m")
    monkeypatch.setenv("CACHECORE_BACKEND", "memory://")
    async with ResponseCache() as cache:
        assert (cache.config.ttl_seconds, cache.config.prefix) == (300, "shop")
        assert await cache.get(SYSTEM, USER) is None
    async with ResponseCache(config=CacheConfig(ttl_seconds=9)) as cache:
        assert (cache.config.ttl_seconds, cache.config.prefix) == (9, "llm:response")
    async with Cache() as shared, ResponseCache(shared) as cache:
        assert cache.config == CacheConfig()
    monkeypatch.setenv("CACHECORE_TTL", "soon")
    with pytest.raises(OptionsError, match=r"CACHECORE_TTL.*soon"):
        ResponseCache("memory://")


def test_without_any_store_the_error_names_the_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in [one for one in os.environ if one.startswith("CACHECORE_")]:
        monkeypatch.delenv(variable)
    with pytest.raises(OptionsError, match=r"ResponseCache\('redis://.*CACHECORE_BACKEND.*cachecore\.toml"):
        ResponseCache()


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
        {"similar_max_chars": "5"},
        {"similar_threshold": "0.5"},
        {"enabled": "false"},
        {"similar_shadow": 5},
        {"field_digests": "no"},
        {"similar": "no"},
        {"prefix": 5},
        {"ignore": "user"},
        {"allowed_tools": "code_interpreter"},
        {"admit": "stop"},
    ],
)
def test_wrong_settings_fail_while_building(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        CacheConfig(**wrong)


async def test_a_serializer_that_encrypts() -> None:
    """Given as an object, to the cache of answers itself: what lies in the store cannot be read."""
    store = MemoryBackend()
    async with ResponseCache(store, serializer=EncryptedSerializer(keys={"k1": "ab" * 32})) as cache:
        assert await cache.set(SYSTEM, USER, None, ANSWER)
        found = await cache.get(SYSTEM, USER)
        assert found is not None
        assert found.content == "Paris."
        assert cache.metrics.hits == 1
        keys = [key async for page in store.scan("") for key in page]
        assert keys
        assert not any(b"Paris" in (value or b"") for value in await store.get_many(keys))


def test_the_time_of_a_computation() -> None:
    """900 s where none is given: 600 for the providers, as long as the SDKs wait, and the rest around them."""
    default = CacheConfig()
    assert (default.factory_timeout, default.gives_up_after) == (None, 900)
    default.check_providers(600)
    with pytest.raises(OptionsError, match=r"601 s together.*factory_timeout = 900 s, 600 s of it for them"):
        default.check_providers(601)
    given = replace(CacheConfig(factory_timeout="20m"), enabled=False)
    assert (given.factory_timeout, given.gives_up_after) == (1200, 1200)
    given.check_providers(1199)
    with pytest.raises(OptionsError, match=r"1200 s together.*factory_timeout = 1200 s: give CacheConfig a longer one"):
        given.check_providers(1200)


async def test_the_time_of_a_computation_is_that_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a cache that was given, whose own default is shorter; what the application sets counts."""
    async with Cache("memory://", ttl=60) as shared:
        for config, seconds in [(None, 900), (CacheConfig(), 900), (CacheConfig(factory_timeout=700), 700)]:
            assert ResponseCache(shared, config).flow.root._scope.policy.factory_timeout == seconds
    monkeypatch.setenv("CACHECORE_FACTORY_TIMEOUT", "30")
    async with ResponseCache("memory://") as cache:
        assert cache.flow.root._scope.policy.factory_timeout == 30


def test_defaults() -> None:
    config = CacheConfig()
    assert (config.ttl_seconds, config.prefix, config.enabled) == (86_400, "llm:response", True)
