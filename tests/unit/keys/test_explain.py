"""`explain` names exactly the places where two requests differ, and tells their text only when asked."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import encode
from cachecore.keys.explain import explain

SECRET = "the customer's own words"

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.frozensets(st.integers(0, 3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def lines(a: Any, b: Any, **options: bool) -> list[str]:
    return [f"{found.path} {found.kind}" for found in explain(a, b, **options).differences]


@given(plain, plain)
def test_no_difference_if_and_only_if_one_key(a: Any, b: Any) -> None:
    """What the explanation says and what the key does never disagree."""
    assert explain(a, b).same == (encode(a) == encode(b))
    assert explain(a, a).same


@given(plain, plain)
def test_the_other_way_round(a: Any, b: Any) -> None:
    """Turning the requests around turns the sides around."""
    turned = {"only in a": "only in b", "only in b": "only in a"}
    there = [(found.path, turned.get(found.kind, found.kind), found.b, found.a) for found in explain(a, b).differences]
    back = [(found.path, found.kind, found.a, found.b) for found in explain(b, a).differences]
    assert sorted(there, key=repr) == sorted(back, key=repr)


def test_each_kind_of_difference() -> None:
    """Value, type, and what only one of the two has."""
    a = {"model": "m", "n": 1, "messages": [{"role": "user", "content": "Hi"}], "stop": None}
    b = {"model": "m", "n": 1.0, "messages": [{"role": "user", "content": "Ho"}, {"role": "assistant"}], "seed": 3}
    assert lines(a, b) == [
        "messages[0].content value",
        "messages[1] only in b",
        "n type",
        "seed only in b",
        "stop only in a",
    ]


def test_differences_between_whole_requests() -> None:
    """The root has a name; a record is compared as its fields; sets by their members."""

    @dataclass
    class Request:
        q: str
        tags: frozenset[str]

    assert lines("a", "b") == ["request value"]
    assert lines([], {}) == ["request type"]
    assert lines(UUID(int=1), str(UUID(int=1))) == ["request type"]
    assert lines({1, 2}, [1, 2]) == ["request type"]
    assert lines(Request("x", frozenset("ab")), {"q": "x", "tags": {"b", "c"}}) == [
        "tags{item} only in a",
        "tags{item} only in b",
    ]


@pytest.mark.parametrize(
    ("a", "b", "note"),
    [
        ("caf\u00e9", "cafe\u0301", "the same after Unicode normalisation"),
        ("Hi", "hI", "differ by case only"),
        ("a b", "a  b\n", "differ by white space only"),
        ("abcd", "abXd", "from character 2 on"),
        ("ab", "abc", "from character 2 on"),
        (1, "1", "equal but for their types"),
        (1, 1.0, "equal but for their types"),
        (1, 2, ""),
        (1, None, ""),
    ],
)
def test_usual_differences_have_a_note(a: Any, b: Any, note: str) -> None:
    """What splits keys most often is said in words."""
    assert explain({"x": a}, {"x": b}).differences[0].note == note


def test_text_is_told_only_when_asked() -> None:
    """Neither values nor keys that may be text are shown without `text`; with it they are."""
    a = {"q": SECRET, SECRET: 1, "n": {"same": 1}, "only": [SECRET], "set": {SECRET}}
    b = {"q": SECRET + ".", SECRET: 2, "n": {"same": 1}, "set": {1}}
    quiet = explain(a, b)
    assert SECRET not in f"{quiet} {quiet!r} {json.dumps(quiet.as_dict())}"
    assert "str of 24 (" in str(quiet)
    assert repr(SECRET) in str(explain(a, b, text=True))


def test_lengths_and_digests_are_those_of_the_values() -> None:
    """Equal values have equal digests wherever they are, so that moved text can be recognised."""
    moved = explain({"a": "x" * 50, "b": ""}, {"a": "", "b": "x" * 50}).differences
    assert moved[0].a == moved[1].b
    assert moved[0].a is not None
    assert moved[0].a.size == 50
    assert len(moved[0].a.digest) == 8


def test_the_same_requests() -> None:
    """No difference is an answer too."""
    fields = [(f"f{i}", i) for i in range(20)]
    shuffled = random.Random(1).sample(fields, 20)
    same = explain(dict(fields), dict(shuffled))
    assert same.same
    assert str(same) == "the requests are the same"
    assert same.as_dict() == {"same": True, "differences": []}


def test_what_cannot_be_keyed_cannot_be_explained() -> None:
    """The error is that of the key."""
    with pytest.raises(UnkeyableError, match=r"^a\[0\]: cannot key a complex"):
        explain({}, {"a": [1j]})
