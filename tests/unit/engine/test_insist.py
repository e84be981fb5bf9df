"""The swap of a claim and of an answer: a live store that is late or locked for a moment makes no second call."""

from __future__ import annotations

import asyncio

import pytest

from cachecore.contract.errors import BackendError, BackendTimeout
from tests.unit.virtual_caches import Answer, Scene, virtual


def locked(operation: str) -> BackendError:
    return BackendTimeout(operation, reason="locked")


@pytest.mark.parametrize("how", ["locked", "late", "done, and the reply is late"])
@pytest.mark.parametrize("which", ["the claim", "the answer"])
def test_one_call_though_a_swap_missed_its_time(how: str, which: str) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        one, two = scene.cache(), scene.cache()
        factory = Answer(1)

        def strike() -> None:
            if how == "locked":
                scene.store.fail("swap", locked, prefix="cc:e:", times=20)
            else:
                scene.store.fail("swap", BackendTimeout, prefix="cc:e:", times=2, done=how != "late")

        if which == "the claim":
            strike()
        first = asyncio.ensure_future(one.get_or_set("q", factory))
        if which == "the answer":
            await asyncio.sleep(0.9)
            strike()
        others = asyncio.gather(*(two.get_or_set("q", factory) for _ in range(5)))
        assert await first == 1
        assert await others == [1] * 5
        assert factory.calls == 1
        assert await scene.cache().get("q") == 1
        assert one.stats.not_stored == two.stats.not_stored == {}

    check()


@virtual
async def test_a_store_that_stays_locked_is_waited_for_once(scene: Scene) -> None:
    """Half of what a write may take; then not again before a swap has succeeded."""
    cache = scene.cache(write_timeout=1)
    scene.store.fail("swap", locked, prefix="cc:e:")
    for least, most in ((0.5, 0.6), (0, 0.01), (0, 0.01)):
        began = scene.clock.monotonic()
        assert await cache.get_or_set("q", Answer()) == 1
        assert least <= scene.clock.monotonic() - began <= most
    scene.store.heal()
    assert await cache.get_or_set("q", Answer()) == 1
    assert cache.stats.stored == 1


@pytest.mark.usefixtures("default_deadlines")
@virtual
async def test_a_store_that_is_gone_costs_one_question_more(scene: Scene) -> None:
    cache = scene.cache()
    await cache.get("warm")
    asked = asyncio.ensure_future(cache.get_or_set("q", Answer(1)))
    await asyncio.sleep(0.9)
    scene.store.hang()
    began = scene.clock.monotonic()
    assert await asked == 1
    assert scene.clock.monotonic() - began < 0.1 + 3 * 0.06
