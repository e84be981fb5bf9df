"""Two-phase use: the answer, or the right to compute it until it is stored, given back or held for too long."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, CacheError, Computed, FlightCycleError, SyncCache, bypass
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


def outside(call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task that is no part of the claim during which it is started."""
    return asyncio.get_running_loop().create_task(call, context=Context())


@virtual
async def test_a_claim_is_the_answer_or_the_right_to_compute_it(scene: Scene) -> None:
    cache = scene.cache()
    async with cache.claim("q") as claim:
        assert (claim.hit, claim.held, claim.key) == (None, True, cache.key("q"))
        assert await claim.store({"a": 1})
        assert not claim.held
        assert not await claim.store({"a": 2})
    async with cache.claim("q") as claim:
        assert claim.hit is not None
        assert (claim.hit.value, claim.hit.outcome, claim.hit.tier, claim.held) == ({"a": 1}, "hit", "l1", False)
        assert not await claim.store("ignored")
    elsewhere = scene.cache()
    claim = await elsewhere.claim("q")
    assert claim.hit is not None
    assert (claim.hit.value, claim.hit.tier) == ({"a": 1}, "l2")
    assert cache.stats.stored == 1


@virtual
async def test_ttl_and_tags_are_those_of_the_answer(scene: Scene) -> None:
    cache = scene.cache(ttl=1000)
    async with cache.claim("q", ttl="10s", tags=["doc:1"]) as claim:
        await claim.store("a")
    async with cache.claim("r", tags=["doc:1"]) as claim:
        await claim.store(Computed("b", ttl=20, served_by="me"))
    assert ((await cache.lookup("q")).fresh_for, (await cache.lookup("r")).fresh_for) == pytest.approx((10, 20))
    await cache.invalidate_tags("doc:1")
    assert not await cache.exists("q")
    assert not await cache.exists("r")


@pytest.mark.parametrize("far", [False, True], ids=["one process", "two processes"])
def test_others_wait_for_what_is_stored(far: bool) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache, other, never = scene.cache(), scene.cache(), Answer()
        asking = other if far else cache
        async with cache.claim("q") as claim:
            waiting = [outside(asking.get_or_set("q", never)) for _ in range(5)]
            claiming = outside(taken(asking))
            await asyncio.sleep(2)
            assert not any(task.done() for task in (*waiting, claiming))
            await claim.store([1])
            assert await asyncio.gather(*waiting) == [[1]] * 5
            assert await claiming == [1]
        assert never.calls == 0

    async def taken(cache: Cache[Any]) -> Any:
        claim = await cache.claim("q")  # in a task of its own
        return None if claim.hit is None else claim.hit.value

    check()


@pytest.mark.parametrize("far", [False, True], ids=["one process", "two processes"])
@pytest.mark.parametrize("end", ["release", "leave", "raise", "task", "cancel"])
def test_a_claim_that_ends_without_a_value_releases_all_who_wait_at_once(end: str, far: bool) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache, other, answer = scene.cache(), scene.cache(), Answer(0.5)
        asking = other if far else cache
        go = asyncio.Event()

        async def hold() -> None:
            claim = cache.claim("q")
            if end in ("release", "task"):
                await claim
                await go.wait()
                if end == "release":
                    await claim.release()
                return
            async with claim:
                await go.wait()
                if end == "raise":
                    raise ValueError("no answer")
                if end == "cancel":
                    await asyncio.sleep(1000)

        holder = (await soon(hold, 1))[0]
        waiting = await soon(lambda: asking.get_or_set("q", answer), 20)
        await asyncio.sleep(1)
        began = scene.clock.monotonic()
        go.set()
        await asyncio.sleep(0)
        if end == "cancel":
            holder.cancel()
        await asyncio.wait([holder])
        assert holder.cancelled() or isinstance(holder.exception(), ValueError | None)
        assert await asyncio.gather(*waiting) == [1] * 20
        assert answer.calls == 1
        assert scene.clock.monotonic() - began < 0.7  # one of them computes for half a second

    check()


@virtual
async def test_a_claim_held_for_too_long_ends(scene: Scene) -> None:
    cache, answer = scene.cache(), Answer()
    claim = await cache.claim("q")
    waiting = outside(cache.get_or_set("q", answer))
    await asyncio.sleep(29)
    assert not waiting.done()
    assert claim.held
    await asyncio.sleep(1.5)
    assert await waiting == 1
    assert not claim.held
    assert not await claim.store("late")
    assert await cache.get("q") == 1
    brief = scene.cache(claim_timeout=5, factory_timeout=2)
    async with brief.claim("r") as held:
        await asyncio.sleep(4)
        assert held.held
        assert await held.store("in time")


@virtual
async def test_two_that_hold_one_and_take_the_others_do_not_wait(scene: Scene) -> None:
    cache, other = scene.cache(), scene.cache()
    both = asyncio.Barrier(2)

    async def take(cache: Cache[Any], first: str, second: str) -> list[bool]:
        async with cache.claim(first) as one:
            await both.wait()
            async with cache.claim(second) as two:
                assert two.hit is None
                stored = [await two.store(second)]
            return [await one.store(first), *stored]

    for there in (cache, other):
        began = scene.clock.monotonic()
        got = await asyncio.gather(take(cache, "a", "b"), take(there, "b", "a"))
        assert [stored[0] for stored in got] == [True, True]
        assert scene.clock.monotonic() - began < 0.1
        await cache.invalidate_all()


@virtual
async def test_its_own_key_inside_is_a_cycle(scene: Scene) -> None:
    cache = scene.cache()
    async with cache.claim("q") as claim:
        with pytest.raises(FlightCycleError):
            await cache.get_or_set("q", Answer())
        with pytest.raises(FlightCycleError):
            await cache.claim("q")
        with pytest.raises(FlightCycleError):
            await cache.get_or_set_many(["q"], lambda names: asyncio.sleep(0, dict.fromkeys(names, 1)))
        assert await cache.get_or_set("other", Answer()) == 1
        assert await claim.store("a")
        assert await cache.get_or_set("q", Answer()) == "a"  # stored, so it is over
    assert await cache.get_or_set("q", Answer()) == "a"


@pytest.mark.parametrize("change", ["delete", "set", "invalidate_all", "invalidate_tags", "pinned"])
def test_what_changes_meanwhile_is_not_overwritten(change: str) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache, other = scene.cache(), scene.cache()
        async with cache.claim("q", tags=["t"]) as claim:
            if change == "set":
                await other.set("q", "newer")
            elif change == "delete":
                await other.delete("q")
            elif change == "invalidate_all":
                await other.invalidate_all()
            elif change == "invalidate_tags":
                await other.invalidate_tags("t")
            else:
                await cache.pin_tag("p")
                await other.invalidate_tags("p")
            await claim.store("older")
        assert await other.get("q") == ("newer" if change == "set" else None)
        assert await cache.get("q") == ("newer" if change == "set" else None)

    check()


@virtual
async def test_a_sick_store_grants_and_stores_nothing(scene: Scene) -> None:
    cache = scene.cache()
    scene.store.fail()
    async with cache.claim("q") as claim:
        assert claim.hit is None
        assert not await claim.store("a")
    scene.store.heal()


@virtual
async def test_under_bypass_nothing_is_found_or_stored(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("q", 1)
    with bypass():
        async with cache.claim("q") as claim:
            assert claim.hit is None
            assert not await claim.store(2)
    assert await cache.get("q") == 1


@virtual
async def test_a_computation_under_way_is_waited_for_and_its_failure_raised(scene: Scene) -> None:
    cache, failing = scene.cache(), Answer(1, error=ValueError("no"))
    (computing,) = await soon(lambda: cache.get_or_set("q", failing), 1)
    with pytest.raises(ValueError, match="no"):
        await cache.claim("q")
    with pytest.raises(ValueError, match="no"):
        await computing
    async with cache.claim("q") as claim:
        assert claim.hit is None


@virtual
async def test_a_cancelled_taker_leaves_nothing(scene: Scene) -> None:
    cache, answer = scene.cache(), Answer()
    async with cache.claim("q"):
        taker = outside(cache.claim("q")._taken())
        await asyncio.sleep(1)
        taker.cancel()
        await asyncio.wait([taker])
    assert await cache.get_or_set("q", answer) == 1


@virtual
async def test_a_stale_answer_is_no_hit(scene: Scene) -> None:
    cache = scene.cache(ttl=1, stale_while_revalidate=100, stale_if_error=100)
    await cache.set("q", "old")
    await asyncio.sleep(2)
    async with cache.claim("q") as claim:
        assert claim.hit is None
        assert await claim.store("new")
    assert await cache.get("q") == "new"


@virtual
async def test_exists_counts_nothing(scene: Scene) -> None:
    cache, other = scene.cache(), scene.cache()
    assert not await cache.exists("q")
    await cache.set("q", 1, tags=["t"])
    before = cache.stats, other.stats
    assert await cache.exists("q")
    assert await other.exists("q")
    assert await other.exists("q", tags=["t"])
    assert not await other.exists("q", tags=["u"])
    assert (cache.stats, other.stats) == before
    with bypass():
        assert not await cache.exists("q")
    await asyncio.sleep(61)
    assert not await cache.exists("q")


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[SyncCache[Any]]:
    with SyncCache(f"sqlite:///{tmp_path}/a.db", ttl=60) as made:
        yield made


def test_threads_claim_store_and_wait(plain: SyncCache[Any]) -> None:
    holding, calls = threading.Event(), list[int]()
    with ThreadPoolExecutor(4) as pool:

        def own() -> str:
            calls.append(1)
            return "own"

        def ask() -> Any:
            holding.wait(60)
            return plain.get_or_set("q", own)

        asked = [pool.submit(ask) for _ in range(4)]
        with plain.claim("q", ttl="1h") as claim:
            assert claim.hit is None
            holding.set()
            with pytest.raises(FlightCycleError):
                plain.get_or_set("q", lambda: 1)
            assert plain.get_or_set("other", lambda: 2) == 2
            assert claim.store("claimed")
        assert [one.result(60) for one in asked] == ["claimed"] * 4
    assert calls == []
    assert plain.exists("q")
    hit = plain.claim("q").hit
    assert hit is not None
    assert hit.value == "claimed"
    released = plain.claim("r")
    released.release()
    assert plain.get_or_set("r", lambda: 3) == 3


def test_a_claim_ends_with_its_thread(plain: SyncCache[Any]) -> None:
    thread = threading.Thread(target=lambda: plain.claim("q"))
    thread.start()
    thread.join()
    assert plain.get_or_set("q", lambda: "after") == "after"  # long before claim_timeout


async def test_a_claim_in_a_thread_whose_loop_is_running(plain: SyncCache[Any]) -> None:
    with plain.claim("q") as claim:
        assert claim.store(1)
    with plain.claim("q") as claim:
        assert claim.hit is not None
    plain.close()
    with pytest.raises(CacheError, match="closed"):
        plain.claim("r")


def test_the_guide_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    guide = Path(__file__).resolve().parents[3] / "docs" / "claims.md"
    (example,) = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    exec(compile(example, guide.name, "exec"), {"__name__": "guide"})
    assert capsys.readouterr().out == "['report of Monday', 'report of Monday']\n"


@virtual
async def test_an_end_without_await_lets_waiting_callers_go_on(scene: Scene) -> None:
    cache = scene.cache()
    claim = await cache.claim("q")
    waiting = outside(cache.get_or_set("q", Answer()))
    await asyncio.sleep(0.001)
    claim.end()
    assert not claim.held
    assert await waiting == 1
    assert not await claim.store("late")


@virtual
async def test_an_answer_lands_though_its_task_has_ended(scene: Scene) -> None:
    """Frameworks store from a task of their own, which may begin as the task that asked ends."""
    cache = scene.cache()
    writes: list[asyncio.Task[bool]] = []

    async def ask() -> None:
        claim = await cache.claim("q")
        writes.append(asyncio.create_task(claim.store("a")))

    await outside(ask())
    assert await writes[0]
    assert await cache.get("q") == "a"


def test_an_end_reaches_the_loop_of_the_claim_from_another_thread() -> None:
    async def check() -> None:
        async with Cache("memory://", ttl=60) as cache:
            claim = await cache.claim("q")
            await asyncio.to_thread(claim.end)
            assert await asyncio.create_task(cache.get_or_set("q", Answer()), context=Context()) == 1

    asyncio.run(check())
