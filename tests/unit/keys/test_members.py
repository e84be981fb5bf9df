"""Members of an Enum: the class, the name and the value."""

from __future__ import annotations

import dataclasses
import enum
import http
from typing import Any, Self

from cachecore.keys import decode, encode
from cachecore.keys.decoded import Record
from cachecore.keys.tags import MEMBER
from cachecore.keys.walker import walk


class Mode(enum.Enum):
    BRIEF = enum.auto()
    LONG = enum.auto()


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Kept(enum.Flag, boundary=enum.KEEP):
    READ = 1


def as_member(kind: type, name: str | None, value: Any) -> Record:
    """Return what a member of an Enum is decoded to."""
    return Record(MEMBER, kind.__module__, kind.__qualname__, {"name": name, "value": value})


def test_a_member_is_class_name_and_value() -> None:
    """A new member in between moves the values of `auto`; another Enum may have the same names and values."""
    assert decode(encode([Mode.LONG])) == [as_member(Mode, "LONG", 2)]
    assert encode(Mode.LONG) == walk(Mode.LONG)
    make: Any = enum.Enum  # mypy wants classes that are made here to be named after their variables
    moved = make("Mode", ["BRIEF", "USUAL", "LONG"], module=__name__)
    other = make("Other", ["BRIEF", "LONG"], module=__name__)
    same = make("Mode", ["BRIEF", "LONG"], module=__name__)
    assert len({encode(one) for one in (Mode.LONG, moved.LONG, moved.USUAL, other.LONG, 2, "LONG")}) == 6
    assert encode(same.LONG) == encode(Mode.LONG)


def test_flags_are_members_too_also_several_or_none() -> None:
    """Several flags are named by each of them; unknown bits and no bits have a key as well."""
    assert decode(encode(Access.READ)) == as_member(Access, "READ", 1)
    assert decode(encode(Access.WRITE | Access.READ)) == as_member(Access, "READ|WRITE", 3)
    assert decode(encode(Access(0))) == as_member(Access, None, 0)
    assert decode(encode(Kept(9))) == as_member(Kept, "READ|8", 9)
    assert len({encode(one) for one in (Access(0), Access(1), Access(2), Access(3), Kept(1), Kept(9), 1, 3)}) == 8


def test_members_of_other_types_are_members() -> None:
    """Only members that are text or whole numbers are equal to these: those of a float or bytes are not."""

    class Warmth(float, enum.Enum):
        COLD = 0.0

    class Code(bytes, enum.Enum):
        ONE = b"1"

    class Word(str, enum.Enum):  # noqa: UP042 - as it was written before Python 3.11
        YES = "yes"

    assert decode(encode(Warmth.COLD)) == as_member(Warmth, "COLD", 0.0)
    assert decode(encode(Code.ONE)) == as_member(Code, "ONE", b"1")
    assert encode(Word.YES) == encode("yes")


def test_a_member_that_is_text_and_has_another_value_is_a_member() -> None:
    """Two members may be the same text then."""

    class Labelled(str, enum.Enum):  # noqa: UP042 - a StrEnum takes no other values
        def __new__(cls, text: str, value: int) -> Self:
            made = str.__new__(cls, text)
            made._value_ = value
            return made

        FIRST = ("x", 1)
        SECOND = ("x", 2)

    assert decode(encode([*Labelled])) == [as_member(Labelled, "FIRST", 1), as_member(Labelled, "SECOND", 2)]
    assert encode(http.HTTPStatus.OK) == encode(200)


def test_an_enum_mixed_with_a_record_is_a_member() -> None:
    """Its value is what Python says, which depends on the version."""

    @dataclasses.dataclass(frozen=True)
    class Size:
        width: int

    class Screen(Size, enum.Enum):
        SMALL = 320

    asked = Screen.SMALL
    assert decode(encode(asked)) == as_member(Screen, "SMALL", decode(encode(asked.value)))
