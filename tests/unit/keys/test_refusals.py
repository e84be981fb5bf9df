"""What cannot be keyed is refused by path and type, and its text is never told."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import pickle
import threading
import uuid
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
import pytest

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import decode, encode
from cachecore.keys.decoded import Record
from cachecore.keys.tags import RECORD
from cachecore.keys.walker import walk

SECRET = "my-secret-prompt"


class Opaque:
    def __repr__(self) -> str:
        return SECRET

    __str__ = __repr__


class Zoneless(datetime.tzinfo):
    def utcoffset(self, dt: datetime.datetime | None) -> None:
        return None

    dst = tzname = utcoffset


class Twin(str):
    """Two of it fit into one dict with equal text."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Timestamp(datetime.datetime):
    nanosecond = 1


@dataclasses.dataclass
class Loop:
    back: object = None


class Kind(enum.Enum):
    OPAQUE = Opaque()


def released() -> memoryview:
    view = memoryview(b"x")
    view.release()
    return view


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Opaque(), "cannot key a tests.unit.keys.test_refusals.Opaque; give it a __cachecore_key__ method"),
    (lambda: Opaque, "cannot key the class tests.unit.keys.test_refusals.Opaque: only pydantic models and"),
    (
        lambda: int,
        "cannot key the class builtins.int: only pydantic models and msgspec structs have a schema; pass",
    ),
    (lambda: Kind, "cannot key the class tests.unit.keys.test_refusals.Kind: only"),
    (lambda: list[int], "cannot key a types.GenericAlias"),
    (lambda: len, "cannot key a builtin_function_or_method"),
    (lambda: 1j, "cannot key a complex"),
    (lambda: (x for x in "ab"), "cannot key a generator"),
    (lambda: iter([]), "cannot key a list_iterator"),
    (lambda: range(3), "cannot key a range"),
    (lambda: collections.deque([1]), "cannot key a collections.deque"),
    (lambda: array.array("b", b"ab"), "cannot key a array.array"),
    (lambda: threading.Lock(), "cannot key a _thread.lock"),
    (lambda: {"a": 1, Twin("a"): 2}, "two keys that are the same here; leave out one"),
    (lambda: {Twin("a"): 1, Twin("a"): 1}, "two keys that are the same here; leave out one"),
    (lambda: {math.nan: 1, float("nan"): 2}, "two keys that are the same here"),
    (lambda: released(), "a memoryview that was released; key it before"),
    (lambda: Timestamp(2026, 1, 1), "a subclass of datetime; convert it"),
    (lambda: type("D", (decimal.Decimal,), {})(1), "a subclass of Decimal"),
    (lambda: type("U", (uuid.UUID,), {})(int=1), "a subclass of UUID"),
    (lambda: type("P", (pathlib.PurePosixPath,), {})("a"), "a subclass of PurePosixPath"),
    (lambda: type("S", (frozenset,), {})(), "a subclass of frozenset"),
    (lambda: datetime.time(1, tzinfo=Zoneless()), "time zone gives no offset; drop or replace the zone"),
    (lambda: datetime.datetime(2026, 1, 1, tzinfo=Zoneless()), "time zone gives no offset; drop or replace the zone"),
    (lambda: msgspec.msgpack.Ext(3, b"\0" * 16), "cannot key a msgspec.msgpack.Ext"),
    (lambda: msgspec.Raw(b"\xc0"), "cannot key a msgspec.Raw"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_refused_wherever_it_is(make: Callable[[], Any], reason: str) -> None:
    """The path and the reason are those of the offending value, at the root, nested, in a record, behind a hook."""
    value = make()

    class Hooked:
        def __cachecore_key__(self) -> Any:
            return {"deep": [value]}

    for asked, path in (
        (value, "request"),
        ({"image": value}, "image"),
        ({"messages": [{}, {}, {"image": value}]}, "messages[2].image"),
        ([[value]], "[0][0]"),
        ((1, (value,)), "[1][0]"),
        ({"a": Hooked()}, "a.deep[0]"),
    ):
        for way in (encode, walk):
            with pytest.raises(UnkeyableError) as caught:
                way(asked)
            assert caught.value.path == path
            assert reason in caught.value.reason


def test_msgpacks_own_extension_imitates_nothing() -> None:
    """`msgpack.ExtType` is a named tuple, and keyed as one."""
    assert decode(encode(msgpack.ExtType(3, b"x"))) == Record(
        RECORD, "msgpack.ext", "ExtType", {"code": 3, "data": b"x"}
    )


def test_keys_and_values_of_dicts_with_other_keys_have_a_path() -> None:
    """A key by itself is `{key}`, since it has no name; a value by the place of its key among the others."""
    for asked, path in (
        ({"a": {1: 2, Opaque(): 3}}, "a{key}"),
        ({"a": {(1, Opaque()): 3}}, "a{key}[1]"),
        ({"a": {1: 2, 3: [Opaque()]}}, "a.<key 1>[0]"),
        ({"a": {1: 2, "name": [Opaque()]}}, "a.name[0]"),
        ({"a": {"\ud800": Opaque()}}, "a.<key 0>"),
    ):
        with pytest.raises(UnkeyableError) as caught:
            encode(asked)
        assert caught.value.path == path
        assert "cannot key a tests.unit.keys.test_refusals.Opaque" in caught.value.reason


def test_the_parts_of_records_and_members_have_a_path() -> None:
    """A field by its name; what a member of an Enum stands for by `value`."""

    @dataclasses.dataclass
    class Holder:
        first: object
        second: object = None

    for asked, path in (
        (Holder([Opaque()]), "first[0]"),
        ({"a": Holder(1, Holder(2, Opaque()))}, "a.second.second"),
        ([Kind.OPAQUE], "[0].value"),
    ):
        with pytest.raises(UnkeyableError) as caught:
            encode(asked)
        assert caught.value.path == path


def test_the_value_is_never_told() -> None:
    """Neither the text of a value nor a key that may be one is in the message, the arguments or the causes."""
    for asked in (
        {"a": Opaque()},
        {SECRET + " of a user": Opaque()},
        {SECRET + "\ud800": Opaque()},
        {(SECRET,): Opaque()},
        {"a": {(SECRET, Opaque()): 1}},
        {Twin(SECRET): 1, Twin(SECRET): 2},
        {"a": {1: SECRET, 2: Opaque()}},
    ):
        with pytest.raises(UnkeyableError) as caught:
            encode(asked)
        error: BaseException | None = caught.value
        while error is not None:
            assert SECRET not in f"{error} {error!r}"
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_key_that_is_no_name_is_told_by_its_place() -> None:
    """`metadata.<key 1>`: the second of its siblings in their order."""
    with pytest.raises(UnkeyableError) as caught:
        encode({"metadata": {"a b": 1, "c d": [object()]}})
    assert caught.value.path == "metadata.<key 1>[0]"


def test_members_of_sets_have_a_path_too() -> None:
    """A set has no order, so the path says only that it is one of its members."""
    with pytest.raises(UnkeyableError) as caught:
        encode({"tags": {("a", 1j)}})
    assert caught.value.path == "tags{item}[1]"


def test_cycles_are_refused_as_cycles() -> None:
    """A list, a dict or a record that holds itself is named where it comes back."""
    row: list[Any] = [1]
    row.append(row)
    with pytest.raises(UnkeyableError, match=r"^\[1\]: list that holds itself; leave out the place"):
        encode(row)
    fields: dict[str, Any] = {"a": {}}
    fields["a"]["back"] = fields
    with pytest.raises(UnkeyableError, match=r"^a\.back: dict that holds itself; "):
        encode(fields)
    record = Loop()
    record.back = [record]
    with pytest.raises(UnkeyableError, match=r"^a\.back\[0\]: .*Loop that holds itself"):
        encode({"a": record})
    twice = [1]
    assert encode([twice, twice]) == encode([[1], [1]])


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: frozenset({v})])
def test_255_levels_and_no_more(wrap: Callable[[Any], Any]) -> None:
    """The bound is part of what is promised: a request that has a key today has it in every release."""
    value: Any = 1
    for _ in range(255):
        value = wrap(value)
    encode(value)
    with pytest.raises(UnkeyableError, match="nested deeper than 255"):
        encode(wrap(value))


def test_errors_survive_pickling() -> None:
    """An error raised in a worker process arrives whole."""
    with pytest.raises(UnkeyableError) as caught:
        encode([1j])
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.path, again.reason) == (caught.value.path, caught.value.reason)


def test_a_refusal_leaves_nothing_behind() -> None:
    """After a refusal the same thread keys the next request, and no reference is kept."""
    asked = [Opaque()]
    import sys

    before = sys.getrefcount(asked)
    for _ in range(10):
        with pytest.raises(UnkeyableError):
            encode(asked)
    assert sys.getrefcount(asked) <= before
    assert encode([[1]]) == b"\x91\x91\x01"
