"""The envelope: what it keeps, what it refuses, and why."""

from __future__ import annotations

import math
import struct
import tracemalloc
from typing import Any

import ormsgpack
import pytest
from xxhash import xxh3_64_digest, xxh3_64_intdigest

from cachecore.contract.errors import EncodingError
from cachecore.contract.options import MIB
from cachecore.encoding import entry
from cachecore.encoding.entry import Draft, Entry, Rejected, decode, draft, encode, seal

KEY = "p:e:faq/v3:" + "ab" * 32
OTHER = "p:e:faq/v3:" + "cd" * 32
STAMPS = (("n", b"r" * 8), ("n/faq", b"n" * 8), ("t/doc:42", b"d" * 8))
FIXED = struct.Struct(">BBBHdeff")
PART = xxh3_64_intdigest(KEY.encode()) & 0xFFFF


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "created": 1.7e9,
        "compute_time": 0.75,
        "fresh_until": 1.7e9 + 60,
        "dead_until": 1.7e9 + 90,
        "serializer": "msgpack",
        "stamps": STAMPS,
        "metadata": {"model": "m", "parts": [1, 2.5, None, b"b"]},
        "served_by": "provider",
        **changes,
    }


def entry_of(data: bytes, key: str = KEY) -> Entry:
    found = decode(data, key)
    assert isinstance(found, Entry)
    return found


def reason(data: bytes, key: str = KEY) -> str:
    found = decode(data, key)
    assert isinstance(found, Rejected)
    return found.reason


def with_checksum(body: bytes) -> bytes:
    return body + xxh3_64_digest(body, xxh3_64_intdigest(KEY.encode()))


def hostile(array: bytes, *, payload: bytes = b"", count: int = 0, stamps: bytes = b"", **changes: Any) -> bytes:
    """An entry of `KEY` with any array, path stamps and fixed fields, the checksum made right."""
    values = {"magic": 0xC1, "version": 1, "flags": 16 | 32, "part": PART, "created": 1.7e9,
              "compute": 0.75, "fresh": 60.0, "dead": 90.0, "length": len(array), **changes}  # fmt: skip
    fixed = FIXED.pack(values["magic"], values["version"] << 4 | count, *list(values.values())[2:8])
    return with_checksum(fixed + struct.pack(">H", values["length"]) + array + stamps + payload)


def test_every_field_comes_back() -> None:
    found = entry_of(encode(KEY, b"payload", **fields()))
    given = fields()
    assert (found.key, found.payload, found.tombstone) == (KEY, b"payload", False)
    assert {name: getattr(found, name) for name in given} == given
    assert all(type(pair) is tuple for pair in found.stamps)


@pytest.mark.parametrize("fresh_until", [None, 1.7e9 + 5, 1.7e9])
@pytest.mark.parametrize("dead_until", [None, 1.7e9 + 5])
@pytest.mark.parametrize("tombstone", [True, False])
def test_for_ever_and_tombstone_are_kept_apart(
    fresh_until: float | None, dead_until: float | None, tombstone: bool
) -> None:
    data = encode(KEY, b"", **fields(fresh_until=fresh_until, dead_until=dead_until, tombstone=tombstone))
    found = entry_of(data)
    assert (found.fresh_until, found.dead_until, found.tombstone) == (fresh_until, dead_until, tombstone)


def test_whole_numbers_of_seconds_come_back_as_floats() -> None:
    found = entry_of(encode(KEY, b"", **fields(created=5, compute_time=0, fresh_until=6, dead_until=7)))
    times = (found.created, found.compute_time, found.fresh_until, found.dead_until)
    assert times == (5, 0, 6, 7)
    assert {type(time) for time in times} == {float}


@pytest.mark.parametrize("size", [0, 1, 1700, 65_535, 65_536, 3 * MIB])
def test_payloads_of_any_size(size: int) -> None:
    """Large payloads are put together and checked in another way than small ones."""
    payload = bytes(range(256)) * (size // 256 + 1)
    data = encode(KEY, payload[:size], **fields())
    assert entry_of(data).payload == payload[:size]
    assert with_checksum(data[:-8]) == data
    assert reason(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]) == "checksum"


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_read(wrap: type) -> None:
    found = entry_of(wrap(encode(KEY, b"payload", **fields())))
    assert type(found.payload) is type(found.header) is bytes
    data = encode(KEY, b"payload", **fields())
    assert entry_of(memoryview(bytes(2) + data + bytes(2))[2:-2]) == found  # type: ignore[arg-type]  # a view is read too


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"created": math.nan}, "times"),
        ({"created": math.inf}, "times"),
        ({"created": -1.0}, "times"),
        ({"compute_time": -0.5}, "times"),
        ({"compute_time": math.nan}, "times"),
        ({"fresh_until": math.nan}, "times"),
        ({"fresh_until": -math.inf}, "times"),
        ({"dead_until": math.inf}, "times"),
        ({"stamps": [("t", b"short")]}, "8 bytes"),
        ({"stamps": [("t", "a" * 8)]}, "8 bytes"),
        ({"stamps": [("t", bytearray(8))]}, "8 bytes"),
        ({"stamps": [("t", bytes(8)), ("t", bytes(8))]}, "twice"),
        ({"stamps": [(f"t{i}", bytes(8)) for i in range(257)]}, "256 tags"),
        ({"stamps": [(7, bytes(8))]}, "text"),
        ({"metadata": {"when": object()}}, "plain data"),
        ({"metadata": {1: 2}}, "plain data"),
        ({"metadata": {"t": (1,)}}, "tuple"),
        ({"metadata": {"t": bytearray(1)}}, "bytearray"),
        ({"metadata": {"t": "x" * 65_536}}, "65536 bytes"),
        ({"served_by": "x" * 257}, "served_by"),
        ({"served_by": b"bytes"}, "served_by"),
        ({"serializer": "x" * 257}, "serializer"),
        ({"serializer": None}, "serializer"),
    ],
)
def test_draft_refuses_what_no_reader_would_accept(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(EncodingError, match=says):
        draft(KEY, **fields(**changes))


def test_draft_refuses_what_is_encoded_already() -> None:
    """Made here and not above: while one is alive, every key in this process takes the slow way."""
    with pytest.raises(EncodingError, match="Fragment"):
        draft(KEY, **fields(metadata={"t": ormsgpack.Fragment(b"\xc0")}))


def test_limits_themselves_are_accepted() -> None:
    """256 tags and names of 256 characters are written and read."""
    stamps = tuple((f"t{i}", bytes(8)) for i in range(256))
    given = fields(stamps=stamps, served_by="x" * 256, serializer="y" * 256)
    assert entry_of(encode(KEY, b"", **given)).stamps == stamps


GOOD = encode(KEY, b"payload", **fields())
ARRAY = ormsgpack.packb([1, "n/faq", {"t/doc:42": b"d" * 8}, {"model": "m"}, "provider"])
PATH: dict[str, Any] = {"count": 2, "stamps": b"r" * 8 + b"n" * 8}
WITHOUT_ARRAY = struct.pack(">BBBHdef", 0xC1, 1 << 4 | 2, 0, PART, 1.0, 0.0, 1.0)


def array(*values: Any) -> bytes:
    return ormsgpack.packb(list(values))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "magic"),
        (b"{", "magic"),
        (b"{" + b" " * 100 + b"}", "magic"),
        (b"\xc1", "length"),
        (b"\xc1" + bytes(21), "length"),
        (GOOD[:-1], "checksum"),
        (GOOD + b"\x00", "checksum"),
        (hostile(ARRAY, **PATH, version=0), "version"),
        (hostile(ARRAY, **PATH, version=2), "version"),
        (hostile(ARRAY, **PATH, version=15), "version"),
        (hostile(ARRAY, **PATH, magic=0x63), "magic"),
        (hostile(ARRAY, **PATH, length=0xFFFF), "length"),
        (hostile(ARRAY, **PATH, length=len(ARRAY) + 1), "length"),
        (hostile(ARRAY, stamps=b"r" * 16, count=15), "length"),
        (with_checksum(hostile(b"")[:15]), "length"),
        (with_checksum(hostile(b"")[:19]), "length"),
        (with_checksum(hostile(b"")[:23]), "length"),
        (hostile(ARRAY, **PATH, flags=64), "flags"),
        (hostile(ARRAY, **PATH, flags=255), "flags"),
        (hostile(ARRAY, **PATH, flags=32 | 2), "flags"),
        (hostile(ARRAY, **PATH, flags=32 | 4 | 16), "flags"),
        (hostile(ARRAY, **PATH, created=math.nan), "header"),
        (hostile(ARRAY, **PATH, created=-1.0), "header"),
        (hostile(ARRAY, **PATH, created=math.inf), "header"),
        (hostile(ARRAY, **PATH, compute=math.nan), "header"),
        (hostile(ARRAY, **PATH, compute=math.inf), "header"),
        (hostile(ARRAY, **PATH, compute=-1.0), "header"),
        (hostile(ARRAY, **PATH, fresh=math.nan), "header"),
        (hostile(ARRAY, **PATH, fresh=-math.inf), "header"),
        (hostile(ARRAY, **PATH, fresh=math.inf, dead=-math.inf), "header"),
        (hostile(ARRAY, **PATH, dead=math.nan), "header"),
        (hostile(ARRAY, **PATH, dead=math.inf), "header"),
        (hostile(b""), "header"),
        (hostile(b"\xc1"), "header"),
        (hostile(b"\x2a"), "header"),
        (hostile(b"\x90"), "header"),
        (hostile(b"\x94\xc0\xc0\xc0\xc0"), "header"),
        (hostile(array("msgpack", None, {}, None, None, None)), "header"),
        (hostile(ormsgpack.packb({"a": 1, "b": 2, "c": 3, "d": 4})), "header"),
        (hostile(array(b"msgpack")), "header"),
        (hostile(array("x" * 257)), "header"),
        (hostile(array(-1)), "header"),
        (hostile(array(5)), "header"),
        (hostile(array(True)), "header"),
        (hostile(array(1, "n")), "header"),
        (hostile(array(1, "n/faq"), count=1, stamps=bytes(8)), "header"),
        (hostile(array(1), count=1, stamps=bytes(8)), "header"),
        (hostile(array(1, b"n"), count=1, stamps=bytes(8)), "header"),
        (hostile(array(1, "n", {"n": bytes(8)}), count=1, stamps=bytes(8)), "header"),
        (hostile(array("msgpack", None, [])), "header"),
        (hostile(array("msgpack", None, {"t": b"short"})), "header"),
        (hostile(array("msgpack", None, {"t": "a" * 8})), "header"),
        (hostile(array("msgpack", None, {f"t{i}": bytes(8) for i in range(257)})), "header"),
        (hostile(array("m", "n", {f"t{i}": bytes(8) for i in range(256)}), count=1, stamps=bytes(8)), "header"),
        (hostile(ormsgpack.packb(["m", None, {1: bytes(8)}], None, ormsgpack.OPT_NON_STR_KEYS)), "header"),
        (hostile(array("msgpack", None, None, [1])), "header"),
        (hostile(array("msgpack", None, None, None, 7)), "header"),
        (hostile(array("msgpack", None, None, None, "x" * 257)), "header"),
        (hostile(array("msgpack", None, None, ormsgpack.Ext(1, b"os.system"))), "header"),
        (hostile(b"\x94\xa1m\xc0\xc0\xdd\xff\xff\xff\xff"), "header"),
        (hostile(b"\x94\xa1m\xc0\xc0" + b"\x91" * 60_000), "header"),
        (with_checksum(WITHOUT_ARRAY + bytes(16)), "header"),
    ],
)
def test_what_is_wrong_has_a_reason(data: bytes, why: str) -> None:
    assert reason(data) == why


def test_a_claimed_length_that_is_not_there_is_a_length() -> None:
    """A header cannot claim what is not there; what follows it is the payload, so no length of it can lie."""
    assert reason(hostile(ARRAY, length=2**16 - 1, payload=bytes(1000))) == "length"


def test_a_tag_named_twice_in_the_bytes_counts_once() -> None:
    """The last stamp of a repeated tag is the one that is compared, so no tag can hide behind itself."""
    pair = b"\xa1t\xc4\x08"
    found = entry_of(hostile(b"\x93\xa1m\xc0\x82" + pair + b"a" * 8 + pair + b"b" * 8))
    assert found.stamps == (("t", b"b" * 8),)


def test_entry_is_bound_to_its_key() -> None:
    """Bytes copied to another key, as a misrouted reply or an attacker does, are no entry there."""
    assert reason(GOOD, OTHER) == "key"
    assert reason(GOOD, KEY + " ") == "key"
    assert reason(GOOD, "") == "key"


def test_a_bit_flip_is_never_a_value() -> None:
    """Every single-bit flip and every truncation is a miss; of other caches' entries most flips gave a wrong value."""
    for at in range(len(GOOD)):
        for bit in range(8):
            flipped = GOOD[:at] + bytes([GOOD[at] ^ (1 << bit)]) + GOOD[at + 1 :]
            assert isinstance(decode(flipped, KEY), Rejected)
        assert isinstance(decode(GOOD[:at], KEY), Rejected)


@pytest.mark.parametrize("bomb", [b"\x80", b"\x90", b"\x81\xa0\xc0"], ids=["maps", "arrays", "maps of one"])
def test_a_header_full_of_empty_containers_stays_small(bomb: bytes) -> None:
    """The bound on the header bounds what it can become."""
    count = 65_000 // len(bomb)
    data = hostile(b"\x94\xa1m\xc0\xc0\x81\xa1b\xdd" + struct.pack(">I", count) + bomb * count)
    tracemalloc.start()
    try:
        decode(data, KEY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB


def test_header_covers_every_field_and_flag() -> None:
    """What a payload is sealed to differs as soon as one field does; the payload is no part of it."""
    changes: list[dict[str, Any]] = [
        {},
        {"created": 1.0},
        {"compute_time": 1.0},
        {"fresh_until": 1.0},
        {"fresh_until": None},
        {"dead_until": 1.0},
        {"dead_until": None},
        {"serializer": "json"},
        {"stamps": STAMPS[:2]},
        {"stamps": (*STAMPS[:2], ("t/doc:42", b"x" * 8))},
        {"metadata": None},
        {"metadata": {}},
        {"served_by": None},
        {"tombstone": True},
    ]
    headers = [draft(KEY, **fields(**change)).header for change in changes]
    headers.append(draft(OTHER, **fields()).header)
    assert len(set(headers)) == len(headers)


def test_reader_sees_the_header_that_the_writer_sealed() -> None:
    made = draft(KEY, **fields())
    assert entry_of(seal(made, b"payload")).header == made.header
    assert entry_of(seal(made, b"p" * 100_000)).header == made.header


def test_repr_shows_neither_key_nor_value() -> None:
    found = entry_of(encode(KEY, b"secret", **fields()))
    for shown in (repr(found), repr(Draft(KEY, found.header)), str(found)):
        assert "secret" not in shown
        assert KEY not in shown
        assert "doc:42" not in shown


def test_constants_are_the_format() -> None:
    """Changing one of these makes old entries unreadable: that is a new version."""
    assert (entry.VERSION, entry.TOMBSTONE, entry.FRESH_FOR_EVER, entry.NEVER_DEAD) == (1, 1, 2, 4)
    assert (entry.CLAIM, entry.DEAD_LATER, entry.ARRAY) == (8, 16, 32)
    assert GOOD[:3] == b"\xc1\x12\x30"
