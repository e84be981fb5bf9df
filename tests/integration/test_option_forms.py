"""One form of a duration, of a size and of a setting, wherever it is given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, Computed, OptionsError, SyncCache
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing import FakeClock
from cachecore_llm import CacheConfig, LLMResponse, ResponseCache
from cachecore_redis import RedisBackend
from cachecore_sqlite.options import SQLiteOptions

HOUR = [3600, 3600.0, timedelta(hours=1), "1h", "60m", "3600"]
Duration = float | timedelta | str


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def answer() -> int:
    return 42


def of_cache(ttl: Any, clock: FakeClock) -> Cache[Any]:
    return Cache("memory://", ttl=ttl, clock=clock, jitter=0)


WAYS: dict[str, Callable[[Any, FakeClock], Any]] = {
    "Cache": lambda ttl, clock: _life(of_cache(ttl, clock)),
    "from_config": lambda ttl, clock: _life(
        Cache.from_config({"backend": "memory://", "jitter": 0}, ttl=ttl, clock=clock)
    ),
    "scoped": lambda ttl, clock: _life(of_cache(5, clock).scoped("view", ttl=ttl)),
    "get_or_set": lambda ttl, clock: _life(of_cache(5, clock), ttl=ttl),
    "Computed": lambda ttl, clock: _computed(of_cache(5, clock), ttl),
    "set": lambda ttl, clock: _set(of_cache(5, clock), ttl),
    "set_many": lambda ttl, clock: _set_many(of_cache(5, clock), ttl),
    "refresh": lambda ttl, clock: _refreshed(of_cache(5, clock), ttl),
    "cached": lambda ttl, clock: _cached(of_cache(5, clock), ttl),
    "stale windows": lambda ttl, clock: _stale(Cache("memory://", ttl=1, stale_if_error=ttl, clock=clock, jitter=0)),
}


async def _fresh_for(cache: Cache[Any], request: Any = "q") -> float | None:
    return (await cache.lookup(request)).fresh_for


async def _life(cache: Cache[Any], **options: Any) -> float | None:
    await cache.get_or_set("q", answer, **options)
    return await _fresh_for(cache)


async def _computed(cache: Cache[Any], ttl: Any) -> float | None:
    async def factory() -> Computed[int]:
        return Computed(42, ttl=ttl)

    await cache.get_or_set("q", factory)
    return await _fresh_for(cache)


async def _set(cache: Cache[Any], ttl: Any) -> float | None:
    await cache.set("q", 1, ttl=ttl)
    return await _fresh_for(cache)


async def _set_many(cache: Cache[Any], ttl: Any) -> float | None:
    await cache.set_many({"q": 1}, ttl=ttl)
    return await _fresh_for(cache)


async def _refreshed(cache: Cache[Any], ttl: Any) -> float | None:
    await cache.refresh("q", answer, ttl=ttl)
    return await _fresh_for(cache)


async def _cached(cache: Cache[Any], ttl: Any) -> float | None:
    asked = cache.cached(answer) if ttl is None else cache.cached(ttl=ttl)(answer)
    await asked()
    return (await asked.lookup()).fresh_for


async def _stale(cache: Cache[Any]) -> float | None:
    return cache._scope.policy.stale_if_error


@pytest.mark.parametrize("hour", HOUR, ids=repr)
@pytest.mark.parametrize("way", WAYS)
async def test_an_hour_is_an_hour_in_every_form(way: str, hour: Duration, clock: FakeClock) -> None:
    assert await WAYS[way](hour, clock) == pytest.approx(3600)


@pytest.mark.parametrize("way", ["Cache", "from_config", "scoped", "get_or_set", "Computed", "set", "refresh"])
async def test_for_ever_is_a_text_too(way: str, clock: FakeClock) -> None:
    assert await WAYS[way]("forever", clock) is None


@pytest.mark.parametrize("hour", HOUR, ids=repr)
async def test_the_llm_cache_takes_the_same_and_keeps_the_answer(hour: Any) -> None:
    """A timedelta was taken, and lost every good answer of a second provider."""
    config = CacheConfig(
        ttl_seconds=hour, stale_if_error=hour, stale_while_revalidate=hour, fallback_ttl=hour, factory_timeout=hour
    )
    assert (config.ttl_seconds, config.stale_if_error, config.fallback_ttl) == (3600.0, 3600.0, 3600.0)
    async with ResponseCache("memory://", config, l1_max_bytes="1MiB", l1_max_age="2s") as cache:
        good = LLMResponse(content="Paris.", model="m", finish_reason="stop", fallback=True)
        assert await cache.set("Be brief.", "capital?", None, good)
        assert await cache.get("Be brief.", "capital?") is not None


def test_sizes_are_text_or_bytes_everywhere() -> None:
    for size in (1 << 26, "64MiB", "65536 KiB", "67108864"):
        cache = Cache(MemoryBackend(max_bytes=size), ttl=60, max_value_bytes=size, l1_max_bytes=size)
        assert cache._engine.store.max_value_bytes == 1 << 26
        assert SQLiteOptions(max_bytes=size).max_bytes == 1 << 26  # type: ignore[arg-type]  # turned into bytes
        assert RedisBackend("redis://h", bulk_bytes=size).options.bulk_bytes == 1 << 26
    assert SQLiteOptions(timeout="40ms").timeout == 0.04  # type: ignore[arg-type]  # turned into seconds
    assert RedisBackend("redis://h", timeout="300ms", heartbeat=timedelta(seconds=1)).options.timeout == 0.3


def test_what_is_not_given_comes_from_the_environment_then_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionsError, match=r"no backend .* CACHECORE_BACKEND"):
        Cache()
    with pytest.raises(OptionsError, match=r"no ttl .* CACHECORE_TTL"):
        Cache("memory://")
    (tmp_path / "cachecore.toml").write_text(
        'backend = "sqlite:///file.db"\nttl = "1h"\nnamespace = "file"\njitter = 0.5'
    )
    monkeypatch.setenv("CACHECORE_NAMESPACE", "variable")
    monkeypatch.setenv("CACHECORE_TTL", "2h")
    for made in (Cache(), SyncCache()._cache, Cache.from_config()):
        assert "file.db" in repr(made)
        assert "variable" in repr(made)
        assert (made._scope.policy.ttl, made._scope.policy.jitter) == (7200.0, 0.5)
    given = Cache("memory://", ttl="3h", namespace="argument", jitter=0.1)
    assert "MemoryBackend" in repr(given)
    assert "argument" in repr(given)
    assert (given._scope.policy.ttl, given._scope.policy.jitter) == (10_800.0, 0.1)
    monkeypatch.setenv("CACHECORE_TTTL", "2h")
    with pytest.raises(OptionsError, match=r"CACHECORE_TTTL: no setting is called 'tttl'; did you mean 'ttl'"):
        Cache("memory://", ttl=5)


def test_a_configured_serializer_takes_the_type_of_values_as_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHECORE_SERIALIZER", "compressed+msgpack")
    assert Cache("memory://", ttl=5)._scope.serializer.name == "zstd+msgpack"
    assert Cache("memory://", ttl=5, value_type=LLMResponse)._scope.serializer.name.startswith("zstd+typed")
    assert Cache("memory://", ttl=5, serializer="json")._scope.serializer.name == "json"


def test_files_of_others_are_none_of_our_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("this is [no TOML")
    monkeypatch.chdir(tmp_path)
    Cache("memory://", ttl=5)
    (tmp_path / "cachecore.toml").write_text("ttl = [no TOML")
    with pytest.raises(OptionsError, match=r"cachecore\.toml cannot be read"):
        Cache("memory://", ttl=5)


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for ttl in (1, 20, 300):
        (tmp_path / "cachecore.toml").write_text(f"ttl = {ttl}")
        assert Cache("memory://")._scope.policy.ttl == ttl


def test_a_sync_face_of_a_cache_takes_no_options_of_its_own() -> None:
    with pytest.raises(OptionsError, match=r"takes no ttl: give it to the Cache, or to cache\.scoped"):
        SyncCache(Cache("memory://", ttl=60), ttl=5)  # type: ignore[call-overload]  # the point of the test
