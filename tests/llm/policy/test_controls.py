"""Controls of one call: what is not known is an error in code, and ignored in a header."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import OptionsError
from cachecore.contract.results import UNSET
from cachecore_llm.policy.controls import DEFAULT, Controls


def test_durations_are_seconds() -> None:
    controls = Controls(ttl="24h", max_age=timedelta(minutes=5), stale_if_error=90)
    assert (controls.ttl, controls.max_age, controls.stale_if_error) == (86_400.0, 300.0, 90.0)


def test_ttl_that_is_not_given_is_not_for_ever() -> None:
    assert Controls().ttl is UNSET
    assert Controls(ttl=None).ttl is None
    assert Controls(ttl="forever").ttl is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tll": 5}, r"Controls has no control 'tll': did you mean ttl=5\?"),
        ({"no-store": True}, r"did you mean no_store=True\?"),
        ({"temperature": 0}, "there are ttl, no_store, refresh, max_age"),
        ({"ttl": 0}, "ttl must be more than 0 seconds"),
        ({"ttl": "soon"}, "ttl must be a duration"),
        ({"max_age": -1}, "max_age must be 0 seconds or more and finite, not -1"),
        ({"max_age": float("nan")}, "max_age must be 0 seconds or more"),
        ({"stale_if_error": float("inf")}, "stale_if_error must be 0 seconds or more"),
        ({"no_store": 1}, "no_store must be True or False, not 1"),
        ({"sample": -1}, "sample must be a whole number"),
        ({"sample": True}, "sample must be a whole number"),
        ({"sample": 1 << 63}, "sample must be a whole number"),
        ({"only_if_cached": True, "refresh": True}, "give one of them"),
    ],
)
def test_wrong_controls(given: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionsError, match=told):
        Controls(**given)


@pytest.mark.parametrize(
    ("header", "controls"),
    [
        ("", {}),
        ("no-store", {"no_store": True}),
        ("No-Cache", {"refresh": True}),
        ("max-age=0", {"max_age": 0}),
        ('max-age="60", stale-if-error=30', {"max_age": 60, "stale_if_error": 30}),
        ("only-if-cached", {"only_if_cached": True}),
        ("only-if-cached, no-cache", {"only_if_cached": True, "max_age": 0}),
        ("ttl=60, sample=2", {"ttl": 60, "sample": 2}),
        ("ttl=0", {}),
        ("similar", {"similar": True}),
        ("Similar, max-age=5", {"similar": True, "max_age": 5}),
        ("no-similar", {"similar": False}),
        ("similar, no-similar", {"similar": False}),
        ("no-similar, similar", {"similar": False}),
        ("similar=no, no-similar=0, similarity, not-similar", {}),
        ("max-age=5, max-age=9", {"max_age": 5}),
        ("max-age=9999999999999", {"max_age": 10**9}),
        ("max-age=1.5, max-age=-1, max-age, max-age=٣, sample=x", {}),
        ("max-stale=30, min-fresh=5", {"max_stale": 30, "min_fresh": 5}),
        ("max-stale", {"max_stale": 10**9}),
        ("max-stale=x, min-fresh", {}),
        ('no-transform, x="a, no-store"', {}),
        ("@@, no-store", {"no_store": True}),
        ("no-store;max-age=1", {"no_store": True, "max_age": 1}),
    ],
)
def test_header(header: str, controls: dict[str, Any]) -> None:
    assert Controls.from_cache_control(header) == Controls(**controls)


@given(st.text() | st.text('no-stremaxg=,"; 0159'))
def test_no_header_raises(header: str) -> None:
    assert isinstance(Controls.from_cache_control(header), Controls)


def test_header_without_controls_makes_no_object() -> None:
    assert Controls.from_cache_control("no-transform") is DEFAULT
