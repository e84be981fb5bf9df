"""What operators call: deletion by key, and invalidations that tell how far they have come."""

from __future__ import annotations

import pytest

from cachecore import Cache, OptionsError, SyncCache


async def test_delete_keys_leaves_a_tombstone_and_counts() -> None:
    """As `delete` of the request: gone for every view, also while it is being computed."""
    async with Cache("memory://", ttl=60, namespace="faq") as cache:
        for number in range(3):
            await cache.set(number, number, required=True)
        keys = [cache.key(0), cache.key(1), cache.key(1), cache.key("absent")]
        assert await cache.delete_keys(keys) == 2
        assert [await cache.get(number) for number in range(3)] == [None, None, 2]
        seen = await cache.lookup("late")
        assert await cache.delete_keys([cache.key("late")]) == 0
        assert not await cache.set("late", "computed before the deletion", since=seen)
        assert await cache.delete_keys([]) == 0


async def test_delete_keys_of_elsewhere_is_refused() -> None:
    async with Cache("memory://", ttl=60) as cache:
        faq, other = cache.scoped("faq"), cache.scoped("other")
        with pytest.raises(OptionsError, match="is no key of an answer here"):
            await faq.delete_keys([other.key("q")])
        assert await cache.delete_keys([other.key("q")]) == 0
        assert await faq.delete_keys([faq.scoped("v3").key("q")]) == 0


async def test_progress_counts_up_to_what_is_returned() -> None:
    async with Cache("memory://", ttl=60) as cache:
        await cache.scoped("a").set_many(dict.fromkeys(range(700), "x"), required=True)
        await cache.scoped("b").set_many(dict.fromkeys(range(10), "x"), required=True)
        told: list[int] = []
        assert await cache.invalidate_prefix("a", progress=told.append) == 700
        assert told == sorted(told)
        assert (len(told) > 1, told[-1]) == (True, 700)
        told.clear()
        assert await cache.invalidate_all(progress=told.append) == 10
        assert told[-1] == 10
        await cache.scoped("b").set(1, "x", tags=["t"], required=True)
        told.clear()
        assert await cache.sweep_tag("t", lambda namespace: namespace == "b", progress=told.append) == 1
        assert told[-1] == 1


def test_threads_delete_by_key_too() -> None:
    with SyncCache[object]("memory://", ttl=60) as cache:
        cache.set("q", 1)
        assert cache.delete_keys([cache.key("q")]) == 1
        assert cache.get("q") is None
