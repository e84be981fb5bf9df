"""`explain` names exactly the places where two requests differ, and tells their text only when asked."""

from __future__ import annotations

import enum
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from typing import Any
from uuid import UUID

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import encode
from cachecore.keys.explain import explain

SECRET = "the customer's own words"


@dataclass
class FromUser:
    text: str


@dataclass
class FromSystem:
    text: str


class Mode(enum.Enum):
    BRIEF = 1
    LONG = 2


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.frozensets(st.integers(0, 3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 2), inner, max_size=3)
        | st.builds(lambda kind, text: kind(text), st.sampled_from([FromUser, FromSystem]), inner)
    ),
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
    """The root has a name; a record is compared by its class and its fields; sets by their members."""

    @dataclass
    class Request:
        q: str
        tags: frozenset[str]

    assert lines("a", "b") == ["request value"]
    assert lines([], {}) == ["request type"]
    assert lines(UUID(int=1), str(UUID(int=1))) == ["request type"]
    assert lines({1, 2}, [1, 2]) == ["request type"]
    assert lines(Request("x", frozenset("ab")), {"q": "x", "tags": {"b", "c"}}) == [
        "request class",
        "tags{item} only in a",
        "tags{item} only in b",
    ]


def told(a: Any, b: Any) -> list[str]:
    return str(explain({"x": [a]}, {"x": [b]})).splitlines()


def test_a_difference_of_class_is_told_by_the_names() -> None:
    """Names of classes are code and no secret; fields that differ besides are told after them."""
    assert told(FromSystem("be brief"), FromUser("be brief")) == ["x[0]: class: FromSystem / FromUser"]
    assert told(FromUser("a"), {"text": "a"}) == ["x[0]: class: FromUser / dict"]
    assert [line.partition(" (")[0] for line in told(FromUser("a"), FromSystem("b"))] == [
        "x[0]: class: FromUser / FromSystem",
        "x[0].text: value: str of 1",
    ]
    assert [line.partition(" (")[0] for line in told(FromUser("a"), FromUser("b"))] == ["x[0].text: value: str of 1"]
    elsewhere = make_dataclass("FromUser", ["text"])
    elsewhere.__module__ = "elsewhere"
    assert told(FromUser("a"), elsewhere("a")) == [f"x[0]: class: {__name__}.FromUser / elsewhere.FromUser"]


def test_members_of_an_enum_are_told_by_the_names() -> None:
    """Of one Enum by the member, of two by the class, and beside other values by the type."""
    moved: Any = enum.Enum
    again = moved("Mode", {"BRIEF": 1, "LONG": 3}, module=__name__)
    other = moved("Other", {"BRIEF": 1}, module=__name__)
    assert explain(Mode.BRIEF, Mode.LONG).differences[0].kind == "value"
    assert told(Mode.BRIEF, Mode.LONG)[0].endswith("(BRIEF and LONG)")
    assert told(Mode.LONG, again.LONG)[0].endswith("(another value of LONG)")
    assert told(Mode.BRIEF, other.BRIEF) == ["x[0]: class: Mode / Other"]
    assert told(Mode.BRIEF, 1) == ["x[0]: class: Mode / int"]


def test_class_objects_are_told_by_name_and_schema() -> None:
    """Another class by its name, an edited one by the place in its schema."""
    before, after = (pydantic.create_model("City", name=(str, default)) for default in ("a", "b"))
    assert lines(before, after) == ["schema.properties.name.default value"]
    assert told(before, pydantic.create_model("Town", name=(str, "a")))[0] == "x[0]: class: class City / class Town"
    assert told(before, "City") == ["x[0]: class: class City / str"]


def test_dicts_with_other_keys_are_told_by_the_places_of_these() -> None:
    """A key that is no text has no name; text keys keep theirs."""
    assert lines({1: "a", 2: "b"}, {1: "a", 2: "c"}) == ["<key 1> value"]
    assert lines({1: "a", "name": "b"}, {"name": "c"}) == ["name value", "<key 1> only in a"]
    assert lines({1: "a"}, {"1": "a"}) == ["<key 0> only in b", "<key 1> only in a"]
    assert lines({1: {"a": 1}}, [1]) == ["request type"]
    assert "dict of 1" in str(explain({1: 2}, [1]))


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


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: {1: v}])
def test_requests_as_deep_as_they_may_be_are_explained(wrap: Callable[[Any], Any]) -> None:
    """One difference, 255 levels down."""
    a: Any = 1
    b: Any = 2
    for _ in range(255):
        a, b = wrap(a), wrap(b)
    (only,) = explain(a, b).differences
    assert (only.kind, only.a and only.a.type) == ("value", "int")
