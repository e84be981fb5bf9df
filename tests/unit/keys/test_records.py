"""A record is the dict of its fields, whichever library made its class."""

from __future__ import annotations

import dataclasses
import enum
import gc
import weakref
from functools import cached_property
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from pydantic import v1 as pydantic_v1

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import encode
from cachecore.keys.walker import walk

T = TypeVar("T")


@dataclasses.dataclass
class Data:
    model: str
    n: int = 1
    note: str | None = dataclasses.field(default=None, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    model: str
    n: int = 1
    note: str | None = None


class Struct(msgspec.Struct):
    model: str
    n: int = 1
    note: str | None = None


class ArrayStruct(msgspec.Struct, array_like=True):
    model: str
    n: int = 1
    note: str | None = None


class RenamedStruct(msgspec.Struct, rename="camel"):
    model: str
    n: int = 1
    note: str | None = None


class Model(pydantic.BaseModel):
    model: str
    n: int = 1
    note: str | None = None

    @cached_property
    def derived(self) -> str:
        return self.model * 2


class OldModel(pydantic_v1.BaseModel):
    model: str
    n: int = 1
    note: str | None = None


@attrs.define
class Attrs:
    model: str
    n: int = 1
    note: str | None = None


@pydantic.dataclasses.dataclass
class PydanticData:
    model: str
    n: int = 1
    note: str | None = None


KINDS: list[Any] = [Data, Slotted, Struct, ArrayStruct, RenamedStruct, Model, OldModel, Attrs, PydanticData]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_record_is_the_dict_of_its_fields(kind: Any) -> None:
    """At the root, nested, inside another record, by both ways of encoding."""
    fields = {"model": "m", "n": 1, "note": None}
    record = kind(model="m")
    assert encode(record) == encode(fields) == walk(record)
    assert encode({"a": [record, record]}) == encode({"a": [fields, fields]}) == walk({"a": [record, record]})
    assert encode(Slotted(record)) == encode({"model": fields, "n": 1, "note": None})
    assert encode(kind(model="m", note="")) != encode(record)


def test_every_field_counts() -> None:
    """A field left out of comparison or of the repr is still asked of the model."""
    assert encode(Data("m", note="a")) != encode(Data("m", note="b"))


def test_a_cached_property_is_no_field() -> None:
    """Looking at a request does not change its key."""
    model = Model(model="m")
    before = encode(model)
    assert model.derived == "mm"
    assert encode(model) == before


def test_a_cached_property_of_an_old_model_is_no_field() -> None:
    """An extra field of the same name is one all the same."""

    class Old(pydantic_v1.BaseModel, extra="allow", keep_untouched=(cached_property,)):
        model: str

        @cached_property
        def derived(self) -> str:
            return self.model * 2

    asked = Old(model="m")
    before = encode(asked)
    assert asked.derived == "mm"
    assert encode(asked) == before
    assert encode(Old.parse_obj({"model": "m", "derived": "other"})) == encode({"model": "m", "derived": "other"})


@dataclasses.dataclass
class _Typed(Generic[T]):
    model: T


@attrs.define(slots=False)
class _OpenAttrs:
    model: str


@pytest.mark.parametrize("parent", [Data, Slotted, _Typed, _OpenAttrs])
def test_attributes_that_a_subclass_adds_are_not_lost(parent: Any) -> None:
    """A class that inherits its fields and is no record by itself is refused as soon as it holds more than them."""

    class Plain(parent):  # type: ignore[misc]  # any of several classes
        @cached_property
        def derived(self) -> str:
            return "d"

    class InSlots(parent):  # type: ignore[misc]  # any of several classes
        __slots__ = ("tenant",)

    same = Plain("m")
    object.__setattr__(same, "__orig_class__", parent)  # as typing leaves it
    assert same.derived == "d"
    assert encode(same) == encode(parent("m"))
    assert encode(InSlots("m")) == encode(parent("m"))
    for kind in (Plain, InSlots):
        more = kind("m")
        object.__setattr__(more, "tenant", "a")
        with pytest.raises(UnkeyableError, match=r"a: cannot key a .*, whose tenant is no field"):
            encode({"a": more})
        with pytest.raises(UnkeyableError, match="whose tenant is no field"):
            encode(more)


def test_extra_fields_count_and_private_attributes_do_not() -> None:
    """What a caller added to a model is part of the request, what a class keeps for itself is not."""

    class Open(pydantic.BaseModel, extra="allow"):
        model: str
        _client: object = pydantic.PrivateAttr(default=None)

    class OldOpen(pydantic_v1.BaseModel, extra="allow"):
        model: str
        _client: object = pydantic_v1.PrivateAttr(default=None)

    for kind in (Open, OldOpen):
        asked = kind(model="m", min_p=0.1)  # type: ignore[call-arg]  # extras are allowed
        asked._client = object()
        assert encode(asked) == encode({"model": "m", "min_p": 0.1})
        assert encode(asked) != encode(kind(model="m"))


def test_an_excluded_field_counts() -> None:
    """Leaving a field out of a dump does not take it out of the request."""

    class Hidden(pydantic.BaseModel):
        model: str
        user: str = pydantic.Field(exclude=True)

    assert encode(Hidden(model="m", user="a")) != encode(Hidden(model="m", user="b"))


def test_a_tag_tells_structs_apart() -> None:
    """Two structs with the same fields and different tags are different requests; a tag is a field."""

    class Text(msgspec.Struct, tag="text"):
        body: str

    class Code(msgspec.Struct, tag="code"):
        body: str

    assert encode(Text("x")) != encode(Code("x"))
    assert encode(Text("x")) == encode(msgspec.to_builtins(Text("x")))


def test_an_unset_field_is_a_missing_one() -> None:
    """None is a value; a field never set is not there."""

    class Optional(msgspec.Struct):
        a: int
        b: int | msgspec.UnsetType | None = msgspec.UNSET

    assert encode(Optional(1)) == encode({"a": 1})
    assert encode(Optional(1, None)) == encode({"a": 1, "b": None})
    partly = Model.model_construct(model="m")
    del partly.__dict__["note"]
    assert encode(partly) == encode({"model": "m", "n": 1})
    late = Data("m")
    del late.model
    assert encode(late) == encode({"n": 1, "note": None})
    with pytest.raises(UnkeyableError, match="a: cannot key a msgspec"):
        encode({"a": msgspec.UNSET})


def test_records_without_or_with_one_field() -> None:
    """Small records are dicts too."""

    @dataclasses.dataclass
    class Nothing:
        pass

    @dataclasses.dataclass
    class One:
        a: Any

    assert encode(Nothing()) == encode({})
    assert encode(One((1,))) == encode({"a": [1]})


def test_an_enum_mixed_with_a_record_is_its_value() -> None:
    """The value of the member decides."""

    @dataclasses.dataclass(frozen=True)
    class Size:
        width: int

    class Screen(Size, enum.Enum):
        SMALL = 320

    assert encode([Screen.SMALL]) == encode([Screen.SMALL.value])


def test_a_record_that_is_also_a_container_is_refused() -> None:
    """Nobody can tell whether its fields or its members are meant."""

    @dataclasses.dataclass
    class Both(dict):  # type: ignore[type-arg]  # the bare class is what is tested
        a: int

    with pytest.raises(UnkeyableError, match="record and a dict at once"):
        encode([Both(1)])


def test_a_class_is_not_kept_alive() -> None:
    """What is remembered of a class goes with it: a class made in a function holds what that function had."""

    def local_class() -> type:
        @dataclasses.dataclass
        class Local:
            a: int

        return Local

    made = local_class()
    assert encode(made(1)) == encode({"a": 1})
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
