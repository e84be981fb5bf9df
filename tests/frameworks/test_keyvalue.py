"""py-key-value on cachecore: what its store tests ask of every store, and FastMCP's caching middleware."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("key_value.aio", reason="py-key-value is not installed: make frameworks")

from key_value.aio.errors import InvalidTTLError, SerializationError
from key_value.aio.protocols.key_value import (
    AsyncDestroyCollectionProtocol,
    AsyncDestroyStoreProtocol,
    AsyncKeyValue,
)

from cachecore import Cache
from cachecore.serializers import EncryptedSerializer
from cachecore_frameworks.keyvalue import CacheCoreStore
from tests.frameworks.conftest import bytes_in

ODD_NAMES = ["", " ", "a/b:c", "ä€😀", "a" * 300, "line\nbreak", "\\", "..", "%00", "S_abc"]


@pytest.fixture
async def kept(store: str) -> AsyncIterator[CacheCoreStore]:
    async with Cache(store, ttl=60, prefix=f"t{time.monotonic_ns()}") as cache:
        yield CacheCoreStore(cache)


async def test_it_is_a_store(kept: CacheCoreStore) -> None:
    for protocol in (AsyncKeyValue, AsyncDestroyStoreProtocol, AsyncDestroyCollectionProtocol):
        assert isinstance(kept, protocol)


async def test_put_get_delete(kept: CacheCoreStore) -> None:
    assert await kept.get("k", collection="c") is None
    await kept.put("k", {"a": 1}, collection="c")
    await kept.put("k", {"a": {"b": [None, True, 1.5, "ä"]}}, collection="c")
    assert await kept.get("k", collection="c") == {"a": {"b": [None, True, 1.5, "ä"]}}
    assert await kept.get("k", collection="d") is None
    assert await kept.get("k") is None
    assert await kept.delete("k", collection="c")
    assert not await kept.delete("k", collection="c")
    await kept.put("k", {}, collection="c")
    assert await kept.get("k", collection="c") == {}


async def test_many(kept: CacheCoreStore) -> None:
    await kept.put_many(["a", "b"], [{"v": 1}, {"v": 2}], collection="c", ttl=60)
    assert await kept.get_many(["b", "x", "a", "b"], collection="c") == [{"v": 2}, None, {"v": 1}, {"v": 2}]
    (value, left), missing = await kept.ttl_many(["a", "x"], collection="c")
    assert value == {"v": 1}
    assert left == pytest.approx(60, abs=5)
    assert missing == (None, None)
    assert await kept.delete_many(["a", "b", "x"], collection="c") == 2
    assert await kept.get_many([], collection="c") == []


async def test_times_to_live(kept: CacheCoreStore) -> None:
    await kept.put("forever", {"v": 1})
    assert await kept.ttl("forever") == ({"v": 1}, None)
    assert await kept.ttl("missing") == (None, None)
    await kept.put("k", {"v": 1}, ttl=100)
    assert (await kept.ttl("k"))[1] == pytest.approx(100, abs=5)
    for wrong in (-1, "soon"):
        with pytest.raises((InvalidTTLError, TypeError)):
            await kept.put("k", {"v": 1}, ttl=wrong)
    await kept.put("short", {"v": 1}, ttl=0.3)
    async with asyncio.timeout(60):
        while await kept.get("short") is not None:  # noqa: ASYNC110 - the store's clock sets no event
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: hashlib.sha256(name.encode()).hexdigest()[:6])
async def test_any_text_is_a_key_and_a_collection(name: str) -> None:
    async with Cache("memory://", ttl=60) as cache:
        kept = CacheCoreStore(cache)
        await kept.put(name, {"v": 1}, collection=name or None)
        assert await kept.get(name, collection=name or None) == {"v": 1}
        assert await kept.get(name + "x", collection=name or None) is None


async def test_what_is_no_json_is_refused(kept: CacheCoreStore) -> None:
    for value in ({"v": object()}, {"v": b"a"}, {1: 2}):
        with pytest.raises((SerializationError, TypeError)):
            await kept.put("k", value)
    assert await kept.get("k") is None


async def test_collections_and_stores_are_destroyed_apart(kept: CacheCoreStore) -> None:
    for collection in ("a", "b"):
        await kept.put("k", {"v": collection}, collection=collection)
    assert await kept.destroy_collection("a")
    assert await kept.get("k", collection="a") is None
    assert await kept.get("k", collection="b") == {"v": "b"}
    await kept.put("k", {"v": "new"}, collection="a")
    assert await kept.get("k", collection="a") == {"v": "new"}
    assert await kept.destroy()
    assert await kept.get("k", collection="b") is None


async def test_values_are_copies_and_calls_may_cross(kept: CacheCoreStore) -> None:
    await kept.put("k", {"v": [1]})
    first = await kept.get("k")
    assert first is not None
    first["v"].append(2)
    assert await kept.get("k") == {"v": [1]}
    await asyncio.gather(*(kept.put(str(number), {"v": number}) for number in range(20)))
    assert await kept.get_many([str(number) for number in range(20)]) == [{"v": number} for number in range(20)]


async def test_a_cache_that_encrypts_encrypts_here_too(tmp_path: Path) -> None:
    serializer = EncryptedSerializer(keys={"k": bytes(32)})
    async with Cache(f"sqlite:///{tmp_path}/c.db", ttl=60, serializer=serializer) as cache:
        kept = CacheCoreStore(cache)
        await kept.put("k", {"secret": "hush " * 9})
        assert await kept.get("k") == {"secret": "hush " * 9}
    assert b"hush" not in bytes_in(tmp_path)


async def test_fastmcp_runs_a_tool_once(store: str) -> None:
    fastmcp = pytest.importorskip("fastmcp", reason="FastMCP is not installed: make frameworks")
    from fastmcp.server.middleware.caching import ResponseCachingMiddleware

    runs: list[int] = []
    async with Cache(store, ttl=60, prefix=f"t{time.monotonic_ns()}") as cache:
        server: Any = fastmcp.FastMCP("s", middleware=[ResponseCachingMiddleware(cache_storage=CacheCoreStore(cache))])

        @server.tool
        def double(number: int) -> dict[str, int]:
            runs.append(number)
            return {"doubled": 2 * number}

        async with fastmcp.Client(server) as client:
            asked = [await client.call_tool("double", {"number": 2}) for _ in range(3)]
            assert [answer.structured_content for answer in asked] == [{"doubled": 4}] * 3
            assert [tool.name for tool in await client.list_tools()] == ["double"]
            assert runs == [2]
            await client.call_tool("double", {"number": 3})
            assert runs == [2, 3]
