"""Views of one cache: what they share, and what each keeps to itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from cachecore import Cache, OptionsError
from cachecore.serializers.encrypted import EncryptedSerializer
from tests.unit.virtual_caches import Answer, Scene, virtual


@dataclass(frozen=True, slots=True)
class Cat:
    name: str


@dataclass(frozen=True, slots=True)
class Dog:
    name: str


async def asked(cache: Cache[Any], request: Any) -> list[Any]:
    """Return what every way of asking says, without computing anything new."""
    many = await cache.get_or_set_many([request], _leave_out)
    return [
        await cache.get(request),
        cache.peek(request),
        (await cache.lookup(request)).value,
        (await cache.get_many([request])).get(request),
        many.get(request),
    ]


async def _leave_out(names: list[Any]) -> dict[Any, Any]:
    return {}


@pytest.mark.parametrize("memory", [True, False])
def test_a_view_serves_only_what_carries_its_tags(memory: bool) -> None:
    """Also when another view of the namespace has left a copy in memory."""

    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache(l1_max_entries=10 if memory else 0)
        view = cache.scoped(tags=["t"])
        for value in ("text", ["list"]):
            await cache.set("q", value)
            assert await asked(view, "q") == [None] * 5
            await view.set("q", value)
            expected = [value] * 5 if memory else [value, None, value, value, value]
            assert await asked(view, "q") == expected
            assert await asked(cache, "q") == expected
            await cache.invalidate_tags("t")
            assert await asked(cache, "q") == [None] * 5
        await cache.set("q", "untagged")
        assert await view.get_or_set("q", Answer()) == 1

    check()


@pytest.mark.parametrize("memory", [True, False])
def test_a_view_serves_only_values_of_its_type(memory: bool) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cats = scene.cache(value_type=Cat, l1_max_entries=10 if memory else 0)
        dogs = cats.scoped(value_type=Dog)
        more_cats = cats.scoped(value_type=Cat)
        await cats.set("q", Cat("Tom"))
        assert await cats.get("q") == await more_cats.get("q") == Cat("Tom")
        assert await asked(dogs, "q") == [None] * 5
        await dogs.set("q", Dog("Rex"))
        assert await dogs.get("q") == Dog("Rex")
        assert await cats.get("q") == Cat("Tom")  # each type has keys of its own

    check()


@pytest.mark.parametrize("value", ["text", ["list"]])
def test_a_view_with_another_secret_reads_nothing(value: Any) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        ours, theirs = (EncryptedSerializer(keys={"k": bytes([n]) * 32}) for n in (1, 2))
        cache = scene.cache(serializer=ours)
        view = cache.scoped(serializer=theirs)
        await cache.set("q", value)
        assert await cache.get("q") == value
        assert await asked(view, "q") == [None] * 5

    check()


@virtual
async def test_views_of_other_namespaces_never_meet(scene: Scene) -> None:
    cache = scene.cache()
    one, two, deeper = cache.scoped("one"), cache.scoped("two"), cache.scoped("one").scoped("deeper")
    for number, view in enumerate((cache, one, two, deeper)):
        await view.set("q", number)
    assert [await view.get("q") for view in (cache, one, two, deeper)] == [0, 1, 2, 3]
    assert deeper.key("q") == cache.scoped("one/deeper").key("q")
    assert await cache.invalidate_prefix("one") == 2
    assert [await view.get("q") for view in (cache, one, two, deeper)] == [0, None, 2, None]
    assert await two.invalidate_all() == 1
    assert [await view.get("q") for view in (cache, one, two, deeper)] == [0, None, None, None]


@virtual
async def test_a_view_has_the_ttl_and_the_rule_it_is_given(scene: Scene) -> None:
    cache = scene.cache(ttl=60, admit=lambda value: value != "no")
    short, free = cache.scoped("short", ttl=5), cache.scoped("free", admit=None, ttl=None)
    for view in (cache, short, free):
        assert await view.get_or_set("q", Answer()) == 1
        assert await view.get_or_set("no", _no) == "no"
    fresh = [(await view.lookup("q")).fresh_for for view in (cache, short, free)]
    assert fresh == [pytest.approx(60), pytest.approx(5), None]
    assert [await view.get("no") for view in (cache, short, free)] == [None, None, "no"]
    with pytest.raises(OptionsError, match="l1_max_bytes"):
        cache.scoped("x", l1_max_bytes=5)  # type: ignore[call-arg]  # what a type checker must refuse
    with pytest.raises(OptionsError, match="one string"):
        cache.scoped("x", tags="one string")


async def _no() -> str:
    return "no"


@virtual
async def test_a_named_view_counts_for_itself(scene: Scene) -> None:
    cache = scene.cache()
    named, nameless = cache.scoped("named", name="named"), cache.scoped("nameless")
    for view in (cache, named, nameless):
        await view.get_or_set("q", Answer())
        await view.get("q")
    assert (named.stats.computed, named.stats.hits) == (1, 1)
    assert (cache.stats.computed, cache.stats.hits) == (2, 2)
    assert nameless.stats == cache.stats
    assert named.stats.hit_rate == 0.5


@virtual
async def test_views_share_the_computation_of_a_key(scene: Scene) -> None:
    cache, factory = scene.cache(), Answer(1)
    one, two = cache.scoped("faq"), cache.scoped("faq")
    lookup, value = await asyncio.gather(one.lookup("q", factory), two.get_or_set("q", factory))
    assert (lookup.value, value, factory.calls) == (1, 1, 1)


@virtual
async def test_views_of_other_types_share_no_computation(scene: Scene) -> None:
    cats = scene.cache(value_type=Cat)
    dogs = cats.scoped(value_type=Dog)

    async def tom() -> Cat:
        await asyncio.sleep(1)
        return Cat("Tom")

    async def rex() -> Dog:
        await asyncio.sleep(1)
        return Dog("Rex")

    both = await asyncio.gather(cats.get_or_set("q", tom), dogs.get_or_set("q", rex))
    assert list(both) == [Cat("Tom"), Dog("Rex")]
