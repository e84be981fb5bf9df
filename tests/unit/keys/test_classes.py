"""How classes are named in keys, and class objects as part of a request."""

from __future__ import annotations

import dataclasses
import enum
import gc
import os
import subprocess
import sys
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import annotated_types
import msgspec
import pydantic
import pytest
from pydantic import v1 as pydantic_v1

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import decode, encode
from cachecore.keys.classes import class_name
from cachecore.keys.decoded import ClassSchema
from cachecore.keys.walker import walk

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Box(pydantic.BaseModel, Generic[T]):
    items: list[T] = []


class Outer:
    class Box(pydantic.BaseModel, Generic[T]):
        items: list[T] = []


class User(pydantic.BaseModel):
    name: str


class OtherUser(pydantic.BaseModel):
    name: str


OtherUser.__module__, OtherUser.__name__, OtherUser.__qualname__ = "elsewhere", "User", "User"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Box[int], "Box[builtins.int]"),
        (Outer.Box[int], "Outer.Box[builtins.int]"),
        (Box[User], f"Box[{__name__}.User]"),
        (Box[OtherUser], "Box[elsewhere.User]"),
        (Box[Box[User]], f"Box[{__name__}.Box[{__name__}.User]]"),
        (Box[dict[str, User]], f"Box[builtins.dict[builtins.str, {__name__}.User]]"),
        (Box[Literal["a", 1, True]], "Box[Literal['a', 1, True]]"),
        (Box[Literal[Colour.RED]], f"Box[Literal[{__name__}.Colour.RED]]"),
        (Box[Callable[[int], str]], "Box[collections.abc.Callable[[builtins.int], builtins.str]]"),
        (Box[T], "Box"),  # type: ignore[valid-type]  # a variable is what is tested
    ],
)
def test_a_generic_model_is_named_by_its_origin_and_arguments(kind: type, name: str) -> None:
    """Pydantic's own names leave out the modules of the arguments and where the origin is."""
    assert class_name(kind) == (__name__, name)


def test_two_generic_models_are_two_classes_even_when_they_hold_nothing() -> None:
    """An empty page of one kind of user is no empty page of another."""
    kinds: list[Any] = [
        Box[User],
        Box[OtherUser],
        Outer.Box[User],
        Box[int],
        Box[Annotated[int, annotated_types.Gt(0)]],
    ]
    assert len({encode(kind()) for kind in kinds}) == len(kinds)
    assert encode(Box[User]()) == encode(Box[User](items=[])) == walk(Box[User]())


PROGRAM = """
import dataclasses
import multiprocessing
from cachecore.keys import decode, encode

@dataclasses.dataclass
class Asked:
    q: str

def tell(pipe):
    pipe.send(encode(Asked("a")).hex())

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=tell, args=(theirs,))
    child.start()
    print(encode(Asked("a")).hex(), ours.recv(), decode(encode(Asked("a"))).module)
    child.join()
"""


def _run(*arguments: str, folder: Path, typed: str | None = None) -> list[str]:
    command = [sys.executable, *arguments]
    ended = subprocess.run(
        command, input=typed, cwd=folder, env={**os.environ}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_a_class_of_the_program_is_named_as_others_import_it(tmp_path: Path) -> None:
    """Run by its path, as a module, in a process that multiprocessing starts, and imported: one key."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "asking.py").write_text(PROGRAM)
    tell = "import {0}; from cachecore.keys import encode; print(encode({0}.Asked('a')).hex())"
    (imported,) = _run("-c", tell.format("asking"), folder=tmp_path / "ours")
    assert _run("asking.py", folder=tmp_path / "ours") == [imported, imported, "asking"]
    assert _run("ours/asking.py", folder=tmp_path) == [imported, imported, "asking"]
    (named,) = _run("-c", tell.format("ours.asking"), folder=tmp_path)
    assert _run("-m", "ours.asking", folder=tmp_path) == [named, named, "ours.asking"]
    assert named != imported


def test_a_class_that_was_typed_in_stays_in_main(tmp_path: Path) -> None:
    """A notebook or an interpreter has no module that others could import."""
    typed = PROGRAM.partition("def tell")[0] + "\nprint(decode(encode(Asked('a'))).module)\n"
    assert _run("-", folder=tmp_path, typed=typed) == ["__main__"]


class City(pydantic.BaseModel):
    name: str
    tags: set[str] = {"north", "south", "east", "west"}
    default: ClassVar[int] = 1


class Struct(msgspec.Struct):
    name: str
    tags: frozenset[str] = frozenset({"north", "south", "east", "west"})


class OldCity(pydantic_v1.BaseModel):
    name: str


@pydantic.dataclasses.dataclass
class CityData:
    name: str


@pytest.mark.parametrize("kind", [City, Struct, OldCity, CityData, Box[City]])
def test_a_class_object_is_its_name_and_schema(kind: type) -> None:
    """At the root, in a field, in a set, and as the key of a dict."""
    meant = decode(encode(kind))
    assert type(meant) is ClassSchema
    assert (meant.module, meant.name) == class_name(kind)
    assert encode(meant) == encode(kind) == walk(kind)
    assert encode({"format": [kind]}) == walk({"format": [kind]}) == encode({"format": [meant]})
    assert encode({kind: {kind}}) == walk({kind: {kind}})
    assert encode(kind) != encode(meant.schema)


def test_a_class_object_is_keyed_anew_when_its_schema_changes() -> None:
    """A field, a default or a description that is edited asks the model for something else."""

    def made(**fields: Any) -> Any:
        return pydantic.create_model("City", **fields)

    kinds = [
        made(name=str),
        made(name=(str, "x")),
        made(name=(str, pydantic.Field(description="x"))),
        made(name=int),
        made(name=str, size=int),
    ]
    assert len({encode(kind) for kind in kinds}) == len(kinds)
    assert encode(made(name=str)) == encode(kinds[0])
    assert encode(City) != encode(Box[City]) != encode(Box[User])


def test_an_order_of_defaults_counts_where_it_is_one() -> None:
    """The default of a list has an order, that of a set has none; also inside each other and behind references."""

    class Part(pydantic.BaseModel):
        tags: set[str]

    def schema(listed: list[str]) -> Any:
        fields: dict[str, Any] = {
            "listed": (list[str], listed),
            "maybe": (set[str] | None, {"north", "south", "east"}),
            "nested": (list[frozenset[str]], [frozenset({"north", "south", "east"})]),
            "mapped": (dict[str, set[str]], {"a": {"north", "south", "east"}}),
            "part": (Part, Part(tags={"north", "south", "east"})),
            "default": (set[str], {"north", "south", "east"}),
        }
        return decode(encode(pydantic.create_model("Made", **fields))).schema["properties"]

    made, other = schema(["b", "a"]), schema(["a", "b"])
    assert made != other
    assert made["listed"]["default"] == ["b", "a"]
    ordered = ["east", "north", "south"]
    assert made["maybe"]["default"] == made["default"]["default"] == ordered
    assert made["nested"]["default"] == [ordered]
    assert made["mapped"]["default"] == {"a": ordered}
    assert made["part"]["default"] == {"tags": ordered}


class NoSchema(pydantic.BaseModel):
    call: Callable[[], int]


class NoSchemaStruct(msgspec.Struct):
    call: types.CodeType


@dataclasses.dataclass
class Plain:
    name: str


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (NoSchema, "which has no JSON schema (PydanticInvalidForJsonSchema); pass its name, or a dict"),
        (pydantic.BaseModel, "which has no JSON schema (AttributeError); pass its name, or a dict"),
        (NoSchemaStruct, "which has no JSON schema (TypeError); pass its name, or a dict"),
        (Plain, "only pydantic models and msgspec structs have a schema"),
        (Colour, "only pydantic models and msgspec structs have a schema"),
        (dict, "only pydantic models and msgspec structs have a schema"),
    ],
)
def test_a_class_without_a_schema_is_refused(kind: type, reason: str) -> None:
    """By its path and name, with the reason and the way out."""
    with pytest.raises(UnkeyableError) as caught:
        encode({"format": [kind]})
    assert caught.value.path == "format[0]"
    assert f"cannot key the class {kind.__module__}.{kind.__qualname__}" in caught.value.reason
    assert reason in caught.value.reason


def test_a_class_with_references_that_are_not_resolved_is_refused_until_they_are() -> None:
    """Nothing is remembered of the refusal."""
    fields: dict[str, Any] = {"later": ("Later", None)}
    made = pydantic.create_model("Made", **fields)
    with pytest.raises(UnkeyableError, match="no JSON schema"):
        encode(made)
    made.model_rebuild(_types_namespace={"Later": int})
    assert decode(encode(made)).schema["properties"]["later"]["type"] == "integer"


def test_a_metaclass_may_speak_for_its_classes() -> None:
    """`__cachecore_key__` of a metaclass is asked of a class, that of a class only of its instances."""

    class Meta(type):
        def __cachecore_key__(cls) -> str:
            return cls.__name__

    class Spoken(metaclass=Meta):
        pass

    class Hooked(pydantic.BaseModel):
        def __cachecore_key__(self) -> str:
            return "instance"

    assert encode(Spoken) == encode("Spoken")
    assert encode(Hooked()) == encode("instance")
    assert type(decode(encode(Hooked))) is ClassSchema


def test_a_class_object_is_not_kept_alive() -> None:
    """The schema is kept as long as its class."""
    kind = msgspec.defstruct("Local", ["a"])
    assert encode(kind) == encode(kind)
    gone = weakref.ref(kind)
    del kind
    gc.collect()
    assert gone() is None
