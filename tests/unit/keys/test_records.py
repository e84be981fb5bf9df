"""Records and members of an Enum: the class and the fields, whichever library made the class."""

from __future__ import annotations

import dataclasses
import enum
import gc
import weakref
from collections import namedtuple
from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from pydantic import v1 as pydantic_v1

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import decode, encode
from cachecore.keys.decoded import Record
from cachecore.keys.tags import RECORD
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


class Named(NamedTuple):
    model: str
    n: int = 1
    note: str | None = None


FIELDS = {"model": "m", "n": 1, "note": None}
KINDS: list[Any] = [Data, Slotted, Struct, ArrayStruct, RenamedStruct, Model, OldModel, Attrs, PydanticData, Named]


def as_record(kind: type, fields: dict[str, Any]) -> Record:
    """Return what an instance of `kind` with these fields is decoded to."""
    return Record(RECORD, kind.__module__, kind.__qualname__, dict(sorted(fields.items())))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_record_is_its_class_and_its_fields(kind: Any) -> None:
    """At the root, nested, inside another record, by both ways of encoding."""
    record, meant = kind(model="m"), as_record(kind, FIELDS)
    assert decode(encode(record)) == meant
    assert encode(record) == walk(record) == encode(meant) == walk(meant)
    asked, outer = {"a": [record, record]}, Slotted(record)
    assert decode(encode(asked)) == {"a": [meant, meant]}
    assert encode(asked) == walk(asked)
    assert decode(encode(outer)) == as_record(Slotted, {**FIELDS, "model": meant})
    assert encode(outer) == walk(outer)
    assert encode(kind(model="m", note="")) != encode(record)


def test_equal_fields_of_two_classes_are_two_requests() -> None:
    """A system message is no user message, and neither is a dict, a list or a tuple of the fields."""
    records = [kind(model="m") for kind in KINDS]
    others = [FIELDS, list(FIELDS.values()), list(FIELDS.items()), ["Data", FIELDS], {"Data": FIELDS}]
    assert len({encode(one) for one in (*records, *others)}) == len(KINDS) + len(others)


def test_classes_of_one_name_are_told_apart_by_module_and_place() -> None:
    """A class in another module, inside another class or inside a function is another class."""

    class Outer:
        @dataclasses.dataclass
        class Data:
            model: str
            n: int = 1
            note: str | None = None

    elsewhere = dataclasses.make_dataclass("Data", list(FIELDS))
    elsewhere.__module__ = "elsewhere"
    unlike = [Data("m"), Outer.Data("m"), elsewhere("m", 1, None), PydanticData("m")]
    assert len({encode(one) for one in unlike}) == 4
    again = dataclasses.make_dataclass("Data", list(FIELDS))
    again.__module__, again.__qualname__ = Data.__module__, Data.__qualname__
    assert encode(again("m", 1, None)) == encode(Data("m"))  # the module was loaded again


def test_the_order_in_which_fields_are_declared_does_not_count() -> None:
    """A class with its lines in another order asks for the same."""
    made = [dataclasses.make_dataclass("Made", names) for names in (["a", "b"], ["b", "a"])]
    assert encode(made[0](a=1, b=2)) == encode(made[1](a=1, b=2))


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
    extra = Old.parse_obj({"model": "m", "derived": "other"})
    assert decode(encode(extra)) == as_record(Old, {"model": "m", "derived": "other"})


@dataclasses.dataclass
class _Typed(Generic[T]):
    model: T


@attrs.define(slots=False)
class _OpenAttrs:
    model: str


class _OneName(NamedTuple):
    model: str


@pytest.mark.parametrize("parent", [Data, Slotted, _Typed, _OpenAttrs, _OneName])
def test_attributes_that_a_subclass_adds_are_not_lost(parent: Any) -> None:
    """A class that inherits its fields and is no record by itself is refused as soon as it holds more than them."""

    class Plain(parent):  # type: ignore[misc]  # any of several classes
        @cached_property
        def derived(self) -> str:
            return "d"

    class More(parent):  # type: ignore[misc]  # any of several classes
        # A tuple takes no slots.
        if parent is not _OneName:
            __slots__ = ("tenant",)

    same = Plain("m")
    object.__setattr__(same, "__orig_class__", parent)  # as typing leaves it
    assert same.derived == "d"
    fields = decode(encode(parent("m"))).fields
    assert decode(encode(same)) == as_record(Plain, fields)
    assert decode(encode(More("m"))) == as_record(More, fields)
    for kind in (Plain, More):
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
        assert decode(encode(asked)) == as_record(kind, {"model": "m", "min_p": 0.1})
        assert encode(asked) == walk(asked) != encode(kind(model="m"))
        odd = kind(model="m", **{"not a name": 1})
        assert decode(encode(odd)) == as_record(kind, {"model": "m", "not a name": 1})


def test_extra_fields_of_a_pydantic_dataclass_count() -> None:
    """They are in its dict beside the fields and the cached properties."""

    @pydantic.dataclasses.dataclass(config={"extra": "allow"})
    class Open:
        model: str

        @cached_property
        def derived(self) -> str:
            return self.model * 2

    asked = Open(model="m", min_p=0.1)  # type: ignore[call-arg]  # extras are allowed
    assert asked.derived == "mm"
    assert decode(encode(asked)) == as_record(Open, {"model": "m", "min_p": 0.1})


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
    assert decode(encode(Text("x"))).fields == msgspec.to_builtins(Text("x"))


def test_an_unset_field_is_a_missing_one() -> None:
    """None is a value; a field never set is not there."""

    class Optional(msgspec.Struct):
        a: int
        b: int | msgspec.UnsetType | None = msgspec.UNSET

    assert decode(encode(Optional(1))) == as_record(Optional, {"a": 1})
    assert decode(encode(Optional(1, None))) == as_record(Optional, {"a": 1, "b": None})
    partly = Model.model_construct(model="m")
    del partly.__dict__["note"]
    assert decode(encode(partly)) == as_record(Model, {"model": "m", "n": 1})
    late = Data("m")
    del late.model
    assert decode(encode(late)) == as_record(Data, {"n": 1, "note": None})
    with pytest.raises(UnkeyableError, match="a: cannot key a msgspec"):
        encode({"a": msgspec.UNSET})


def test_records_without_or_with_one_field() -> None:
    """Small records are records too."""

    @dataclasses.dataclass
    class Nothing:
        pass

    @dataclasses.dataclass
    class One:
        a: Any

    assert decode(encode(Nothing())) == as_record(Nothing, {})
    assert decode(encode(One((1,)))) == as_record(One, {"a": [1]})


def test_a_tuple_with_fields_is_a_record_and_one_without_is_a_list() -> None:
    """A named tuple is read by its places, whatever its attributes say, and refused if it has other ones."""

    class Twisted(Named):
        __slots__ = ()

        @property
        def model(self) -> str:
            return "other"

    assert decode(encode(Twisted("m"))).fields == FIELDS
    untyped = namedtuple("untyped", "x y")  # noqa: PYI024 - an untyped one is what is tested
    assert decode(encode([untyped(1, 2)])) == [as_record(untyped, {"x": 1, "y": 2})]
    assert encode(type("Row", (tuple,), {})([1, 2])) == encode([1, 2])
    broken = tuple.__new__(untyped, (1, 2, 3))
    with pytest.raises(UnkeyableError, match="other items than its _fields"):
        encode(broken)


def test_a_record_that_is_also_a_container_is_refused() -> None:
    """Nobody can tell whether its fields or its members are meant."""

    @dataclasses.dataclass
    class Both(dict):  # type: ignore[type-arg]  # the bare class is what is tested
        a: int

    with pytest.raises(UnkeyableError, match="record and a dict at once"):
        encode([Both(1)])


def _dataclass() -> Any:
    return dataclasses.make_dataclass("Local", ["a"])(1)


def _inherited() -> Any:
    return type("Local", (dataclasses.make_dataclass("Parent", ["a"]),), {})(1)


def _tuple() -> Any:
    local = namedtuple("local", "a")  # noqa: PYI024 - an untyped one is what is tested
    return local(1)


def _inherited_tuple() -> Any:
    class Inherited(namedtuple("local", "a")):  # noqa: PYI024, SLOT002 - what people write
        pass

    made: Any = Inherited
    return made(1)


def _member() -> Any:
    class Local(enum.Enum):
        A = 1

    return Local.A


MAKERS: list[Callable[[], Any]] = [
    _dataclass,
    _inherited,
    _tuple,
    _inherited_tuple,
    lambda: msgspec.defstruct("Local", ["a"])(1),
    lambda: msgspec.defstruct("Local", ["a"], tag=True)(1),
    lambda: attrs.make_class("Local", ["a"])(1),
    _member,
    lambda: type("Local", (str,), {})("a"),
    lambda: type("Local", (), {"__cachecore_key__": lambda _: 1})(),
]


@pytest.mark.parametrize("make", MAKERS, ids=range(len(MAKERS)))
def test_a_class_is_not_kept_alive(make: Callable[[], Any]) -> None:
    """What is remembered of a class goes with it: a class made in a function holds what that function had."""
    value = make()
    assert encode(value) == walk(value)
    gone = weakref.ref(type(value))
    del value
    gc.collect()
    assert gone() is None
