"""What becomes of an answer when something else happens while it is being stored."""

from __future__ import annotations

import asyncio

from cachecore import Computed
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


@virtual
async def test_no_older_copy_stays_in_memory_when_the_answer_cannot_be_read_back(scene: Scene) -> None:
    cache = scene.cache(l1_max_age=60)
    await cache.set("q", "old")

    async def factory() -> str:
        scene.store.fail("get_many")
        return "new"

    assert await cache.refresh("q", factory) == "new"
    scene.store.heal()
    assert cache.peek("q") is None
    await asyncio.sleep(1)
    assert await cache.get("q") == "new"


@virtual
async def test_no_copy_is_kept_of_an_answer_that_was_replaced_at_once(scene: Scene) -> None:
    """By another process, between the write and the look at what lies there now."""
    cache, other = scene.cache(l1_max_age=60, backend_timeout=5), scene.cache()
    (asked,) = await soon(lambda: cache.get_or_set("q", Answer(1)), 1)
    scene.store.delay("get_many", 1, times=1)
    await asyncio.sleep(1.5)
    await other.set("q", "newer")
    assert await asked == 1
    assert cache.peek("q") in (None, "newer")
    assert await cache.get("q") == "newer"


@virtual
async def test_an_answer_that_is_not_stored_is_not_for_who_came_after_an_invalidation(scene: Scene) -> None:
    cache, other, calls = scene.cache(), scene.cache(), 0

    async def factory() -> Computed[int]:
        nonlocal calls
        calls += 1
        number = calls
        await asyncio.sleep(2)
        return Computed(number, store=False)

    await cache.set("another", 0, tags=["t"])  # the tag has a stamp
    (early,) = await soon(lambda: cache.get_or_set("q", factory, tags=["t"]), 1)
    await asyncio.sleep(1)
    await other.invalidate_tags("t")
    (late,) = await soon(lambda: cache.get_or_set("q", factory, tags=["t"]), 1)
    assert (await early, await late) == (1, 2)


@virtual
async def test_a_factory_that_wants_nothing_stored_is_not_overruled(scene: Scene) -> None:
    cache = scene.cache(admit=Computed)

    async def private() -> Computed[str]:
        return Computed("private", store=False)

    assert await cache.get_or_set("q", private) == "private"
    assert await cache.get("q") is None


@virtual
async def test_an_answer_carries_the_tags_that_were_pinned_for_it(scene: Scene) -> None:
    cache, other = scene.cache(), scene.cache(l1_max_entries=0)

    async def factory() -> int:
        await cache.pin_tag("doc")
        await asyncio.sleep(1)
        return 1

    assert await cache.get_or_set("q", factory) == 1
    assert await other.get("q") == 1
    await other.invalidate_tags("doc")
    assert await other.get("q") is None


@virtual
async def test_nobody_joins_what_began_before_a_delete_was_acknowledged(scene: Scene) -> None:
    """Also not what began while it was under way."""
    cache = scene.cache(backend_timeout=5)
    scene.store.delay("swap", 0.5, prefix="cc:e:", times=1)
    (deleting,) = await soon(lambda: cache.delete("q"), 1)
    (early,) = await soon(lambda: cache.get_or_set("q", Answer(2)), 1)
    assert await deleting is False
    late = await cache.lookup("q", Answer(0.1))
    assert (late.joined, late.outcome, early.done()) == (False, "computed", False)
    assert await early == 1
