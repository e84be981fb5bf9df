"""What a cache answers and what it says of its answer, case by case."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cachecore import Computed, EncodingError, Lookup, OptionsError, UnkeyableError
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


def told(lookup: Lookup[Any]) -> tuple[Any, ...]:
    """Return what a lookup says, times rounded."""
    age = None if lookup.age is None else round(lookup.age, 2)
    fresh = None if lookup.fresh_for is None else round(lookup.fresh_for, 2)
    return (lookup.outcome, lookup.tier, lookup.value, age, fresh, lookup.reason)


@virtual
async def test_lookup_tells_where_each_answer_came_from(scene: Scene) -> None:
    cache, other = scene.cache(), scene.cache(l1_max_entries=0)
    assert told(await cache.lookup("q")) == ("miss", None, None, None, None, "absent")
    computed = await cache.lookup("q", Answer())
    assert told(computed) == ("computed", None, 1, 0, 60, "absent")
    assert (computed.found, computed.cached, computed.joined, computed.key) == (True, False, False, cache.key("q"))
    await asyncio.sleep(0.5)
    assert told(await cache.lookup("q", Answer())) == ("hit", "l1", 1, 0.5, 59.5, None)
    hit = await other.lookup("q", Answer())
    assert told(hit) == ("hit", "l2", 1, 0.5, 59.5, None)
    assert (hit.found, hit.cached) == (True, True)
    await asyncio.sleep(60)
    assert told(await other.lookup("q")) == ("miss", None, None, None, None, "expired")
    await cache.set("q", Computed(2, served_by="us", metadata={"model": "m"}), ttl=None)
    stored = await other.lookup("q")
    assert told(stored) == ("hit", "l2", 2, 0, None, None)
    assert (stored.served_by, stored.metadata) == ("us", {"model": "m"})
    await cache.delete("q")
    assert told(await cache.lookup("q"))[-1] == "deleted"
    await cache.set("q", 3, tags=["t"])
    await other.invalidate_tags("t")
    assert told(await other.lookup("q"))[-1] == "invalidated"
    await scene.memory.set_many({cache.key("q"): b"damaged"}, ttl=5)
    assert told(await other.lookup("q"))[-1] == "magic"
    scene.store.fail("get_many")
    assert told(await other.lookup("q"))[-1] == "store"


@virtual
async def test_lookup_tells_who_joined(scene: Scene) -> None:
    cache, factory = scene.cache(), Answer(1)
    first, second = await soon(lambda: cache.lookup("q", factory), 2)
    assert [(one.joined, one.outcome) for one in (await first, await second)] == [
        (False, "computed"),
        (True, "computed"),
    ]
    assert (cache.stats.computed, cache.stats.joined) == (2, 1)


@virtual
async def test_a_hit_that_lacks_a_tag_of_the_caller_is_a_miss(scene: Scene) -> None:
    for cache in (scene.cache(), scene.cache(l1_max_entries=0, namespace="no memory")):
        await cache.set("q", "untagged")
        assert await cache.get("q", "none", tags=["t"]) == "none"
        assert (await cache.lookup("q", tags=["t"])).reason == "invalidated"
        assert await cache.get_or_set("q", Answer(), tags=["t"]) == 1
        assert await cache.get("q", tags=["t"]) == await cache.get("q") == 1
        with pytest.raises(OptionsError, match="one string"):
            await cache.get("q", tags="t")


@virtual
async def test_what_has_no_key_or_no_ttl_is_refused_before_anything_happens(scene: Scene) -> None:
    cache, factory = scene.cache(), Answer()
    for call in (cache.get, cache.lookup, cache.delete, cache.expire):
        with pytest.raises(UnkeyableError):
            await call(object())
    with pytest.raises(UnkeyableError):
        await cache.get_or_set(object(), factory)
    for ttl in (0, -1, math.nan, math.inf, True):
        with pytest.raises(OptionsError):
            await cache.get_or_set("q", factory, ttl=ttl)
        with pytest.raises(OptionsError):
            await cache.set("q", 1, ttl=ttl)
    assert factory.calls == 0
    assert len(scene.memory._values) == 0


@virtual
async def test_admission_decides_what_is_stored_and_for_how_long(scene: Scene) -> None:
    def admit(value: Any) -> bool | Computed[Any]:
        return Computed(value, ttl=5, served_by="rule") if value == "short" else value != "no"

    cache = scene.cache(admit=admit)
    for value in ("yes", "no", "short"):
        assert await cache.get_or_set(value, _saying(value)) == value
    assert await cache.get_or_set("own", _saying(Computed("no", store=True))) == "no"
    assert [(await cache.lookup(one)).fresh_for for one in ("yes", "short", "no", "own")] == [
        pytest.approx(60),
        pytest.approx(5),
        None,
        None,
    ]
    assert (await cache.lookup("short")).served_by == "rule"
    assert cache.stats.not_stored == {"admission": 2}


@virtual
async def test_a_rule_that_fails_loses_no_answer(scene: Scene) -> None:
    def admit(value: Any) -> bool:
        raise ZeroDivisionError

    cache = scene.cache(admit=admit)
    factory = Answer(1)
    assert await asyncio.gather(*(cache.get_or_set("q", factory) for _ in range(3))) == [1] * 3
    assert await cache.get("q") is None
    assert cache.stats.not_stored == {"admit_error": 1}
    assert len(cache._engine.state().flights) == 0


@virtual
async def test_an_answer_of_none_has_its_own_ttl(scene: Scene) -> None:
    cache, other = scene.cache(negative_ttl=5), scene.cache(namespace="other")
    assert await cache.get_or_set("q", _saying(None)) is None
    assert await other.get_or_set("q", _saying(None)) is None
    assert await cache.get("q", "default") is None
    assert (await cache.lookup("q")).fresh_for == pytest.approx(5)
    assert (await other.lookup("q")).fresh_for == pytest.approx(60)
    assert await cache.get_or_set("own", _saying(Computed(None, ttl=30))) is None
    assert (await cache.lookup("own")).fresh_for == pytest.approx(30)
    assert await cache.get_or_set("value", _saying(0), ttl=40) == 0
    assert (await cache.lookup("value")).fresh_for == pytest.approx(40)


@virtual
async def test_what_cannot_be_encoded_or_is_too_large_is_returned_and_counted(scene: Scene) -> None:
    cache, odd = scene.cache(max_value_bytes=2048), object()
    assert await cache.get_or_set("odd", _saying(odd)) is odd
    assert await cache.get_or_set("large", _saying("x" * 4096)) == "x" * 4096
    assert cache.stats.not_stored == {"encoding": 1, "size": 1}
    for value in (odd, "x" * 4096):
        with pytest.raises(EncodingError):
            await cache.set("q", value)
    await cache.set("q", "before")
    with pytest.raises(EncodingError):
        await cache.set_many({"a": 1, "q": odd})
    assert await cache.get_many(["a", "q"]) == {"q": "before"}


@virtual
async def test_stale_while_revalidate_serves_and_refreshes_once_behind(scene: Scene) -> None:
    cache, factory = scene.cache(ttl=10, stale_while_revalidate=20), Answer(1)
    await cache.set("q", "old")
    await asyncio.sleep(15)
    assert await cache.get("q") is None  # `get` is for fresh answers
    asked = await asyncio.gather(*(cache.lookup("q", factory) for _ in range(5)))
    assert {told(one) for one in asked} == {("stale", "l2", "old", 15, -5, None)}
    await asyncio.sleep(2)
    assert (await cache.get("q"), factory.calls) == (1, 1)
    await asyncio.sleep(40)
    assert told(await cache.lookup("q", factory))[:3] == ("computed", None, 2)
    assert cache.stats.stale == 5


@virtual
async def test_stale_without_a_factory_only_if_asked_for(scene: Scene) -> None:
    cache = scene.cache(ttl=10, stale_if_error=20)
    await cache.set("q", "old")
    await asyncio.sleep(15)
    assert told(await cache.lookup("q"))[0] == "miss"
    assert told(await cache.lookup("q", stale=True)) == ("stale", "l2", "old", 15, -5, None)
    await asyncio.sleep(20)
    assert told(await cache.lookup("q", stale=True))[0] == "miss"


@virtual
async def test_stale_if_error_rescues_and_waits_before_it_tries_again(scene: Scene) -> None:
    cache, failing = scene.cache(ttl=10, stale_if_error=60, retry_after=5), Answer(1, error=LookupError())
    await cache.set("q", "old")
    await asyncio.sleep(20)
    rescued = await cache.lookup("q", failing)
    assert told(rescued) == ("rescued", "l2", "old", 21, -11, None)
    assert await cache.get_or_set("q", failing) == "old"
    assert failing.calls == 1
    await asyncio.sleep(6)
    assert await cache.get_or_set("q", failing) == "old"
    assert (failing.calls, cache.stats.rescued) == (2, 3)
    await asyncio.sleep(6)
    assert await cache.get_or_set("q", Answer()) == 1
    await asyncio.sleep(80)
    with pytest.raises(LookupError):
        await cache.get_or_set("q", failing)
    assert cache.stats.failed == 1


@virtual
async def test_an_exception_that_may_not_be_covered_is_raised(scene: Scene) -> None:
    """A mistake of the caller is no outage: it is raised although there is an old answer, by every way of asking."""
    cache = scene.cache(ttl=10, stale_if_error=60, rescue_if=lambda error: not isinstance(error, TypeError))
    await cache.set("q", "old")
    await asyncio.sleep(20)

    async def chunks() -> AsyncIterator[str]:
        raise TypeError
        yield ""

    async def many(names: list[str]) -> dict[str, str]:
        raise TypeError

    with pytest.raises(TypeError):
        await cache.get_or_set("q", Answer(1, error=TypeError()))
    with pytest.raises(TypeError):
        await cache.get_or_set_many(["q"], many)
    with pytest.raises(TypeError):
        [chunk async for chunk in cache.stream("q", chunks, assemble="".join, replay=iter)]
    assert cache.stats.failed == 3
    assert await cache.get_or_set("q", Answer(1, error=LookupError())) == "old"


@virtual
async def test_a_rule_that_raises_allows_nothing(scene: Scene) -> None:
    cache = scene.cache(ttl=10, stale_if_error=60, rescue_if=lambda error: error.no_such_attribute)
    await cache.set("q", "old")
    await asyncio.sleep(20)
    with pytest.raises(LookupError):
        await cache.get_or_set("q", Answer(1, error=LookupError()))


@virtual
async def test_a_view_that_serves_nothing_stale_may_keep_it_for_others(scene: Scene) -> None:
    cache = scene.cache(ttl=10, stale_if_error=60)
    strict = cache.scoped(stale_if_error=0, keep_stale=60)
    await strict.set("q", "old")
    await asyncio.sleep(20)
    failing = Answer(0, error=LookupError())
    with pytest.raises(LookupError):
        await strict.get_or_set("q", failing)
    assert await cache.get_or_set("q", failing) == "old"
    with pytest.raises(LookupError):  # also while the other view does not try again
        await strict.get_or_set("q", failing)


@virtual
async def test_rescue_serves_nothing_that_was_invalidated_meanwhile(scene: Scene) -> None:
    cache, other = scene.cache(ttl=10, stale_if_error=60), scene.cache()
    await cache.set("q", "old", tags=["t"])
    await asyncio.sleep(20)
    (asked,) = await soon(lambda: cache.get_or_set("q", Answer(1, error=LookupError())), 1)
    await other.invalidate_tags("t")
    with pytest.raises(LookupError):
        await asked


@pytest.mark.parametrize("unverified", [False, True])
def test_rescue_while_the_store_is_down_only_if_unverified_is_allowed(unverified: bool) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache(ttl=10, stale_if_error=60, rescue_unverified=unverified)
        await cache.set("q", "old")
        await asyncio.sleep(20)
        (asked,) = await soon(lambda: cache.get_or_set("q", Answer(1, error=LookupError())), 1)
        scene.store.fail("get_many")
        if unverified:
            assert await asked == "old"
        else:
            with pytest.raises(LookupError):
                await asked

    check()


@virtual
async def test_early_refresh_is_drawn_once_for_each_copy_in_memory(scene: Scene) -> None:
    """However many hits, one refresh; and only by callers who brought a factory."""
    cache, factory = scene.cache(ttl=60, refresh_ahead=1e9), Answer(1)
    await cache.get_or_set("q", factory)
    for _ in range(50):
        assert await cache.get("q") == 1
    assert factory.calls == 1
    for _ in range(50):
        assert await cache.get_or_set("q", factory) == 1
    assert (factory.calls, cache.stats.hits_l1) == (1, 100)
    await asyncio.sleep(2)
    assert (factory.calls, await cache.get("q")) == (2, 2)
    assert cache.stats.stale == 0


@virtual
async def test_an_early_refresh_that_brings_nothing_is_not_drawn_again(scene: Scene) -> None:
    cache, calls = scene.cache(refresh_ahead=1e6, l1_max_age=60), 0

    async def once() -> Computed[int]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(1)
        return Computed(calls, store=calls == 1)

    for _ in range(5):
        assert await cache.get_or_set("q", once) == 1
        await asyncio.sleep(3)
    assert calls == 2


@virtual
async def test_no_early_refresh_unless_asked_for(scene: Scene) -> None:
    cache, factory = scene.cache(ttl=60), Answer(30)
    await cache.get_or_set("q", factory)
    for _ in range(50):
        await asyncio.sleep(1)
        await cache.get_or_set("q", factory)
    assert factory.calls == 1


@virtual
async def test_background_refreshes_are_bounded_and_drained(scene: Scene) -> None:
    cache, factory = scene.cache(ttl=10, stale_while_revalidate=60, max_background=3), Answer(0.5)
    await cache.set_many(dict.fromkeys("abcdef", "old"))
    await asyncio.sleep(20)
    assert [await cache.get_or_set(one, factory) for one in "abcdef"] == ["old"] * 6
    await asyncio.sleep(0.01)
    assert factory.calls == 3
    await cache.aclose()
    assert (factory.cancelled, len(scene.caches[0]._engine.state().flights)) == (0, 0)
    assert sum(one is not None for one in await _stored(scene, "abcdef")) == 3
    await cache.aclose()


async def _stored(scene: Scene, requests: str) -> list[Any]:
    reader = scene.cache()
    return [(await reader.get(one)) for one in requests]


@virtual
async def test_background_refresh_outlives_its_caller(scene: Scene) -> None:
    cache, factory = scene.cache(ttl=10, stale_while_revalidate=60), Answer(2)
    await cache.set("q", "old")
    await asyncio.sleep(20)

    async def ask() -> None:
        assert await cache.get_or_set("q", factory) == "old"
        await asyncio.sleep(3600)

    (asked,) = await soon(ask, 1)
    asked.cancel()
    await asyncio.sleep(3)
    assert (await cache.get("q"), factory.cancelled) == (1, 0)


@virtual
async def test_refresh_replaces_whatever_is_stored(scene: Scene) -> None:
    cache, factory = scene.cache(), Answer()
    await cache.set("q", "old", ttl=None)
    assert await cache.refresh("q", factory, ttl=5, tags=["t"]) == 1
    lookup = await cache.lookup("q")
    assert told(lookup) == ("hit", "l1", 1, 0, 5, None)
    await cache.invalidate_tags("t")
    assert await cache.get("q") is None
    await cache.set("q", "kept")
    with pytest.raises(LookupError):
        await cache.refresh("q", Answer(error=LookupError()))
    assert await cache.get("q") == "kept"


@virtual
async def test_refresh_supersedes_what_began_while_it_was_reading(scene: Scene) -> None:
    cache = scene.cache(lease_ttl=None, backend_timeout=1)
    await cache.set("q", "old", ttl=0.1)
    await asyncio.sleep(0.2)
    scene.store.delay("get_many", 0.02, times=1)
    (refreshing,) = await soon(lambda: cache.refresh("q", _saying("new", 2)), 1)
    (asked,) = await soon(lambda: cache.get_or_set("q", _saying("older", 1)), 1)
    assert list(await asyncio.gather(refreshing, asked)) == ["new", "older"]
    assert await cache.get("q") == "new"
    assert cache.stats.not_stored == {"changed": 1}


@virtual
async def test_refresh_waits_for_an_answer_that_is_being_stored(scene: Scene) -> None:
    """To store its own over it."""
    cache = scene.cache(backend_timeout=1)
    (asked,) = await soon(lambda: cache.get_or_set("q", _saying("older", 0.1)), 1)
    scene.store.delay("swap", 0.2, prefix="cc:e:", times=1)
    await asyncio.sleep(0.15)
    assert await cache.refresh("q", _saying("new", 0.5)) == "new"
    assert await asked == "older"
    assert await cache.get("q") == "new"


@virtual
async def test_expired_answers_are_stale_and_can_be_rescued(scene: Scene) -> None:
    cache = scene.cache(ttl=60, stale_if_error=30)
    await cache.set("q", "old", tags=["t"])
    assert await cache.expire("q") is True
    assert await cache.get("q") is None
    assert cache.peek("q") is None
    assert await cache.get_or_set("q", Answer(error=LookupError())) == "old"
    assert await cache.expire("missing") is False
    await cache.invalidate_tags("t")
    assert await cache.expire("q") is False
    plain = scene.cache(namespace="plain")
    await plain.set("q", "old")
    assert await plain.expire("q") is True
    with pytest.raises(LookupError):
        await plain.get_or_set("q", Answer(error=LookupError()))


def _saying(value: Any, seconds: float = 0.0) -> Any:
    async def say() -> Any:
        await asyncio.sleep(seconds)
        return value

    return say


@virtual
async def test_peek_lookup_tells_of_a_copy_in_memory_as_lookup_does(scene: Scene) -> None:
    """Nothing for what is not in memory, is invalid, or is due for a refresh that a factory could begin."""
    cache, eager = scene.cache(ttl=10), scene.cache(ttl=10, refresh_ahead=1e9)
    key = cache.key("q")
    assert cache.peek_lookup(key=key) is None
    await cache.set("q", "a", tags=["t"])
    found, before = cache.peek_lookup(key=key), cache.stats.hits_l1
    assert found is not None
    assert told(found) == told(await cache.lookup("q")) == ("hit", "l1", "a", 0, 10, None)
    assert cache.stats.hits_l1 == before + 1
    await cache.invalidate_tags("t")
    assert cache.peek_lookup(key=key) is None
    assert await eager.get_or_set("q", Answer(1)) == 1
    await asyncio.sleep(0.1)
    assert eager.peek("q") == 1
    assert eager.peek_lookup(key=key) is None, "its refresh is due"
