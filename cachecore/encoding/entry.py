"""The envelope `e1`: an entry's bytes, its metadata and its value's bytes, and how they are checked.

Layout, big-endian; short, because a store keeps fewer entries for each byte that all of them have:

    offset  size  content
    0       1     magic, 0xC1: neither UTF-8 text nor MessagePack begins with it
    1       1     version, 1, in the upper four bits; number n of path tags in the lower four
    2       1     flags: 1 tombstone, 2 fresh for ever, 4 never dead, 8 claim, 16 dead later than stale, 32 array
    3       2     the lowest bits of xxh3_64 of the key: they tell another key's entry from a damaged one
    5       8     created: float64, Unix seconds of the store's clock
    13      2     compute time: float16 seconds
    15      0, 4  fresh until, less created: float32 seconds; absent with flag 2
            0, 4  dead until, less created: float32 seconds; only with flag 16, else it is as fresh until
            0, 2  length a of the array; only with flag 32
            a     MessagePack array [serializer, path, {tag: stamp}, metadata, served_by], trailing nils left out
            8n    stamps of the path tags
            p     payload
            8     xxh3_64 of everything before, seeded with xxh3_64 of the key

Tags that continue each other are written once: the path `n/faq/v3` is the tags `n`, `n/faq` and `n/faq/v3`. Without an
array an entry with one stamp is the commonest, of the root tag and the serializer `msgpack`; one with none has neither.
Known names of serializers are numbers. Deadlines are rounded down, to the tenth of a millisecond for a ttl of an hour.

The bytes before the payload are the header: a serializer that encrypts payloads binds them to every field and flag.
The fields that every entry has are not in the array, because a struct is read in a quarter of the time and has its
types by construction.

A reader checks magic, version, the checksum, which is seeded with the key that it asked for, and lengths, before it
looks at the payload. Every defect is an answer (`Rejected`), never an error: the caller counts it and computes.

The checksum finds damage, not forgery. Where writers of the store cannot be trusted, encrypt payloads (see
`cachecore.serializers.encrypted`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from xxhash import xxh3_64, xxh3_64_digest, xxh3_64_intdigest

from cachecore.contract.errors import EncodingError
from cachecore.encoding.header import (
    Stamps,
    headers_read,
    plain_read,
    read_array,
    read_plain,
    tail_of,
)

VERSION: Final = 1
TOMBSTONE: Final = 1
FRESH_FOR_EVER: Final = 2
NEVER_DEAD: Final = 4
CLAIM: Final = 8
DEAD_LATER: Final = 16
ARRAY: Final = 32
MAX_COMPUTE_TIME: Final = 65_504.0
"""Seconds; a longer computation is recorded as this long."""

_MAGIC_BYTE: Final = 0xC1
_FIXED = struct.Struct(">BBBHde")
_FIXED_FRESH = struct.Struct(">BBBHdef")
_FIXED_BOTH = struct.Struct(">BBBHdeff")
_DELTA = struct.Struct(">f")
_FIXED_BYTES = _FIXED.size
_CHECKSUM_BYTES = 8
_OVERHEAD = _FIXED_BYTES + _CHECKSUM_BYTES
_LONGEST = _FIXED_BOTH.size + 2 + _CHECKSUM_BYTES
_ALL_FLAGS = TOMBSTONE | FRESH_FOR_EVER | NEVER_DEAD | CLAIM | DEAD_LATER | ARRAY
_COPY_BYTES = 64 * 1024  # up to here a copy is cheaper than avoiding it
_KEY_PART: Final = 0xFFFF
"""Written as a number in `decode`, where each name costs a look-up, as are the magic, version and sizes."""
_SPLIT: Final = 2.0**29 + 1.0
_HALF_STEP: Final = 2.0**-24
_INF = float("inf")

Reason = Literal["magic", "version", "length", "checksum", "header", "key", "clock", "serializer", "payload", "flags"]
"""Why stored bytes were not served; the label of the metric `cachecore.entries.rejected`."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bytes that are no entry of the key asked for."""

    reason: Reason


class Entry(NamedTuple):
    """One stored answer: when it was made, how long it holds, what it depends on, and its bytes.

    Times are Unix seconds of the store's clock; `None` means for ever. `repr` shows neither key nor value: both may
    hold a prompt. A tuple, because a read makes one and a dataclass takes longer to make than to check.
    """

    key: str
    created: float
    compute_time: float
    fresh_until: float | None
    dead_until: float | None
    serializer: str
    stamps: Stamps
    metadata: Mapping[str, Any] | None
    served_by: str | None
    tombstone: bool
    claim: bool
    header: bytes
    payload: bytes

    def __repr__(self) -> str:
        return f"Entry({self.serializer}, created={self.created:.3f}, payload of {len(self.payload)} bytes)"


class Draft(NamedTuple):
    """An entry whose payload is still to be made: the context a serializer gets."""

    key: str
    header: bytes
    seed: int | None = None
    """xxh3_64 of the key; None: not worked out yet."""

    def __repr__(self) -> str:
        return f"Draft(header of {len(self.header)} bytes)"


# Made without their keyword constructors, which would take a third of the time of a read.
_make = tuple.__new__
_pack_fresh = _FIXED_FRESH.pack
_pack_both = _FIXED_BOTH.pack
_unpack_fixed = _FIXED_FRESH.unpack_from
_unpack_both = _FIXED_BOTH.unpack_from
_unpack_array = struct.Struct(">BBBHdefH").unpack_from
_unpack_both_array = struct.Struct(">BBBHdeffH").unpack_from

_MAGIC = Rejected("magic")
_VERSION = Rejected("version")
_LENGTH = Rejected("length")
_CHECKSUM = Rejected("checksum")
_HEADER = Rejected("header")
_KEY = Rejected("key")
_FLAGS = Rejected("flags")


def draft(
    key: str,
    *,
    created: float,
    compute_time: float = 0.0,
    fresh_until: float | None,
    dead_until: float | None,
    serializer: str,
    stamps: Stamps = (),
    metadata: Mapping[str, Any] | None = None,
    served_by: str | None = None,
    tombstone: bool = False,
    claim: bool = False,
) -> Draft:
    """Return the header of an entry of `key`, ready to be sealed around a payload.

    Args:
        key: the key it will be stored under; no other reads it.
        created: Unix seconds of the store's clock, as are all times.
        compute_time: seconds that making the value took.
        fresh_until: when it becomes stale; None means never.
        dead_until: when nothing may serve it any more; None means never.
        serializer: the name of the payload's serializer.
        stamps: the tags it depends on and their stamps of 8 bytes; at most 256, each tag once.
        metadata: the user's own facts: plain data, stored unencrypted.
        served_by: the origin of the value, at most 256 characters.
        tombstone: whether it says that the key was deleted.
        claim: whether it says that the key is being computed.

    Raises EncodingError if something is not as said above, or the header is over 64 KiB.
    """
    flags = (TOMBSTONE if tombstone else 0) | (CLAIM if claim else 0)
    # A NaN or an infinity anywhere makes the sum one.
    fresh = 0.0 if fresh_until is None else fresh_until
    dead = 0.0 if dead_until is None else dead_until
    within = 0.0 <= created and 0.0 <= compute_time and 0.0 <= fresh and 0.0 <= dead
    if not (within and created + compute_time + fresh + dead < _INF):
        raise EncodingError("the times of an entry must be finite and not negative")
    has_array, count, tail = tail_of(serializer, stamps, metadata, served_by)
    if has_array:
        flags |= ARRAY
    seed = xxh3_64_intdigest(key.encode())
    part = seed & _KEY_PART
    took, kind = min(MAX_COMPUTE_TIME, compute_time), VERSION << 4 | count
    try:
        if fresh_until is None or dead_until is None:
            more, deltas = _deadlines(created, fresh_until, dead_until)
            fixed = _FIXED.pack(_MAGIC_BYTE, kind, flags | more, part, created, took) + deltas
        elif fresh == dead:
            fresh -= created  # rounded down as `_rounded_down` does: half of all that is written comes here
            split = fresh * _SPLIT
            near = split - (split - fresh)
            if near > fresh:
                near = fresh - abs(fresh) * _HALF_STEP
            fixed = _pack_fresh(_MAGIC_BYTE, kind, flags, part, created, took, near)
        else:
            fresh, dead = _rounded_down(fresh - created), _rounded_down(dead - created)
            fixed = _pack_both(_MAGIC_BYTE, kind, flags | DEAD_LATER, part, created, took, fresh, dead)
    except OverflowError:
        raise EncodingError("the deadlines of an entry must not be so far from its creation") from None
    return _make(Draft, (key, fixed + tail, seed))


def _deadlines(created: float, fresh: float | None, dead: float | None) -> tuple[int, bytes]:
    """Return the flags and the bytes of the deadlines, where one of them is none."""
    flags, deltas = 0, b""
    if fresh is None:
        flags |= FRESH_FOR_EVER
    else:
        deltas = _DELTA.pack(_rounded_down(fresh - created))
    if dead is None:
        flags |= NEVER_DEAD
    else:
        flags |= DEAD_LATER
        deltas += _DELTA.pack(_rounded_down(dead - created))
    return flags, deltas


def _rounded_down(seconds: float) -> float:
    """Return the largest float32 that is at most `seconds`: no entry lives longer than it may."""
    split = seconds * _SPLIT
    near = split - (split - seconds)  # to the 24 bits of a float32 (Dekker 1971)
    return near if near <= seconds else seconds - abs(seconds) * _HALF_STEP


def tombstone(key: str, *, created: float, dead_until: float, nonce: bytes) -> bytes:
    """Return the bytes for a deleted key: `TOMBSTONE_BYTES` long, and different from any other tombstone.

    `nonce` is 8 random bytes: a reader of one tombstone must not take a later one for it.
    """
    made = draft(key, created=created, fresh_until=dead_until, dead_until=dead_until, serializer="", tombstone=True)
    return seal(made, nonce)


def seal(made: Draft, payload: bytes) -> bytes:
    """Return the bytes of the entry that `made` begins and `payload` completes."""
    key, header, seed = made
    if seed is None:
        seed = xxh3_64_intdigest(key.encode())
    if len(payload) < _COPY_BYTES:
        body = header + payload
        return body + xxh3_64_digest(body, seed)
    checksum = xxh3_64(header, seed)
    checksum.update(payload)
    return b"".join((header, payload, checksum.digest()))


def is_mark(data: bytes, key: str) -> bool:
    """Return whether `data` under `key` is a tombstone or a claim, and no answer."""
    entry = decode(data, key)
    return isinstance(entry, Entry) and (entry.tombstone or entry.claim)


def encode(key: str, payload: bytes, **fields: Any) -> bytes:
    """Return the bytes of an entry of `key` in one step; `fields` as for `draft`."""
    return seal(draft(key, **fields), payload)


def decode(data: bytes | bytearray | memoryview, key: str) -> Entry | Rejected:
    """Return the entry in `data`, or why it is none of `key`. Never raises.

    The order of the checks is the order in which they become safe to make; nothing is allocated beyond the size of
    `data` and the content of a header of at most 64 KiB. About 1.6 µs with three tags.
    """
    if type(data) is not bytes:
        data = memoryview(data).tobytes()
    size = len(data)
    if size < _OVERHEAD:
        return _LENGTH if data[:1] == b"\xc1" else _MAGIC
    flags = data[2]
    if not flags:  # as with a cache's defaults; here, because a call takes longer than the step
        magic, kind, _, part, created, compute_time, delta = _unpack_fixed(data)
        at, later, length = 19, delta, -1
    else:
        magic, kind, part, created, compute_time, delta, later, at, length = _fixed_fields(data, flags, size)
    if magic != 0xC1:
        return _MAGIC
    if kind >> 4 != 1:
        return _VERSION
    seed = xxh3_64_intdigest(key.encode())
    if xxh3_64_digest(data[:-8] if size < _COPY_BYTES else memoryview(data)[:-8], seed) != data[-8:]:
        return _CHECKSUM if part == seed & 0xFFFF else _KEY
    fresh_until: float | None = created + delta
    dead_until: float | None = created + later
    if flags and at == 19:
        unusual = _unusual(data, flags, created, delta)
        if isinstance(unusual, Rejected):
            return unusual
        fresh_until, dead_until, length, at = unusual
        delta, later = fresh_until or 0.0, dead_until or 0.0
    # A NaN or an infinity anywhere makes the sum one.
    if not (
        0.0 <= created and 0.0 <= compute_time and (times := created + compute_time + delta + later) - times == 0.0
    ):
        return _HEADER
    end = at + (kind & 15) * 8
    if length < 0:
        if size < end + 8:
            return _LENGTH
        tail = data[at:end]
        header = plain_read.get(tail) or read_plain(tail)
    else:
        end += length
        if size < end + 8:
            return _LENGTH
        tail = data[at - 2 : end]  # with the length, so that equal tails have equally many stamps
        header = headers_read.get(tail) or read_array(tail, kind & 15)
    if header is None:
        return _HEADER
    times_and_tags = (created, compute_time, fresh_until, dead_until, *header)
    return _make(Entry, (key, *times_and_tags, flags & 1 == 1, flags & 8 == 8, data[:end], data[end:-8]))


def payload_of(data: bytes, header: bytes) -> bytes:
    """Return the payload of an entry that was decoded before, from its bytes and its header."""
    return data[len(header) : -8]


def _fixed_fields(data: bytes, flags: int, size: int) -> tuple[int, int, int, float, float, float, float, int, int]:
    """Return magic, kind, part, created, compute time, the two deadlines, where the tail begins, and its length or -1.

    For bytes with flags. The commonest forms are read in one step each: a step takes as long as a field.
    """
    length = -1
    if flags == 48 and size >= _LONGEST:
        magic, kind, _, part, created, compute_time, delta, later, length = _unpack_both_array(data)
        at = 25
    elif flags == ARRAY and size >= _LONGEST:
        magic, kind, _, part, created, compute_time, delta, length = _unpack_array(data)
        at, later = 21, delta
    elif flags == DEAD_LATER and size >= _LONGEST:
        magic, kind, _, part, created, compute_time, delta, later = _unpack_both(data)
        at = 23
    else:
        magic, kind, _, part, created, compute_time, delta = _unpack_fixed(data)
        at, later = 19, delta
    return magic, kind, part, created, compute_time, delta, later, at, length


def _unusual(
    data: bytes, flags: int, created: float, delta: float
) -> tuple[float | None, float | None, int, int] | Rejected:
    """Return `fresh_until`, `dead_until`, the length of the array (-1: none) and where it begins, for any flags."""
    later = flags & (NEVER_DEAD | DEAD_LATER)
    if flags > _ALL_FLAGS or later == NEVER_DEAD | DEAD_LATER or (flags & FRESH_FOR_EVER and not later):
        return _FLAGS
    fresh: float | None = created + delta
    at, size = _FIXED_FRESH.size, len(data) - _CHECKSUM_BYTES
    if flags & FRESH_FOR_EVER:
        fresh = None
        at = _FIXED.size
    dead = None if later == NEVER_DEAD else fresh
    if later == DEAD_LATER:
        if size < at + _DELTA.size:
            return _LENGTH
        dead = created + _DELTA.unpack_from(data, at)[0]
        at += _DELTA.size
    length = -1
    if flags & ARRAY:
        if size < at + 2:
            return _LENGTH
        length = data[at] << 8 | data[at + 1]
        at += 2
    return fresh, dead, length, at


TOMBSTONE_BYTES: Final = len(tombstone("", created=0.0, dead_until=0.0, nonce=bytes(8)))
"""The length of every tombstone; a small entry may be as long."""
