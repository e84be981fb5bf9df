"""`typed`: values of a declared type come back as they are, and of no other type or shape."""

from __future__ import annotations

import collections
import dataclasses
import enum
import pathlib
import subprocess
import sys
import types
from typing import Any, Literal, Optional, TypedDict

import msgspec
import pydantic
import pytest

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.serializers.exact import same
from cachecore.serializers.fingerprint import fingerprint
from cachecore.serializers.typed import TypedSerializer
from tests.unit.serializers import answers
from tests.unit.serializers.answers import BAD, GOOD, Answer, Choosy, Model, Plain, Struct, Usage
from tests.unit.serializers.bombs import TYPED_BOMBS
from tests.unit.serializers.contexts import assert_refused_cheaply, context


class History(pydantic.BaseModel):
    last: collections.deque[int]


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_typed_values_come_back_as_they_are(number: int) -> None:
    value_type, value = GOOD[number]
    serializer = TypedSerializer(value_type=value_type)
    read = serializer.loads(serializer.dumps(value, context()), context())
    assert type(read) is type(value)
    assert same(value, read)


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_would_change_is_refused(number: int) -> None:
    """Subclasses, undeclared, excluded and converted parts would be lost without a word."""
    value_type, value = BAD[number]
    with pytest.raises(EncodingError):
        TypedSerializer(value_type=value_type).dumps(value, context())


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        (collections.deque[int], collections.deque([1], 3)),
        (collections.defaultdict[str, int], collections.defaultdict(lambda: 7, a=1)),
        (History, History(last=collections.deque([1], 3))),
        (pathlib.Path, pathlib.Path("/\udce9")),
        (pathlib.PurePath, pathlib.PureWindowsPath("a")),
        (complex, complex(-0.0, 2.0)),
    ],
    ids=[
        "length of a deque",
        "factory of a dict",
        "deque in a model",
        "path that is no text",
        "path of another system",
        "sign of a zero",
    ],
)
def test_collections_that_would_behave_otherwise_are_refused(value_type: Any, value: Any) -> None:
    """Equal to what is read back, and yet another one."""
    with pytest.raises(EncodingError):
        TypedSerializer(value_type=value_type).dumps(value, context())


@pytest.mark.parametrize("value_type", [Answer, Struct, Model])
def test_a_payload_of_another_type_is_refused(value_type: Any) -> None:
    serializer = TypedSerializer(value_type=value_type)
    for other_type, value in GOOD:
        if other_type is not value_type and not isinstance(value, value_type):
            data = TypedSerializer(value_type=other_type).dumps(value, context())
            with pytest.raises(EncodingError):
                serializer.loads(data, context())
    for junk in (b"", b"\xc0", b"null", b"{}", b"\x80", b"\x93\x01\x02\x03", b'{"text": 1}', b"\xc1"):
        with pytest.raises(EncodingError):
            serializer.loads(junk, context())


def test_names_tell_types_apart() -> None:
    """An entry says which type wrote it, so one of another type is a miss before it is read."""
    names = {TypedSerializer(value_type=value_type).name for value_type, _ in GOOD}
    assert len(names) == len({repr(value_type) for value_type, _ in GOOD})
    assert TypedSerializer(value_type=Answer).name == TypedSerializer(value_type=Answer).name
    assert TypedSerializer(value_type=Answer, version="2").name != TypedSerializer(value_type=Answer).name


def shape(**fields: Any) -> type:
    made = dataclasses.make_dataclass("Shape", [(name, *spec) for name, spec in fields.items()])
    made.__module__ = __name__
    return made


def test_an_older_shape_is_never_half_read() -> None:
    """Each change of a class makes its earlier entries misses; none is filled up with defaults."""

    class Colour(enum.Enum):
        RED = 1

    class MoreColour(enum.Enum):
        RED = 1
        BLUE = 2

    MoreColour.__qualname__ = Colour.__qualname__
    shapes = [
        shape(a=(int,)),
        shape(a=(int,), b=(int, 0)),
        shape(a=(int,), b=(int, 1)),
        shape(a=(int,), b=(str, "0")),
        shape(a=(int,), b=(list[int], dataclasses.field(default_factory=list))),
        shape(a=(int,), b=(list[str], dataclasses.field(default_factory=list))),
        shape(a=(int,), b=(set[int], dataclasses.field(default_factory=set))),
        shape(a=(int | None,)),
        shape(a=(float,)),
        shape(c=(int,)),
        shape(a=(Literal["x"],)),
        shape(a=(Literal["x", "y"],)),
        shape(a=(Usage,)),
        shape(a=(shape(a=(int,)),)),
        shape(a=(shape(a=(int,), b=(int, 0)),)),
        shape(a=(Colour,)),
        shape(a=(MoreColour,)),
        shape(a=(tuple[int, ...],)),
        shape(a=(tuple[int, int],)),
    ]
    assert len({fingerprint(one) for one in shapes}) == len(shapes)
    assert fingerprint(shape(a=(int,))) == fingerprint(shape(a=(int,)))
    assert fingerprint(shape(a=(Optional[int],))) == fingerprint(shape(a=(int | None,)))  # noqa: UP045 - both spellings


class Row(TypedDict):
    a: int


class OptionalRow(TypedDict, total=False):
    a: int


class TextRow(TypedDict):
    a: str


def test_shapes_of_structs_models_and_typed_dicts_count_too() -> None:
    made: list[Any] = [
        msgspec.defstruct("S", [("a", int)]),
        msgspec.defstruct("S", [("a", int), ("b", int, 0)]),
        msgspec.defstruct("S", [("a", int), ("b", int, 1)]),
        pydantic.create_model("M", a=(int, ...)),
        pydantic.create_model("M", a=(int, 5)),
        pydantic.create_model("M", a=(int, ...), b=(int, 0)),
        pydantic.create_model("M", a=(int, pydantic.Field(gt=0))),
    ]
    for typed_dict in (Row, OptionalRow, TextRow):
        typed_dict.__qualname__ = "D"
        made.append(typed_dict)
    assert len({fingerprint(one) for one in made}) == len(made)


def test_fingerprints_are_the_same_in_every_process() -> None:
    code = (
        "from tests.unit.serializers.answers import GOOD\n"
        "from cachecore.serializers.fingerprint import fingerprint\n"
        "print([fingerprint(value_type) for value_type, _ in GOOD])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {f"{[fingerprint(value_type) for value_type, _ in GOOD]}\n"}


def test_whatever_a_class_raises_about_stored_bytes_is_a_miss() -> None:
    serializer = TypedSerializer(value_type=Choosy)
    data = serializer.dumps(Choosy("good"), context())
    with pytest.raises(EncodingError) as caught:
        serializer.loads(data.replace(b"\xa4good", b"\xa3bad"), context())
    assert "prompt-xyz" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("value_type", [Answer, Model])
def test_refusals_never_quote_a_value(value_type: Any) -> None:
    serializer = TypedSerializer(value_type=value_type)
    for data in (b'{"content": ["prompt-xyz"]}', b"\x81\xa4text\x91\xaaprompt-xyz", b'{"usage": "prompt-xyz"}'):
        with pytest.raises(EncodingError) as caught:
            serializer.loads(data, context())
        assert "prompt-xyz" not in str(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("value_type", [Plain, object, list[Plain], dict[str, answers.Plain | None], Answer | Plain])
def test_types_that_cannot_be_stored_are_refused_while_building(value_type: Any) -> None:
    with pytest.raises(OptionsError, match="value_type"):
        TypedSerializer(value_type=value_type)


def test_annotations_that_name_nothing_are_refused_while_building() -> None:
    made = dataclasses.make_dataclass("Unresolved", [("a", "NoSuchName")])
    with pytest.raises(OptionsError, match="NoSuchName"):
        TypedSerializer(value_type=made)


def test_an_old_pydantic_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    old = types.ModuleType("pydantic")
    monkeypatch.setattr(old, "VERSION", "1.10.24", raising=False)
    monkeypatch.setitem(sys.modules, "pydantic", old)
    for value_type in (History, pathlib.Path):
        with pytest.raises(OptionsError, match=r"pydantic 2|cannot be stored"):
            TypedSerializer(value_type=value_type)


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    for value_type in (Usage, answers.Speech):
        with pytest.raises(OptionsError, match=r"pip install 'cachecore-framework\[struct\]'"):
            TypedSerializer(value_type=value_type)


def test_limits_hold_both_ways() -> None:
    large = TypedSerializer(value_type=list[int])
    small = TypedSerializer(value_type=list[int], max_elements=10, max_bytes=100)
    for over in ([1] * 11, [2**40] * 12):
        with pytest.raises(EncodingError):
            small.dumps(over * 2, context())
        with pytest.raises(EncodingError):
            small.loads(large.dumps(over * 2, context()), context())


@pytest.mark.parametrize("name", TYPED_BOMBS)
def test_bombs_are_refused_before_anything_is_made(name: str) -> None:
    value_type, make = TYPED_BOMBS[name]
    assert_refused_cheaply(TypedSerializer(value_type=value_type).loads, make())


def test_sameness_tells_equal_values_apart() -> None:
    assert same([1, {"a": (1.0, None)}], [1, {"a": (1.0, None)}])
    pairs: list[tuple[Any, Any]] = [(1, True), (1, 1.0), (0.0, -0.0), ([1], (1,)), ({"a": 1}, {"a": 1.0})]
    pairs += [(Usage(1), answers.BetterUsage(1)), (Usage(1), Usage(True)), (b"a", bytearray(b"a")), ([1], [1, 2])]
    for first, second in pairs:
        assert not same(first, second)
        assert not same(second, first)
    assert not same(complex(1.0, 0.0), complex(1.0, -0.0))
    assert same(complex(1.0, -0.0), complex(1.0, -0.0))
