"""What the canonical encoding writes: equalities, differences, and known answers for plain data."""

from __future__ import annotations

import enum
import json
import math
import threading
import types
from collections import OrderedDict, defaultdict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from cachecore.contract.errors import EncodingError, UnkeyableError
from cachecore.keys import Members, decode, encode
from cachecore.keys.decoded import Pairs
from cachecore.keys.walker import walk


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not the text"


class Count(int):
    def __index__(self) -> int:
        return -1


class Colour(enum.Enum):
    RED = "red"
    NESTED = (1, 2)
    TRUE = True


class Level(enum.IntEnum):
    LOW = 1


class Role(enum.StrEnum):
    USER = "user"


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


EQUAL: list[tuple[Any, Any]] = [
    ([1, 2], (1, 2)),
    ([1, (2, [3])], (1, [2, (3,)])),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 1}, OrderedDict(a=1)),
    ({"a": 1}, defaultdict(int, a=1)),
    ({"a": 1}, types.MappingProxyType({"a": 1})),
    ({"user": 1}, {Role.USER: 1}),
    ({"user": 1}, {Text("user"): 1}),
    (Level.LOW, 1),
    (Access.READ | Access.WRITE, 3),
    (Role.USER, "user"),
    (b"ab", bytearray(b"ab")),
    (b"ab", memoryview(b"ab")),
    (b"ac", memoryview(b"abcd")[::2]),
    ("hi", Text("hi")),
    (7, Count(7)),
    (2**70, Count(2**70)),
    ({1, "a"}, frozenset(["a", 1])),
    (math.nan, -math.nan),
    ([math.inf - math.inf], [float("nan")]),
    (Path("a/b"), PurePosixPath("a/b")),
    (PureWindowsPath("a\\b"), PurePosixPath("a/b")),
    (UUID(int=5), UUID("00000000-0000-0000-0000-000000000005")),
    (timedelta(days=1), timedelta(hours=24)),
    (
        datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris")),
        datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2))),
    ),
    ({Level.LOW, "x"}, {1, "x"}),
    ({Role.USER, "x"}, {"user", "x"}),
    ({1: "a", "1": "b"}, {"1": "b", 1: "a"}),
    ({1: "a"}, OrderedDict({1: "a"})),
    ({1: "a"}, {Level.LOW: "a"}),
    ({(1, (2,)): "a"}, defaultdict(str, {(1, (2,)): "a"})),
    ({math.nan: "a"}, {-math.nan: "a"}),
    ({"a\ud800": 1, "b": 2}, {"b": 2, Text("a\ud800"): 1}),
    ("a\ud800", Text("a\ud800")),
    ({math.nan, -math.nan}, {math.nan}),
    ({float("nan"), float("nan"), "x"}, {math.nan, "x"}),
]


@pytest.mark.parametrize(("a", "b"), EQUAL, ids=range(len(EQUAL)))
def test_equal_on_purpose(a: Any, b: Any) -> None:
    """What means the same has the same bytes, at the root, nested, and by both ways of encoding."""
    assert encode(a) == encode(b) == walk(a) == walk(b)
    assert encode({"x": [a]}) == encode({"x": [b]}) == walk({"x": [a]}) == walk({"x": [b]})


DIFFERENT: list[list[Any]] = [
    [1, 1.0, True, "1", b"1", Decimal(1), UUID(int=1), [1], {1}, "True", timedelta(microseconds=1), 2**64 + 1],
    [0, 0.0, -0.0, False, None, "", b"", [], {}, set(), "None", "null", Decimal(0), timedelta(0)],
    [{}, {"a": None}, {"a": ""}, {"a": []}, {"": "a"}, {"a": {}}],
    ["caf\u00e9", "cafe\u0301", "CAF\u00c9", "caf\u00e9 ", " caf\u00e9"],
    [[1, 2], [2, 1], {1, 2}, [[1, 2]], [1, [2]], [[1], 2], {"0": 1, "1": 2}, "12"],
    [UUID(int=5), str(UUID(int=5)), UUID(int=5).bytes, UUID(int=5).hex],
    [Decimal("1.0"), Decimal("1.00"), Decimal("-1.0"), Decimal("1e0"), "1.0", 1.0, Decimal("NaN"), Decimal("sNaN")],
    [Decimal(0), Decimal("-0"), Decimal("Infinity"), Decimal("-Infinity"), math.inf, -math.inf, math.nan],
    [date(2026, 1, 2), "2026-01-02", datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=timezone.utc)],  # noqa: DTZ001, UP017 - naive ones have keys, too
    [time(1, 2), "01:02:00", time(1, 2, tzinfo=timezone.utc), time(1, 2, fold=1)],  # noqa: UP017 - as others write it
    [datetime(2026, 1, 2, 3), datetime(2026, 1, 2, 3, fold=1)],  # noqa: DTZ001 - naive ones have keys, too
    # One instant, two wall clocks: an answer may say "good morning".
    [datetime(2026, 1, 2, 12, tzinfo=timezone.utc), datetime(2026, 1, 2, 13, tzinfo=timezone(timedelta(hours=1)))],  # noqa: UP017 - as others write it
    [PurePosixPath("a/b"), "a/b", PurePosixPath("a\\b"), PurePosixPath("/a/b")],
    [2**63, 2**64 - 1, 2**64, 2**64 + 1, -(2**63), -(2**63) - 1, 2**200, str(2**200), float(2**200)],
    [{"a": {"b": 1}}, {"a.b": 1}, {"a": {"b": "1"}}, {"a": "{'b': 1}"}],
    [{1: "x"}, {"1": "x"}, {True: "x"}, {1.0: "x"}, {b"1": "x"}, {(1,): "x"}, {Decimal(1): "x"}, [[1, "x"]], [1, "x"]],
    [{None: 0}, {"": 0}, {0: 0}, {False: 0}, {0.0: 0}, {-0.0: 0}, {(): 0}, {frozenset(): 0}, {"None": 0}, {}],
    [{1: 2, 3: 4}, {1: 4, 3: 2}, {1: 2}, {3: 4}, {1: {3: 4}}, {1: 2, "3": 4}, [1, 2, 3, 4]],
    [Colour.RED, "red", "RED", Colour.NESTED, (1, 2), Colour.TRUE, True, {Colour.RED: 1}, {"red": 1}, {Colour.RED}],
    ["\ud800", "\udc00", "\ud800\udc00", "\U00010000", "?", "\ufffd", b"\xed\xa0\x80", {"\ud800": 1}, {"?": 1}],
    [PurePosixPath("a\udcff"), PurePosixPath("a\xff"), "a\udcff"],
    [{"q": {1}}, {"q": {"1"}}, {"q": {1.0}}, {"q": {True}}, {"q": {1, "1"}}, {"q": set()}, {"q": frozenset([()])}],
]


@pytest.mark.parametrize("values", DIFFERENT, ids=lambda values: repr(values[0]))
def test_different_on_purpose(values: list[Any]) -> None:
    """What means something else has other bytes, at the root and nested."""
    assert len({encode(value) for value in values}) == len(values)
    assert len({encode({"x": value}) for value in values}) == len(values)
    assert [encode(value) for value in values] == [walk(value) for value in values]


def test_a_fold_tells_the_second_of_two_equal_hours() -> None:
    """With a zone the offset tells them apart, without one the fold itself."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"))
    assert encode(first) != encode(first.replace(fold=1))
    summer = datetime(2026, 7, 1, 2, 30, tzinfo=ZoneInfo("Europe/Paris"))
    assert encode(summer) == encode(summer.replace(fold=1))


def test_the_decimal_context_is_no_part_of_a_key() -> None:
    """Neither precision nor capitals of the context change how a Decimal is written."""
    number = Decimal("1.23456789012345678901234567890E+50")
    before = encode(number)
    with localcontext() as context:
        context.prec, context.capitals = 3, 0
        assert encode(number) == before


def test_keys_are_sorted_by_code_points() -> None:
    """The order is that of UTF-8 bytes, not of UTF-16 units, in both ways of encoding."""
    asked = {"\U00010000": 1, "\uffff": 2, "b": 3, "a": 4, "": 5, "aa": 6, "é": 7}
    assert list(decode(encode(asked))) == ["", "a", "aa", "b", "é", "\uffff", "\U00010000"]
    assert encode(asked) == walk(asked)


@pytest.mark.parametrize("length", [0, 15, 16, 65_535, 65_536])
def test_every_size_of_container_is_written_the_same_by_both_ways(length: int) -> None:
    """The walker's heads of arrays, maps and sets are MessagePack's."""
    for value in ([None] * length, {f"{i:05}": None for i in range(length)}, set(range(length))):
        assert encode(value) == walk(value)


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65_535, 65_536])
def test_text_and_bytes_of_every_size(size: int) -> None:
    """Texts and bytes around each size of their heads come back whole."""
    for value in ("x" * size, b"x" * size, Text("x" * size), PurePosixPath("x" * (size or 1))):
        assert decode(encode([value])) == [value]


def test_a_request_with_a_lone_surrogate_is_keyed() -> None:
    """A provider answers half an emoji, so its request has a key, and comes back from it whole."""
    asked = {"messages": [{"content": "cut \ud83c", "cut \ud83c": [{"\udf7a"}]}], "q": "ok"}
    data = encode(asked)
    assert data == walk(asked)
    message = decode(data)["messages"][0]
    assert message.items == (("content", "cut \ud83c"), ("cut \ud83c", [Members(("\udf7a",))]))
    assert decode(encode("cut \ud83c")) == "cut \ud83c"
    assert encode(decode(data)) == data


def test_a_dict_with_other_keys_comes_back_as_pairs() -> None:
    """In the order of the keys' bytes, whatever the order of the dict; dicts beside it stay MessagePack maps."""
    data = encode({"a": {"b": 1}, "c": {"z": 1, 2: ("x",), None: {"y": 1}}})
    assert decode(data) == {"a": {"b": 1}, "c": Pairs(((2, ["x"]), ("z", 1), (None, {"y": 1})))}
    assert data.startswith(b"\x82\xa1a\x81\xa1b\x01\xa1c\x97\xc7\x00\x0e")


def test_plain_data_has_the_shortest_messagepack_form(shared_data: Any) -> None:
    """For nil, bool, numbers, text, binary, arrays and maps the bytes are those of the MessagePack test suite."""
    groups = json.loads((shared_data / "vectors" / "msgpack-test-suite.json").read_text())
    checked = 0
    for name, cases in groups.items():
        for case in cases:
            kinds = case.keys() & {"nil", "bool", "binary", "number", "string", "array", "map"}
            if not kinds:
                continue  # timestamps and extensions are no requests
            kind = kinds.pop()
            value = case[kind]
            if kind == "binary":
                value = bytes.fromhex(value.replace("-", ""))
            if kind == "number" and "bignum" in case:
                value = int(case["bignum"])
            forms = [bytes.fromhex(text.replace("-", "")) for text in case["msgpack"]]
            if type(value) is float:
                assert encode(value) == next(form for form in forms if form[0] == 0xCB), name
            else:
                assert encode(value) == forms[0], name
            checked += 1
    assert checked > 50


@pytest.mark.parametrize(
    "value", [b"\xcb\xff\xff" * 9, [b"\xcb\x7f\xf1" * 9], "\u02ff\x7f", {"n": -1, "m": 127, "x": 1e308}]
)
def test_what_only_looks_like_an_odd_nan_is_left_alone(value: Any) -> None:
    """Bytes and numbers that hold the bytes of a NaN come through as they are."""
    assert encode(value) == walk(value)
    assert decode(encode(value)) == value


BROKEN = [
    b"\x92\xd4\x0b\x01\x01",  # the head of a record that holds no names
    b"\x93\xc7\x0a\x0b\x93\xc4\x01m\xc4\x01n\xc4\x01f\x01\x02",  # one name, two values
    b"\x92\xc7\x00\x0e\x01",  # a key without a value
    b"\xd4\x0fx",  # no numpy value
    b"\xc7\x03\x0d\x91\xc4\x00",  # a class without a schema
    b"\xd4\x10x",  # no pandas value
]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\xd4\x63\x00", b"\xd5\x03ab", b"\xd4\x04x", *BROKEN])
def test_other_bytes_do_not_decode(data: bytes) -> None:
    """What `encode` did not make is an error of its own, not somebody else's."""
    with pytest.raises(EncodingError):
        decode(data)


def test_a_hook_speaks_for_its_class() -> None:
    """`__cachecore_key__` decides what an object means, at any depth."""

    class Image:
        def __init__(self, digest: str) -> None:
            self.digest = digest

        def __cachecore_key__(self) -> Any:
            return {"image": self.digest, "when": date(2026, 1, 1)}

    plain = {"image": "d1", "when": date(2026, 1, 1)}
    assert encode(Image("d1")) == encode(plain) == walk(Image("d1"))
    assert encode([{"x": Image("d1")}]) == encode([{"x": plain}])
    assert encode(Image("d2")) != encode(Image("d1"))


def test_a_hook_may_answer_with_anything_that_can_be_keyed() -> None:
    """Also with a tagged value, a set, or another object with a hook."""

    class Inner:
        def __cachecore_key__(self) -> Any:
            return UUID(int=3)

    class Outer:
        def __cachecore_key__(self) -> Any:
            return Inner()

    class Group:
        def __cachecore_key__(self) -> Any:
            return frozenset([("a", 1), ("b", 2)])

    assert encode([Outer()]) == encode([Inner()]) == encode([UUID(int=3)])
    assert encode(Group()) == encode({("a", 1), ("b", 2)})


def test_an_error_of_a_hook_is_the_callers_to_see() -> None:
    """A bug in somebody's `__cachecore_key__` is neither swallowed nor renamed."""

    class Broken:
        def __cachecore_key__(self) -> Any:
            raise ZeroDivisionError("mine")

    for asked in (Broken(), [Broken()], {"a": {"b": Broken()}}):
        with pytest.raises(ZeroDivisionError, match="mine"):
            encode(asked)


def test_a_hook_that_never_ends_is_refused() -> None:
    """An object that stands for itself, or for ever for another, is an error and no hang."""

    class Endless:
        def __cachecore_key__(self) -> Any:
            return type(self)()

    with pytest.raises(UnkeyableError, match=r"request: .*for ever"):
        encode(Endless())
    with pytest.raises(UnkeyableError, match=r"a\[0\]: .*for ever"):
        encode({"a": [Endless()]})


def test_many_threads_encode_at_once() -> None:
    """Deep and shallow requests of many threads do not get into each other's way."""
    requests = [{"n": i, "deep": [[[i]], {"x": (i, UUID(int=i))}]} for i in range(20)]
    expected = [walk(asked) for asked in requests]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(100):
            for i, asked in enumerate(requests):
                if encode(asked) != expected[i]:
                    wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_hook_may_itself_make_keys() -> None:
    """Encoding inside of encoding keeps the two apart."""

    class Digest:
        def __cachecore_key__(self) -> Any:
            return encode({"inner": [1, (2,)]})

    assert encode([[Digest()], Digest()]) == encode([[encode({"inner": [1, [2]]})], encode({"inner": [1, [2]]})])
