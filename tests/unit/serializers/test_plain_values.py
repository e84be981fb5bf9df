"""`msgpack` and `json`: a value comes back equal, type for type, or was refused."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import gzip
import json
import math
import struct
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import ormsgpack
import pytest

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.contract.protocols import Serializer
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.exact import same
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from tests.unit.serializers.bombs import JSON_BOMBS, MSGPACK_BOMBS
from tests.unit.serializers.contexts import assert_refused_cheaply, context

BOTH: list[MsgpackSerializer | JsonSerializer] = [MsgpackSerializer(), JsonSerializer()]
ALL: list[Serializer] = [
    *BOTH,
    CompressedSerializer(min_bytes=0),
    EncryptedSerializer(keys={"k": bytes(32)}),
    EncryptedSerializer(keys={"k": bytes(32)}, inner=CompressedSerializer(min_bytes=0, inner=JsonSerializer())),
]
all_serializers = pytest.mark.parametrize("serializer", ALL, ids=lambda serializer: serializer.name)
both = pytest.mark.parametrize("serializer", BOTH, ids=lambda serializer: serializer.name)


def nested(depth: int) -> Any:
    value: Any = 0
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Level(enum.IntEnum):
    HIGH = 1


class Word(enum.StrEnum):
    YES = "yes"


class Fraction(float):
    pass


class Table(dict[str, int]):
    pass


class Row(list[int]):
    pass


@dataclasses.dataclass
class Point:
    x: int = 1


class Pair(NamedTuple):
    a: int
    b: int


GOOD: dict[str, Any] = {
    "none": None,
    "booleans": [True, False, 0, 1, 0.0, 1.0],
    "ints": [0, -1, 127, 128, -32, -33, 2**63 - 1, -(2**63), 2**64 - 1],
    "floats": [0.1, -0.0, 1e308, 5e-324, 1.0, -1.5],
    "text": ["", "a", "\x00", "\N{SNOWMAN}\U0001f600", "e\u0301", "\u00e9", '"\\\n\t\x7f', "\u2028"],
    "empty": [[], {}, "", [[]], [{}], {"": {}}],
    "keys": {"": 1, "a": 2, "A": 3, "\u00e9": 4, "e\u0301": 5, "1": 6, "None": 7},
    "order": {"b": 1, "a": 2},
    "deepest": nested(250),
    "long": "x" * 100_000,
    "many": list(range(50_000)),
    "shared": [[1]] * 3,
}

BAD: dict[str, Any] = {
    "tuple": (1, 2),
    "tuple within": {"a": [(1,)]},
    "named tuple": Pair(1, 2),
    "str subclass": Text("a"),
    "str subclass as key": {Text("a"): 1},
    "int subclass": Whole(1),
    "enum": Level.HIGH,
    "text enum": Word.YES,
    "float subclass": Fraction(1.5),
    "dict subclass": Table(a=1),
    "ordered dict": collections.OrderedDict(a=1),
    "counter": collections.Counter("a"),
    "list subclass": Row([1]),
    "dataclass": Point(),
    "datetime": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "date": datetime.date(2024, 1, 1),
    "timedelta": datetime.timedelta(1),
    "decimal": decimal.Decimal("1.5"),
    "uuid": uuid.UUID(int=1),
    "path": Path("/"),
    "set": {1},
    "bytearray": bytearray(b"a"),
    "memoryview": [memoryview(b"a")],
    "large bytearray": {"a": bytearray(70_000)},
    "complex": 1j,
    "class": int,
    "function": len,
    "object": object(),
    "int key": {1: "a"},
    "none key": {None: "a"},
    "bytes key": {b"a": 1},
    "tuple key": {("a",): 1},
    "lone surrogate": "a\ud800",
    "lone surrogate as key": {"\udfff": 1},
    "too deep": nested(300),
    "far too deep": nested(100_000),
}

BAD_FOR: dict[str, dict[str, Any]] = {
    "msgpack": {"over 64 bits": 2**64, "under 64 bits": -(2**63) - 1},
    "json": {"bytes": b"a", "nan": math.nan, "infinity": [math.inf], "digits": 10**5000},
}


@both
@pytest.mark.parametrize("name", GOOD)
def test_plain_values_come_back_type_for_type(serializer: Serializer, name: str) -> None:
    assert same(GOOD[name], serializer.loads(serializer.dumps(GOOD[name], context()), context()))


@all_serializers
def test_wrapped_serializers_keep_values_too(serializer: Serializer) -> None:
    for value in GOOD.values():
        made = context()
        assert same(value, serializer.loads(serializer.dumps(value, made), made))


@both
@pytest.mark.parametrize("name", BAD)
def test_what_would_change_is_refused(serializer: Serializer, name: str) -> None:
    with pytest.raises(EncodingError):
        serializer.dumps(BAD[name], context())
    with pytest.raises(EncodingError):
        serializer.dumps({"deep": [{"within": BAD[name]}]}, context())


@both
def test_what_only_one_format_cannot_hold_is_refused_by_it(serializer: Serializer) -> None:
    for value in BAD_FOR[serializer.name].values():
        with pytest.raises(EncodingError):
            serializer.dumps([value], context())


@both
def test_a_value_that_holds_itself_is_refused(serializer: Serializer) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(EncodingError):
        serializer.dumps(endless, context())


def test_msgpack_keeps_bytes_and_the_bits_of_a_nan() -> None:
    serializer = MsgpackSerializer()
    nan = struct.unpack("d", struct.pack("Q", 0x7FF8DEADBEEF0001))[0]
    value = [b"", b"\x00\xff", math.inf, -math.inf, nan, {"a": b"\xc4\xc5\xc6"}]
    assert same(value, serializer.loads(serializer.dumps(value, context()), context()))


def test_json_keeps_whole_numbers_of_any_size() -> None:
    serializer = JsonSerializer()
    value = [2**64, -(10**4000), 2**1000]
    assert same(value, serializer.loads(serializer.dumps(value, context()), context()))


@both
def test_refusal_names_the_type_and_not_the_value(serializer: Serializer) -> None:
    for value in ({"prompt-xyz": decimal.Decimal("1234.5")}, ["prompt-xyz", (1, "prompt-xyz")], {("prompt-xyz",): 1}):
        with pytest.raises(EncodingError) as caught:
            serializer.dumps(value, context())
        assert "prompt-xyz" not in str(caught.value)
        assert "1234.5" not in str(caught.value)
    with pytest.raises(EncodingError, match=r"decimal\.Decimal"):
        serializer.dumps([decimal.Decimal(1)], context())


@all_serializers
def test_nothing_mutable_is_shared_between_two_reads(serializer: Serializer) -> None:
    made = context()
    data = serializer.dumps({"list": [1], "dict": {"a": [2]}}, made)
    first = serializer.loads(data, made)
    first["list"].append(2)
    first["dict"]["a"].clear()
    assert serializer.loads(data, made) == {"list": [1], "dict": {"a": [2]}}


@both
def test_limits_hold_both_ways_and_alike(serializer: MsgpackSerializer | JsonSerializer) -> None:
    """What one process may write, another with the same settings can read."""
    small = type(serializer)(max_bytes=1000, max_elements=100)
    large = type(serializer)()
    fits: Any
    over: Any
    for fits in (["x"] * 99, {f"k{i}": i for i in range(49)}, "x" * 990, [[[]] * 10] * 4, '"' * 400):
        assert small.loads(small.dumps(fits, context()), context()) == fits
    for over in (["xx"] * 101, {f"key{i}": i for i in range(51)}, "x" * 1001, [[[]] * 10] * 10):
        with pytest.raises(EncodingError):
            small.dumps(over, context())
        with pytest.raises(EncodingError):
            small.loads(large.dumps(over, context()), context())


@both
@pytest.mark.parametrize("setting", ["max_bytes", "max_elements"])
@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "1"])
def test_wrong_limits_are_refused_while_building(serializer: Serializer, setting: str, wrong: Any) -> None:
    with pytest.raises(OptionsError, match=setting):
        type(serializer)(**{setting: wrong})


@pytest.mark.parametrize("name", MSGPACK_BOMBS)
def test_msgpack_bombs_do_not_go_off(name: str) -> None:
    """Ten megabytes of empty maps took 703 MB elsewhere."""
    assert_refused_cheaply(MsgpackSerializer(max_bytes=16_000_000).loads, MSGPACK_BOMBS[name]())


@pytest.mark.parametrize("name", JSON_BOMBS)
def test_json_bombs_do_not_go_off(name: str) -> None:
    assert_refused_cheaply(JsonSerializer().loads, JSON_BOMBS[name]())


def test_text_that_looks_like_structure_is_no_bomb() -> None:
    """An answer about code is full of brackets, commas and quotes, and is one element all the same."""
    serializer = JsonSerializer()
    for text in ("[{,:}]" * 100_000, '\\"' * 200_000, '","' * 100_000, "\\" * 100_001):
        assert serializer.loads(serializer.dumps([text], context()), context()) == [text]


@pytest.mark.parametrize("code", [0, 1, 42, 127])
def test_msgpack_extensions_are_refused_on_reading(code: int) -> None:
    for data in (ormsgpack.packb(ormsgpack.Ext(code, bytes(size))) for size in (0, 1, 2, 4, 8, 12, 16, 300, 300_000)):
        for payload in (data, b"\x91" + data, b"\x81\xa1a" + data, b"\x81" + data + b"\xc0"):
            with pytest.raises(EncodingError):
                MsgpackSerializer().loads(payload, context())


def test_msgpack_timestamps_are_refused_on_reading() -> None:
    for data in (b"\xd6\xff" + bytes(4), b"\xd7\xff" + bytes(8), b"\xc7\x0c\xff" + bytes(12)):
        with pytest.raises(EncodingError):
            MsgpackSerializer().loads(data, context())


def test_large_vectors_are_within_bounds() -> None:
    """A hundred embeddings of 1,536 floats, and floats next to something else."""
    serializer = MsgpackSerializer()
    for value in ([[0.5] * 1536] * 100, [[0.5] * 1000 + [1]] * 60, [[0.5] * 9 + [None]] * 20_000):
        assert serializer.loads(serializer.dumps(value, context()), context()) == value


@both
def test_foreign_bytes_are_refused_or_plain(serializer: Serializer) -> None:
    for data in (b"", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"\xc1", b'{"a":', b"nul", b"{'a': 1}", b"[1,]"):
        try:
            value = serializer.loads(data, context())
        except EncodingError:
            continue
        assert serializer.name == "msgpack"
        assert type(value) in {int, dict}


def test_json_reads_no_constants_beyond_the_standard() -> None:
    for text in (b"NaN", b"[Infinity]", b'{"a":-Infinity}'):
        with pytest.raises(EncodingError):
            JsonSerializer().loads(text, context())


def test_json_reads_what_the_standard_allows(shared_data: Path) -> None:
    """JSONTestSuite: everything valid is read, everything invalid refused, nothing else raised."""
    serializer = JsonSerializer()
    with gzip.open(shared_data / "vectors" / "JSONTestSuite.jsonl.gz", "rt") as lines:
        cases = [json.loads(line) for line in lines]
    assert len(cases) > 200
    for case in cases:
        data = base64.b64decode(case["b64"])
        try:
            serializer.loads(data, context())
            accepted = True
        except EncodingError:
            accepted = False
        assert case["expect"] in ("either", "transform") or accepted == (case["expect"] == "accept"), case["name"]


def test_msgpack_reads_what_the_format_allows(shared_data: Path) -> None:
    """msgpack-test-suite: each encoding of a value is read as that value; extensions are refused."""
    serializer = MsgpackSerializer()
    suite = json.loads((shared_data / "vectors" / "msgpack-test-suite.json").read_text())
    checked = 0
    for case in (case for group in suite.values() for case in group):
        for encoded in case["msgpack"]:
            data = bytes.fromhex(encoded.replace("-", ""))
            if "ext" in case or "timestamp" in case:
                with pytest.raises(EncodingError):
                    serializer.loads(data, context())
            elif "bignum" in case:
                assert serializer.loads(data, context()) == int(case["bignum"])
            elif "binary" in case:
                assert serializer.loads(data, context()) == bytes.fromhex(case["binary"].replace("-", ""))
            else:
                (wanted,) = (case[name] for name in ("nil", "bool", "number", "string", "array", "map") if name in case)
                assert serializer.loads(data, context()) == wanted
            checked += 1
    assert checked > 100
