"""A cache that is asked after it was closed: computations go on, with one warning; writes say that it is closed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, CacheError, SyncCache
from cachecore_sqlite import SQLiteBackend


async def say() -> str:
    return "v"


@pytest.fixture(params=["memory", "sqlite", "backend of the caller"])
async def closed(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cache[Any]]:
    own = SQLiteBackend(tmp_path / "own.db")
    at: Any = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/cache.db"}.get(request.param, own)
    cache: Cache[Any] = Cache(at, ttl=60)
    await cache.set("stored", "s")
    await cache.aclose()
    yield cache
    await own.aclose()


async def test_computations_go_on_with_one_warning(closed: Cache[Any], caplog: pytest.LogCaptureFixture) -> None:
    @closed.cached(namespace="f")
    async def function(number: int) -> int:
        return number

    with caplog.at_level(logging.WARNING):
        assert await closed.get_or_set("stored", say) == "v"
        assert await closed.get_or_set("q", say) == "v"
        assert (await closed.lookup("q", say)).outcome == "computed"
        assert await closed.refresh("q", say) == "v"
        assert await function(3) == 3
        assert await closed.get("stored", "default") == "default"
    (said,) = [record.getMessage() for record in caplog.records]
    assert "asked after it was closed" in said
    assert "computed and not stored" in said


WRITES: dict[str, Callable[[Cache[Any]], Awaitable[Any]]] = {
    "set": lambda cache: cache.set("q", 1),
    "set_many": lambda cache: cache.set_many({"q": 1}),
    "delete_many": lambda cache: cache.delete("q"),
    "expire": lambda cache: cache.expire("q"),
    "invalidate_tags": lambda cache: cache.invalidate_tags("t"),
    "invalidate_prefix": lambda cache: cache.invalidate_prefix("n"),
    "invalidate_all": lambda cache: cache.invalidate_all(),
    "claim": lambda cache: cache.claim("q")._taken(),
}


@pytest.mark.parametrize("name", WRITES)
async def test_explicit_call_says_that_the_cache_is_closed(closed: Cache[Any], name: str) -> None:
    with pytest.raises(CacheError, match=rf"^{name} was called after the cache was closed: .* make another one"):
        await WRITES[name](closed)


@pytest.fixture
def sync() -> Iterator[SyncCache[Any]]:
    cache: SyncCache[Any] = SyncCache("memory://", ttl=60)
    cache.set("stored", "s")
    cache.close()
    yield cache
    cache.close()


def test_computations_of_the_synchronous_face_go_on(sync: SyncCache[Any], caplog: pytest.LogCaptureFixture) -> None:
    assert sync.get_or_set("stored", lambda: "v") == "v"
    assert sync.lookup("q", lambda: "v").value == "v"
    with pytest.raises(CacheError, match="set was called after the cache was closed"):
        sync.set("q", 1)
    assert len(caplog.records) == 1
