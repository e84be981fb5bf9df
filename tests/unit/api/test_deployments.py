"""Two deployments over one store whose value formats differ: an entry each while they overlap."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

import pytest

from cachecore import Cache
from cachecore.serializers.compressed import CompressedSerializer
from tests.unit.virtual_caches import Answer, Scene, virtual

Old: Any = make_dataclass("Reply", [("text", str)])
New: Any = make_dataclass("Reply", [("text", str), ("score", float, 0.0)])
for kind in (Old, New):
    kind.__module__ = __name__


def pairs(scene: Scene) -> list[tuple[Cache[Any], Any, Cache[Any], Any]]:
    """Return caches of two formats, with a value for each."""
    return [
        (scene.cache(value_type=Old), Old("hi"), scene.cache(value_type=New), New("hi", 0.5)),
        (scene.cache(), "hi", scene.cache(serializer="json"), "hi"),
        (scene.cache(namespace="z"), "hi", scene.cache(namespace="z", serializer=CompressedSerializer()), "hi"),
    ]


@pytest.mark.parametrize("which", range(3))
def test_each_keeps_its_own_entry(which: int) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        old, first, new, second = pairs(scene)[which]
        calls = 0

        async def ask(value: Any) -> Any:
            nonlocal calls
            calls += 1
            return value

        for _ in range(10):
            assert await old.get_or_set("q", lambda: ask(first)) == first
            assert await new.get_or_set("q", lambda: ask(second)) == second
            old._engine.l1.clear()
            new._engine.l1.clear()
        assert calls == 2
        assert not old.stats.rejected
        assert not new.stats.rejected

    check()


@pytest.mark.parametrize("how", ["tags", "prefix", "all"])
def test_invalidations_reach_both(how: str) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        old, new = (scene.cache(value_type=kind, namespace="faq", l1_max_entries=0) for kind in (Old, New))
        await old.scoped("v1").set("q", Old("hi"), tags=["t"])
        await new.scoped("v1").set("q", New("hi"), tags=["t"])
        if how == "tags":
            await old.invalidate_tags("t")
        else:
            assert await (old.invalidate_prefix("v1") if how == "prefix" else old.invalidate_all()) == 2
        assert await old.scoped("v1").get("q") is await new.scoped("v1").get("q") is None

    check()


@virtual
async def test_what_names_one_request_concerns_entries_of_its_own_format(scene: Scene) -> None:
    """As documented: what must go for both carries a tag."""
    old, new = scene.cache(value_type=Old), scene.cache(value_type=New)
    await old.set("q", Old("hi"))
    await new.set("q", New("hi"))
    assert await old.delete("q") is True
    assert await old.get("q") is None
    assert await new.get("q") == New("hi")


@virtual
async def test_plain_data_has_the_plain_key(scene: Scene) -> None:
    plain, typed = scene.cache(), scene.cache(value_type=Old)
    assert plain.key("q") == scene.cache(serializer="msgpack").key("q") != typed.key("q")
    assert typed.key("q") == scene.cache(value_type=Old).key("q")
    assert typed.scoped("n").key("q") == scene.cache(value_type=Old, namespace="n").key("q")

    @typed.cached(name="f")
    async def function(x: int) -> Any:
        return Old(str(x))

    before = function.key(1)
    await function(1)
    assert function.key(1) == before
    assert await typed.get_or_set("q", Answer()) == 1
