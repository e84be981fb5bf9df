"""Many requests at once: one call of the factory for what nobody has and nobody computes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from cachecore import Computed, OptionsError, bypass
from cachecore.encoding.claim import NO_TOKEN, ClaimMark, claim_bytes
from tests.unit.virtual_caches import Answer, Scene, Work, soon, virtual


class Answers(Work):
    """A factory of batches that keeps the lists of names it was called with."""

    def __init__(self, seconds: float = 0.0, *, out: Mapping[Any, Any] | None = None) -> None:
        super().__init__(seconds)
        self.calls: list[list[Any]] = []
        self.out = out

    async def __call__(self, names: list[Any]) -> Mapping[Any, Any]:
        self.calls.append(list(names))
        await self.work()
        return {name: f"answer {name}" for name in names} if self.out is None else self.out


@virtual
async def test_get_many_is_a_dict_of_hits_in_one_read(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    await cache.set_many({"a": 1, "b": None})
    await cache.set("t", 3, tags=["t"])
    scene.store.calls.clear()
    assert await cache.get_many(["a", "missing", "b"]) == {"a": 1, "b": None}
    assert [call.operation for call in scene.store.calls] == ["get_many"]
    assert await cache.get_many(["a", "t"], tags=["t"]) == {"t": 3}
    assert await cache.get_many({"x": ["no", "hash"], "y": "a"}) == {"y": 1}
    assert await cache.get_many([]) == {}
    assert (cache.stats.hits, cache.stats.misses) == (4, 3)


@virtual
async def test_set_and_delete_many(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set_many({"a": 1, "b": Computed(2, ttl=5), ("c", 1): [3]}, ttl=50, tags=["t"])
    assert [(await cache.lookup(one)).fresh_for for one in ("a", "b")] == [pytest.approx(50), pytest.approx(5)]
    assert await cache.delete_many(["a", "a", "missing", ("c", 1)]) == 2
    await cache.invalidate_tags("t")
    assert await cache.get_many(["a", "b", ("c", 1)]) == {}
    await cache.set_many({})


@virtual
async def test_factory_is_called_once_for_what_is_missing(scene: Scene) -> None:
    cache, factory = scene.cache(), Answers()
    await cache.set("b", "stored")
    assert await cache.get_or_set_many(["a", "b", "c"], factory) == {"a": "answer a", "b": "stored", "c": "answer c"}
    assert factory.calls == [["a", "c"]]
    assert await cache.get_or_set_many(["c", "b"], factory) == {"c": "answer c", "b": "stored"}
    assert await cache.get_or_set_many([], factory) == {}
    assert len(factory.calls) == 1
    assert (cache.stats.computed, cache.stats.hits, cache.stats.factory_calls) == (2, 3, 1)


@virtual
async def test_what_is_left_out_is_absent_and_not_stored(scene: Scene) -> None:
    cache, factory = scene.cache(), Answers(out={"a": 1, "nobody asked": 2})
    assert await cache.get_or_set_many(["a", "b"], factory) == {"a": 1}
    assert await cache.get_many(["a", "b", "nobody asked"]) == {"a": 1}
    assert await cache.get_or_set("b", Answer()) == 1
    assert cache.stats.stored == 2


@virtual
async def test_two_names_of_one_request_are_computed_once(scene: Scene) -> None:
    cache, factory = scene.cache(), Answers()
    asked = {"first": {"a": 1, "b": 2}, "second": {"b": 2, "a": 1}, "other": [1]}
    answers = await cache.get_or_set_many(asked, factory)
    assert answers == {"first": "answer first", "second": "answer first", "other": "answer other"}
    assert factory.calls == [["first", "other"]]
    assert list(answers) == ["first", "second", "other"]


@virtual
async def test_requests_that_cannot_name_their_answers_are_refused(scene: Scene) -> None:
    cache, factory = scene.cache(), Answers()
    for requests in ([1, True], [1.0, 1]):
        with pytest.raises(OptionsError, match="mapping of names"):
            await cache.get_or_set_many(requests, factory)
        with pytest.raises(OptionsError, match="mapping of names"):
            await cache.get_many(requests)
    assert await cache.get_or_set_many({"one": 1, "true": True}, factory) == {
        "one": "answer one",
        "true": "answer true",
    }
    assert factory.calls == [["one", "true"]]


@virtual
async def test_single_computations_under_way_are_joined(scene: Scene) -> None:
    cache, single, many = scene.cache(), Answer(5), Answers(1)
    (one,) = await soon(lambda: cache.get_or_set("a", single), 1)
    answers = await cache.get_or_set_many(["a", "b"], many)
    assert answers == {"a": 1, "b": "answer b"}
    assert (await one, single.calls, many.calls) == (1, 1, [["b"]])
    assert cache.stats.joined == 1


@virtual
async def test_batches_are_joined(scene: Scene) -> None:
    cache, single, many = scene.cache(), Answer(), Answers(1)
    (batch,) = await soon(lambda: cache.get_or_set_many(["a", "b"], many), 1)
    assert await asyncio.gather(cache.get_or_set("a", single), cache.get_or_set_many(["b", "c"], many)) == [
        "answer a",
        {"b": "answer b", "c": "answer c"},
    ]
    assert await batch == {"a": "answer a", "b": "answer b"}
    assert (single.calls, many.calls) == (0, [["a", "b"], ["c"]])


@virtual
async def test_who_joined_for_a_key_that_is_left_out_computes_it(scene: Scene) -> None:
    """Another factory's silence says nothing about one's own."""
    cache, single, silent, many = scene.cache(), Answer(), Answers(1, out={}), Answers(1)
    (batch,) = await soon(lambda: cache.get_or_set_many(["a", "b"], silent), 1)
    both = await asyncio.gather(cache.get_or_set("a", single), cache.get_or_set_many(["b"], many))
    assert both == [1, {"b": "answer b"}]
    assert await batch == {}


@virtual
async def test_each_callers_answers_are_its_own(scene: Scene) -> None:
    cache = scene.cache()

    async def lists(names: list[str]) -> dict[str, list[str]]:
        await asyncio.sleep(1)
        return {name: [name] for name in names}

    batches = await asyncio.gather(*(cache.get_or_set_many(["a", "b"], lists) for _ in range(3)))
    for batch in batches:
        batch["a"].append("spoilt")
    assert [batch["a"] for batch in batches] == [["a", "spoilt"]] * 3
    assert await cache.get("a") == ["a"]


@virtual
async def test_computed_ttl_tags_and_admission_hold_for_each_answer(scene: Scene) -> None:
    cache = scene.cache(admit=lambda value: value != "refused", negative_ttl=2)
    out = {"a": Computed(1, ttl=5, tags=["t"]), "b": Computed(2, store=False), "c": "refused", "d": None, "e": 5}
    answers = await cache.get_or_set_many(list("abcde"), Answers(out=out), ttl=30, tags=["batch"])
    assert answers == {"a": 1, "b": 2, "c": "refused", "d": None, "e": 5}
    fresh = {name: (await cache.lookup(name)).fresh_for for name in "abcde"}
    assert fresh == {"a": pytest.approx(5), "b": None, "c": None, "d": pytest.approx(2), "e": pytest.approx(30)}
    assert cache.stats.not_stored == {"admission": 2}
    await cache.invalidate_tags("t")
    assert await cache.get_many(list("ae")) == {"e": 5}
    await cache.invalidate_tags("batch")
    assert await cache.get_many(list("ade")) == {}


@virtual
async def test_the_factorys_exception_reaches_the_caller_and_frees_the_keys(scene: Scene) -> None:
    cache, factory = scene.cache(), Answers(1)
    factory.error = LookupError("no provider")
    outcomes = await asyncio.gather(
        cache.get_or_set_many(["a", "b"], factory),
        cache.get_or_set_many(["b", "a"], factory),
        return_exceptions=True,
    )
    assert [str(outcome) for outcome in outcomes] == ["no provider"] * 2
    assert factory.calls == [["a", "b"]]
    assert cache.stats.failed == 4
    factory.error = None
    assert await cache.get_or_set_many(["a"], factory) == {"a": "answer a"}
    with pytest.raises(TypeError, match="mapping"):
        await cache.get_or_set_many(["x"], Answers(out=["not a mapping"]))  # type: ignore[arg-type]  # the mistake


@virtual
async def test_stale_answers_rescue_each_key_that_has_one(scene: Scene) -> None:
    cache, factory = scene.cache(ttl=10, stale_if_error=100, retry_after=5), Answers()
    await cache.get_or_set_many(["a", "b"], factory)
    await asyncio.sleep(20)
    factory.error = LookupError("no provider")
    assert await cache.get_or_set_many(["a", "b"], factory) == {"a": "answer a", "b": "answer b"}
    assert cache.stats.rescued == 2
    calls = len(factory.calls)
    assert await cache.get_or_set_many(["a", "b"], factory) == {"a": "answer a", "b": "answer b"}
    assert len(factory.calls) == calls  # within `retry_after`
    await asyncio.sleep(6)
    with pytest.raises(LookupError):
        await cache.get_or_set_many(["a", "c"], factory)
    assert cache.stats.failed == 1


@virtual
async def test_stale_answers_are_served_and_refreshed_together_behind(scene: Scene) -> None:
    cache, factory = scene.cache(ttl=10, stale_while_revalidate=100), Answers(1)
    await cache.set_many({"a": "old", "b": "old"})
    await asyncio.sleep(20)
    began = scene.clock.monotonic()
    assert await cache.get_or_set_many(["a", "b"], factory) == {"a": "old", "b": "old"}
    assert await cache.get_or_set_many(["b", "a", "a"], factory) == {"b": "old", "a": "old"}
    assert scene.clock.monotonic() - began < 0.5
    await asyncio.sleep(2)
    assert factory.calls == [["a", "b"]]
    assert await cache.get_many(["a", "b"]) == {"a": "answer a", "b": "answer b"}
    assert (cache.stats.stale, cache.stats.computed) == (4, 0)


@virtual
async def test_early_refreshes_of_a_batch_run_behind_it(scene: Scene) -> None:
    cache, factory = scene.cache(refresh_ahead=1e6), Answers(1)
    for _ in range(3):
        assert await cache.get_or_set_many(["a", "b"], factory) == {"a": "answer a", "b": "answer b"}
    await asyncio.sleep(2)
    assert factory.calls == [["a", "b"], ["a", "b"]]


@virtual
async def test_failed_refresh_behind_a_batch_is_not_tried_again_at_once(scene: Scene) -> None:
    cache, factory = scene.cache(ttl=10, stale_while_revalidate=100, retry_after=5), Answers(0.1)
    await cache.set("a", "old")
    await asyncio.sleep(20)
    factory.error = LookupError("no provider")
    for _ in range(3):
        assert await cache.get_or_set_many(["a"], factory) == {"a": "old"}
        await asyncio.sleep(1)
    assert len(factory.calls) == 1


@virtual
async def test_keys_that_another_process_computes_are_waited_for(scene: Scene) -> None:
    one, two = scene.cache(), scene.cache()
    single, many = Answer(2), Answers(0.1)
    (asked,) = await soon(lambda: one.get_or_set("a", single), 1)
    assert await two.get_or_set_many(["a", "b"], many) == {"a": 1, "b": "answer b"}
    assert await asked == 1
    assert many.calls == [["b"]]


@virtual
async def test_keys_whose_other_process_failed_are_computed_once_more(scene: Scene) -> None:
    one, two = scene.cache(), scene.cache()
    failing, many = Answer(2, error=LookupError("no provider")), Answers(0.1)
    asked = [asyncio.ensure_future(one.get_or_set(name, failing)) for name in "ab"]
    await asyncio.sleep(0.01)
    assert await two.get_or_set_many(["a", "b", "c"], many) == {name: f"answer {name}" for name in "abc"}
    assert many.calls == [["c"], ["a", "b"]]
    assert [str(outcome) for outcome in await asyncio.gather(*asked, return_exceptions=True)] == ["no provider"] * 2


@virtual
async def test_crossing_batches_of_two_processes_end(scene: Scene) -> None:
    """Neither waits for the other while it holds a lease."""
    one, two = scene.cache(), scene.cache()
    first, second = Answers(1), Answers(1)
    answers = await asyncio.wait_for(
        asyncio.gather(one.get_or_set_many(list("abcd"), first), two.get_or_set_many(list("dcba"), second)), 10
    )
    assert answers[0] == {name: f"answer {name}" for name in "abcd"} == answers[1]
    assert len(first.calls) + len(second.calls) <= 4


@virtual
async def test_a_caller_that_leaves_at_once_leaves_nothing_behind(scene: Scene) -> None:
    """At every step: no flight that nobody waits for, no factory that goes on for nobody."""
    for steps in range(40):
        cache, factory = scene.cache(namespace=f"n{steps}"), Answers(5)
        asked = asyncio.ensure_future(cache.get_or_set_many(["a", "b"], factory))
        for _ in range(steps):
            await asyncio.sleep(0)
        if not asked.cancel():
            break
        with pytest.raises(asyncio.CancelledError):
            await asked
        for _ in range(5):
            await asyncio.sleep(0)
        flights = cache._engine.state().flights
        assert len(flights) == 0, steps
        assert factory.cancelled == len(factory.calls), steps
        await asyncio.sleep(1)  # leases are given back
        assert flights.tasks == 0, steps
        assert await cache.get_or_set("a", Answer()) == 1


@virtual
async def test_a_caller_that_leaves_takes_nobody_along(scene: Scene) -> None:
    cache, factory = scene.cache(), Answers(5)
    first, second = await soon(lambda: cache.get_or_set_many(["a", "b"], factory), 2)
    (single,) = await soon(lambda: cache.get_or_set("b", Answer()), 1)
    first.cancel()
    await asyncio.sleep(1)
    second.cancel()
    assert await single == "answer b"
    assert factory.calls == [["a", "b"]]


@virtual
async def test_a_batch_that_takes_too_long_frees_its_keys(scene: Scene) -> None:
    cache, factory = scene.cache(factory_timeout=2), Answers(3600)
    with pytest.raises(TimeoutError):
        await cache.get_or_set_many(["a", "b"], factory)
    assert factory.cancelled == 1
    assert await cache.get_or_set_many(["a", "b"], Answers()) == {"a": "answer a", "b": "answer b"}


@virtual
async def test_bypass_asks_the_factory_for_everything(scene: Scene) -> None:
    cache, factory = scene.cache(), Answers(out={"a": Computed(1), "b": 2, "nobody asked": 3})
    await cache.set("a", "stored")
    with bypass():
        assert await cache.get_or_set_many(["a", "b", "c"], factory) == {"a": 1, "b": 2}
        assert await cache.get_many(["a"]) == {}
    assert factory.calls == [["a", "b", "c"]]
    assert await cache.get_many(["a", "b"]) == {"a": "stored"}


@virtual
async def test_an_invalidation_during_a_batch_makes_its_answer_be_born_dead(scene: Scene) -> None:
    cache, other = scene.cache(), scene.cache()
    (batch,) = await soon(lambda: cache.get_or_set_many(["a", "b"], Answers(2), tags=["t"]), 1)
    await other.delete("a")
    assert await batch == {"a": "answer a", "b": "answer b"}
    assert await other.get_many(["a", "b"]) == {"b": "answer b"}
    (again,) = await soon(lambda: cache.get_or_set_many(["c", "d"], Answers(2), tags=["t"]), 1)
    await other.invalidate_tags("t")
    await again
    assert await other.get_many(["b", "c", "d"]) == {}


@virtual
async def test_batches_that_outlive_a_killed_process_wait_for_nobody_while_they_hold_claims(scene: Scene) -> None:
    """Each would take over some of its keys, and wait for those that the other took over: until `factory_timeout`."""
    caches = [scene.cache(lease_ttl=0.5) for _ in range(3)]
    for number, cache in enumerate(caches):
        cache._engine.chance.seed(number)
        await cache.get("other")
    names = list("abcdefghij")
    for name in names:
        key = caches[0].key(name)
        killed = ClaimMark(b"a killed process", NO_TOKEN, False, caches[0]._engine.store_clock.now())
        await scene.memory.set_many({key: claim_bytes(key, killed)}, ttl=3600)
    factories = [Answers(1) for _ in caches]
    began = scene.clock.monotonic()
    calls = (cache.get_or_set_many(names, factory) for cache, factory in zip(caches, factories, strict=True))
    assert await asyncio.gather(*calls) == [{name: f"answer {name}" for name in names}] * 3
    assert scene.clock.monotonic() - began < 5
    assert sum(len(factory.calls) for factory in factories) <= 3


@virtual
async def test_answers_under_other_names_are_an_error(scene: Scene) -> None:
    """They were nothing at all: `{}`, at the price of each answer, with every call."""
    cache, factory = scene.cache(), Answers(out={"1": "a", "2": "b"})
    with pytest.raises(
        ValueError, match=r"2 names, none of which it was given.* \(of type int\), not .* \(of type str\)"
    ):
        await cache.get_or_set_many([1, 2], factory)
    with bypass(), pytest.raises(ValueError, match="none of which"):
        await cache.get_or_set_many([1, 2], factory)
    assert await cache.get_or_set_many([1, 2], Answers(out={})) == {}


@virtual
async def test_requests_that_are_not_hashable_are_called_by_their_positions(scene: Scene) -> None:
    cache = scene.cache()
    asked: list[list[int]] = []

    async def factory(names: list[Any]) -> dict[int, int]:
        asked.append(names)
        return {name: 10 * name for name in names}

    requests: list[Any] = [{"q": 1}, {"q": 2}, {"q": 1}]
    assert await cache.get_or_set_many(requests, factory) == {0: 0, 1: 10, 2: 0}
    assert asked == [[0, 1]]
    some: list[Any] = [{"q": 2}, "other", {"q": 1}]
    assert await cache.get_many(some) == {0: 10, 2: 0}
    assert await cache.get({"q": 2}) == 10


@virtual
async def test_each_of_many_may_have_a_ttl_of_its_own(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set_many({"a": Computed(1, ttl="10s"), "b": Computed(2, ttl=None), "c": 3}, ttl=timedelta(seconds=20))
    lives = [(await cache.lookup(name)).fresh_for for name in "abc"]
    assert lives == [pytest.approx(10), None, pytest.approx(20)]
