"""The cache on this backend, as the documentation says it is set up."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from cachecore import Cache
from cachecore.testing.groups import Cluster
from cachecore.testing.servers import Server
from cachecore_redis import ClusterBackend, RedisBackend, from_url
from cachecore_redis.wire.commands import pack
from tests.redis.waiting import LoopTime, until

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "redis.md"


async def test_user_of_the_documentation_is_allowed_enough(own_server: Server) -> None:
    """With the documented rules a cache does everything without one reply_error."""
    (line,) = re.findall(r"^    (ACL SETUSER .*)$", DOCUMENT.read_text(), re.MULTILINE)
    admin = RedisBackend(own_server.url)
    assert await admin._nodes.get("test").ask("test", pack(tuple(line.split()))) == b"OK"
    await admin.aclose()
    url = own_server.url.replace("://", "://app:password@")

    async def answer() -> dict[str, int]:
        return {"a": 1}

    options: dict[str, Any] = {"namespace": "faq", "ttl": 60, "backend_timeout": 30}
    async with Cache[Any](url, **options) as cache, Cache[Any](url, **options) as other:
        assert await cache.get_or_set({"q": 1}, answer, tags=["doc:1"]) == {"a": 1}
        await until(lambda: cache.stats.stored == 1)  # an answer is handed out before that
        assert await other.get({"q": 1}) == {"a": 1}
        await other.invalidate_tags("doc:1")
        assert await other.get({"q": 1}) is None
        await until(lambda: cache.peek({"q": 1}) is None)
        assert await cache.get_or_set({"q": 1}, answer) == {"a": 1}
        await cache.delete({"q": 1})
        await cache.set({"q": 2}, {"b": 2})
        assert await other.invalidate_all() == 1  # what deleting left is no entry
        assert not cache.stats.backend_errors
        assert not other.stats.backend_errors


async def test_second_process_sees_changes_through_the_feed(own_server: Server) -> None:
    """What one cache deletes is gone from the memory of another, told by the server and not by age."""
    async with (
        Cache[Any](own_server.url, ttl=600, l1_max_age=60, backend_timeout=30) as one,
        Cache[Any](own_server.url, ttl=600, l1_max_age=60, backend_timeout=30) as two,
    ):
        for i in range(50):
            await one.set({"q": i}, i)
            await until(lambda i=i: _copied(two, i))  # type: ignore[misc] # mypy infers no default of a lambda
            await one.delete({"q": i})
            await until(lambda i=i: two.peek({"q": i}) is None)  # type: ignore[misc] # mypy infers no default of a lambda


async def test_frozen_node_costs_its_own_keys_only(calm: Cluster) -> None:
    """One node of a cluster freezes: every call is answered, and keys of healthy nodes do not wait for it."""
    backend = from_url(calm.url)
    assert isinstance(backend, ClusterBackend)
    async with Cache[Any](backend, ttl=600, l1_max_entries=0, backend_timeout=1) as cache:

        async def answer() -> str:
            return "a"

        for i in range(60):
            await cache.get_or_set({"q": i}, answer)
        victim = calm.nodes[0]
        name = f"127.0.0.1:{victim.port}"
        ill = {i for i in range(60) if backend.partition(cache.key({"q": i})) == name}
        assert 0 < len(ill) < 60
        slowest = 0.0
        with victim.paused(), LoopTime() as time:
            for _ in range(20):
                for i in range(60):
                    started = time.seconds
                    assert await cache.get_or_set({"q": i}, answer) == "a"
                    slowest = max(slowest, 0 if i in ill else time.seconds - started)
                await asyncio.sleep(0.1)
        assert slowest < 0.5  # half of the deadline that a call to the frozen node takes
        assert cache.stats.hits_l2 > 100
    await backend.aclose()


async def _copied(cache: Cache[Any], i: int) -> bool:
    return await cache.get({"q": i}) == i and cache.peek({"q": i}) == i


async def test_set_since_a_hit_whose_stamps_the_feed_knew(redis_url: str) -> None:
    """The stamps that were not read with the hit, because a live feed had them, are compared all the same."""
    async with (
        Cache[int](redis_url, ttl=60, l1_max_entries=0) as cache,
        Cache[int](redis_url, ttl=60, l1_max_entries=0) as other,
    ):
        await cache.set("since", 1, tags=["t"])
        await until(lambda: cache._engine.feed_state.live)
        await cache.get("since", tags=["t"])  # from now on the table has the stamps
        seen = await cache.lookup("since", tags=["t"])
        assert (seen.tier, seen.value) == ("l2", 1)
        assert await cache.set("since", 2, tags=["t"], since=seen) is True
        assert await cache.set("since", 3, tags=["t"], since=seen) is False
        for change in (lambda: other.invalidate_tags("t"), lambda: other.delete("since")):
            await cache.set("since", 4, tags=["t"])
            seen = await cache.lookup("since", tags=["t"])
            assert seen.found
            await change()
            assert await cache.set("since", 5, tags=["t"], since=seen) is False
            assert await other.get("since") is None
