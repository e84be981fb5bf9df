"""What a lookup tells, and what a factory may say."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta
from typing import Any

import pytest

from cachecore import Computed, Lookup
from cachecore.contract.errors import OptionsError
from cachecore.contract.results import Outcome
from tests.unit.virtual_caches import Scene, virtual


@pytest.mark.parametrize(
    ("outcome", "found", "cached"),
    [
        ("hit", True, True),
        ("stale", True, True),
        ("rescued", True, True),
        ("computed", True, False),
        ("bypass", True, False),
        ("miss", False, False),
    ],
)
def test_found_and_cached_follow_the_outcome(outcome: Outcome, found: bool, cached: bool) -> None:
    lookup: Lookup[object] = Lookup(value=None, outcome=outcome)
    assert (lookup.found, lookup.cached) == (found, cached)


def test_results_cannot_be_changed_and_compare_by_what_they_say() -> None:
    lookup = Lookup(value=1, outcome="hit", version=object())
    with pytest.raises(dataclasses.FrozenInstanceError):
        lookup.value = 2  # type: ignore[misc]  # what a type checker refuses too
    assert lookup == Lookup(value=1, outcome="hit", version=object())
    assert "version" not in repr(lookup)
    with pytest.raises(TypeError):
        Computed(1, 30)  # type: ignore[call-arg]  # options are named


@virtual
async def test_a_computed_may_be_set_as_well(scene: Scene) -> None:
    cache = scene.cache(namespace="n")
    value = Computed([1], ttl=timedelta(seconds=5), tags=["t"], served_by="us", metadata={"n": 1})
    assert await cache.set("q", value) is True
    seen = await cache.lookup("q")
    assert (seen.value, seen.served_by, seen.metadata) == ([1], "us", {"n": 1})
    assert seen.fresh_for == pytest.approx(5)
    await cache.invalidate_tags("t")
    assert await cache.get("q") is None


@pytest.mark.parametrize("ttl", ["soon", True, [5]])
def test_what_is_no_duration_is_an_error_where_it_is_written(ttl: Any) -> None:
    with pytest.raises(OptionsError, match="ttl must"):
        Computed("answer", ttl=ttl)


@virtual
async def test_ttl_that_is_over_is_an_error_of_a_set_alone(scene: Scene) -> None:
    """A factory's answer is paid for and returned all the same; a `set` has no other answer to give."""
    cache = scene.cache()
    for ttl in (0, -1, math.nan, math.inf):
        with pytest.raises(OptionsError, match="ttl must"):
            await cache.set("q", Computed("answer", ttl=ttl))
        with pytest.raises(OptionsError, match="ttl must"):
            await cache.set_many({"q": Computed("answer", ttl=ttl)})
