"""The envelope `e1`: an entry's bytes, its metadata and its value's bytes, and how they are checked.

Layout, big-endian:

    offset  size  what
    0       2     magic `cc`
    2       1     version, 1
    3       1     flags: 1 tombstone, 2 fresh for ever, 4 never dead (the time is then 0), 8 claim
    4       4     length a of the array
    8       32    created, compute time, fresh until, dead until: float64 each, Unix seconds of the store's clock
    40      16    xxh3_128 of the key
    56      a     MessagePack array [serializer, {tag: stamp}, metadata, served_by]
    56+a    p     payload
    56+a+p  8     xxh3_64 of everything before

What comes before the payload is the header: a serializer that seals payloads binds them to it, every field and flag.
The fields that every entry has are not in the array, because a struct is read in a quarter of the time and has its
types by construction.

A reader checks magic, version, lengths, checksum, and that the entry belongs to the key it asked for, before it looks
at the payload. Whatever is wrong is an answer (`Rejected`), never an error: the caller counts it and computes.

The checksum finds damage, not forgery. Who must not trust those who can write to the store seals payloads (see
`cachecore.serializers.encrypted`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import ormsgpack
from xxhash import xxh3_64, xxh3_64_digest, xxh3_128_digest

from cachecore.contract.errors import EncodingError
from cachecore.encoding.plain import check_plain

VERSION: Final = 1
TOMBSTONE: Final = 1
FRESH_FOR_EVER: Final = 2
NEVER_DEAD: Final = 4
CLAIM: Final = 8
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_TAGS: Final = 256
MAX_NAME_LENGTH: Final = 256
"""Characters of `serializer` and of `served_by`."""

_FIXED = struct.Struct(">2sBBIdddd16s")
_FIXED_BYTES = _FIXED.size
_CHECKSUM_BYTES = 8
_OVERHEAD = _FIXED_BYTES + _CHECKSUM_BYTES
_MAX_ARRAY_BYTES = MAX_HEADER_BYTES - _FIXED_BYTES
_ALL_FLAGS = TOMBSTONE | FRESH_FOR_EVER | NEVER_DEAD | CLAIM
_STAMP_BYTES = 16
_COPY_BYTES = 64 * 1024  # up to here a copy is cheaper than what avoids it
_INF = float("inf")

Reason = Literal["magic", "version", "length", "checksum", "header", "key", "clock", "serializer", "payload", "flags"]
"""Why stored bytes were not served; the label of the metric `cachecore.entries.rejected`."""

Stamps = Sequence[tuple[str, bytes]]


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

    def __repr__(self) -> str:
        return f"Draft(header of {len(self.header)} bytes)"


# Made without their keyword constructors, which would take a third of the time of a read.
_make = tuple.__new__
_pack_fixed = _FIXED.pack
_unpack_fixed = _FIXED.unpack_from
_pack = ormsgpack.packb
_unpack = ormsgpack.unpackb

_MAGIC = Rejected("magic")
_VERSION = Rejected("version")
_LENGTH = Rejected("length")
_CHECKSUM = Rejected("checksum")
_HEADER = Rejected("header")
_KEY = Rejected("key")
_FLAGS = Rejected("flags")


_Header = tuple[str, tuple[tuple[str, bytes], ...], dict[str, Any] | None, str | None]
_headers_read: dict[bytes, _Header] = {}  # entries of one namespace have one header until a stamp changes
_MOST_HEADERS = 1024
_LONGEST_KEPT = 1024


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
        serializer: the name of what makes the payload.
        stamps: the tags it depends on and their stamps of 16 bytes; at most 256, each tag once.
        metadata: the user's own facts: plain data, stored unencrypted.
        served_by: who made the value, at most 256 characters.
        tombstone: whether it says that the key was deleted.
        claim: whether it says that the key is being computed.

    Raises:
        EncodingError: something is not as said above, or the header is over 64 KiB.
    """
    flags = (TOMBSTONE if tombstone else 0) | (CLAIM if claim else 0)
    if fresh_until is None:
        flags |= FRESH_FOR_EVER
        fresh_until = 0.0
    if dead_until is None:
        flags |= NEVER_DEAD
        dead_until = 0.0
    # A NaN or an infinity anywhere makes the sum one.
    if not (0.0 <= created and 0.0 <= compute_time and 0.0 <= created + compute_time + fresh_until + dead_until < _INF):
        raise EncodingError("the times of an entry must be finite and not negative")
    found = dict(stamps)
    if len(found) != len(stamps):
        raise EncodingError("an entry must not name a tag twice")
    if metadata is not None:
        metadata = dict(metadata)
    try:
        array = _pack((serializer, found, metadata, served_by))
    except TypeError as error:
        raise EncodingError(f"tags must be text, and the metadata of an entry plain data: {error}") from None
    array_bytes = len(array)
    if array not in _headers_read:  # one that a reader has accepted need not be looked at again
        _check_header(array, serializer, found, metadata, served_by)
    digest = xxh3_128_digest(key.encode())
    fixed = _pack_fixed(b"cc", VERSION, flags, array_bytes, created, compute_time, fresh_until, dead_until, digest)
    return _make(Draft, (key, fixed + array))


def _check_header(
    array: bytes,
    serializer: object,
    stamps: Mapping[str, object],
    metadata: Mapping[str, Any] | None,
    served_by: object,
) -> None:
    """Raise EncodingError for what no reader would accept."""
    for stamp in stamps.values():
        if type(stamp) is not bytes or len(stamp) != _STAMP_BYTES:
            raise EncodingError(f"a stamp must be {_STAMP_BYTES} bytes")
    if len(stamps) > MAX_TAGS:
        raise EncodingError(f"an entry may have {MAX_TAGS} tags, not {len(stamps)}")
    if metadata is not None:
        check_plain(metadata, MAX_HEADER_BYTES, keys_are_text=True)
    if type(serializer) is not str or len(serializer) > MAX_NAME_LENGTH:
        raise EncodingError(f"the name of a serializer must be text of at most {MAX_NAME_LENGTH} characters")
    if served_by is not None and (type(served_by) is not str or len(served_by) > MAX_NAME_LENGTH):
        raise EncodingError(f"served_by must be text of at most {MAX_NAME_LENGTH} characters")
    if len(array) > _MAX_ARRAY_BYTES:
        raise EncodingError(f"the header of an entry is over {MAX_HEADER_BYTES} bytes: fewer tags or less metadata")


def tombstone(key: str, *, created: float, dead_until: float, nonce: bytes) -> bytes:
    """Return what lies under a deleted key: `TOMBSTONE_BYTES` long, and different from any other tombstone.

    `nonce` is 8 random bytes: whoever read one tombstone must not take a later one for it.
    """
    made = draft(key, created=created, fresh_until=created, dead_until=dead_until, serializer="", tombstone=True)
    return seal(made, nonce)


def seal(made: Draft, payload: bytes) -> bytes:
    """Return the bytes of the entry that `made` begins and `payload` completes."""
    header = made[1]
    if len(payload) < _COPY_BYTES:
        body = header + payload
        return body + xxh3_64_digest(body)
    checksum = xxh3_64(header)
    checksum.update(payload)
    return b"".join((header, payload, checksum.digest()))


def encode(key: str, payload: bytes, **fields: Any) -> bytes:
    """Return the bytes of an entry of `key` in one step; `fields` as for `draft`."""
    return seal(draft(key, **fields), payload)


def decode(data: bytes | bytearray | memoryview, key: str) -> Entry | Rejected:
    """Return the entry in `data`, or why it is none of `key`. Never raises, whatever the bytes.

    The order of the checks is the order in which they become safe to make; nothing is allocated beyond the size of
    `data` and what a header of at most 64 KiB can hold. About 1.6 µs with three tags.
    """
    if type(data) is not bytes:
        data = memoryview(data).tobytes()
    size = len(data)
    if size < _OVERHEAD:
        return _LENGTH if data[:2] == b"cc" else _MAGIC
    magic, version, flags, array_bytes, created, compute_time, fresh_until, dead_until, digest = _unpack_fixed(data)
    if magic != b"cc":
        return _MAGIC
    if version != VERSION:
        return _VERSION
    end = _FIXED_BYTES + array_bytes
    if array_bytes > _MAX_ARRAY_BYTES or size < end + _CHECKSUM_BYTES:
        return _LENGTH
    body = data[:-8] if size < _COPY_BYTES else memoryview(data)[:-8]
    if xxh3_64_digest(body) != data[-8:]:
        return _CHECKSUM
    if digest != xxh3_128_digest(key.encode()):
        return _KEY
    if not (0.0 <= created and 0.0 <= compute_time and 0.0 <= created + compute_time + fresh_until + dead_until < _INF):
        return _HEADER
    if flags:
        if flags > _ALL_FLAGS:
            return _FLAGS
        if flags & FRESH_FOR_EVER:
            fresh_until = None
        if flags & NEVER_DEAD:
            dead_until = None
    array = data[_FIXED_BYTES:end]
    header = _headers_read.get(array) or _read_header(array)
    if header is None:
        return _HEADER
    serializer, stamps, metadata, served_by = header
    return _make(
        Entry,
        (
            key,
            created,
            compute_time,
            fresh_until,
            dead_until,
            serializer,
            stamps,
            metadata,
            served_by,
            flags & TOMBSTONE == TOMBSTONE,
            flags & CLAIM == CLAIM,
            data[:end],
            data[end:-8],
        ),
    )


def _read_header(array: bytes) -> _Header | None:
    """Return the fields of a header that hold for its bytes, whatever entry they stand in; None if they are wrong."""
    try:
        serializer, stamps, metadata, served_by = _unpack(array)
    except (ValueError, TypeError):  # no MessagePack, no array, or not of four
        return None
    # The keys of a map that was read are text, and different from each other; its values may be anything.
    if not (
        type(serializer) is str
        and type(stamps) is dict
        and len(stamps) <= MAX_TAGS
        and (metadata is None or type(metadata) is dict)
        and (served_by is None or (type(served_by) is str and len(served_by) <= MAX_NAME_LENGTH))
    ):
        return None
    for stamp in stamps.values():
        if type(stamp) is not bytes or len(stamp) != _STAMP_BYTES:
            return None
    header = serializer, tuple(stamps.items()), metadata, served_by
    if metadata is None and len(array) <= _LONGEST_KEPT:  # nothing in it that a caller could change
        if len(_headers_read) >= _MOST_HEADERS:
            _headers_read.clear()
        _headers_read[array] = header
    return header


TOMBSTONE_BYTES: Final = len(tombstone("", created=0.0, dead_until=0.0, nonce=bytes(8)))
"""The length of every tombstone, and of nothing else: an entry carries the root tag and its stamp at least."""
