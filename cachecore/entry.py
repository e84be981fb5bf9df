"""The envelope `e1`: an entry's bytes, its metadata and its value's bytes, and how they are checked.

Layout, big-endian:

    offset  size  what
    0       2     magic `cc`
    2       1     version, 1
    3       1     flags (bit 0: tombstone)
    4       4     header length h
    8       8     payload length p
    16      h     header: MessagePack array [created, compute_time, fresh_until, dead_until, key_digest, serializer,
                  [[tag, stamp], ...], metadata, served_by]
    16+h    p     payload
    16+h+p  8     xxh3_64 of everything before

A reader checks magic, version, lengths, checksum, and that the entry belongs to the key it asked for, before it looks
at the payload. Whatever is wrong is an answer (`Rejected`), never an error: the caller counts it and computes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import ormsgpack
from xxhash import xxh3_64_digest, xxh3_128_digest

from cachecore.errors import EncodingError

VERSION: Final = 1
TOMBSTONE: Final = 1
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_TAGS: Final = 256

_FIXED = struct.Struct(">2sBBIQ")
_CHECKSUM_BYTES = 8
_OVERHEAD = _FIXED.size + _CHECKSUM_BYTES
_STAMP_BYTES = 16

Reason = Literal["magic", "version", "length", "checksum", "header", "key", "clock", "serializer", "payload", "flags"]
"""Why stored bytes were not served; the label of the metric `cachecore.entries.rejected`."""

Stamps = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bytes that are no entry of the key asked for."""

    reason: Reason


@dataclass(slots=True)
class Entry:
    """One stored answer: when it was made, how long it holds, what it depends on, and its bytes.

    Times are Unix seconds of the store's clock; `None` means for ever. Treat as immutable: it is not frozen because a
    frozen dataclass takes five times as long to make, and a read makes one.
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
    header: bytes
    payload: bytes


@dataclass(slots=True)
class Draft:
    """An entry whose payload is still to be made: the context a serializer gets."""

    key: str
    header: bytes


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
) -> Draft:
    """Return the header of an entry of `key`, ready to be sealed around a payload.

    Raises:
        EncodingError: the metadata cannot be encoded, or the header is over 64 KiB.
    """
    fields = (
        created,
        compute_time,
        fresh_until,
        dead_until,
        xxh3_128_digest(key),
        serializer,
        stamps,
        metadata,
        served_by,
    )
    try:
        array = ormsgpack.packb(fields)
    except (TypeError, ValueError) as error:
        raise EncodingError(f"the metadata of an entry must be plain data: {error}") from error
    if len(array) > MAX_HEADER_BYTES:
        raise EncodingError(f"the header of an entry is {len(array)} bytes, at most {MAX_HEADER_BYTES} are allowed")
    flags = TOMBSTONE if tombstone else 0
    # The payload's length is not part of what a payload is sealed to: sealing changes it.
    return Draft(key, b"cc%c%c" % (VERSION, flags) + array)


def seal(made: Draft, payload: bytes) -> bytes:
    """Return the bytes of the entry that `made` begins and `payload` completes."""
    header = made.header
    body = _FIXED.pack(b"cc", header[2], header[3], len(header) - 4, len(payload)) + header[4:] + payload
    return body + xxh3_64_digest(body)


def encode(key: str, payload: bytes, **fields: Any) -> bytes:
    """Return the bytes of an entry of `key` in one step; `fields` as for `draft`."""
    return seal(draft(key, **fields), payload)


def decode(data: bytes, key: str) -> Entry | Rejected:
    """Return the entry in `data`, or why it is none of `key`. Never raises, whatever the bytes.

    The order of the checks is the order in which they become safe to make; nothing is allocated beyond the size of
    `data` and a header of at most 64 KiB.
    """
    size = len(data)
    if size < _OVERHEAD or data[:2] != b"cc":
        return Rejected("magic")
    _, version, flags, header_bytes, payload_bytes = _FIXED.unpack_from(data)
    if version != VERSION:
        return Rejected("version")
    if header_bytes > MAX_HEADER_BYTES or size != _OVERHEAD + header_bytes + payload_bytes:
        return Rejected("length")
    if xxh3_64_digest(memoryview(data)[:-_CHECKSUM_BYTES]) != data[-_CHECKSUM_BYTES:]:
        return Rejected("checksum")
    if flags & ~TOMBSTONE:
        return Rejected("flags")
    end = _FIXED.size + header_bytes
    array = data[_FIXED.size : end]
    try:
        (created, compute_time, fresh_until, dead_until, digest, serializer, stamps, metadata, served_by) = (
            ormsgpack.unpackb(array)
        )
    except (ValueError, TypeError):
        return Rejected("header")
    if digest != xxh3_128_digest(key):
        return Rejected("key")
    if not (
        type(created) is float
        and type(compute_time) is float
        and (fresh_until is None or type(fresh_until) is float)
        and (dead_until is None or type(dead_until) is float)
        and type(serializer) is str
        and (served_by is None or type(served_by) is str)
        and (metadata is None or type(metadata) is dict)
        and type(stamps) is list
        and len(stamps) <= MAX_TAGS
    ):
        return Rejected("header")
    for pair in stamps:
        if type(pair) is not list or len(pair) != 2:
            return Rejected("header")
        tag, stamp = pair
        if type(tag) is not str or type(stamp) is not bytes or len(stamp) != _STAMP_BYTES:
            return Rejected("header")
    return Entry(
        key,
        created,
        compute_time,
        fresh_until,
        dead_until,
        serializer,
        stamps,
        metadata,
        served_by,
        bool(flags & TOMBSTONE),
        data[:4] + array,
        data[end:-_CHECKSUM_BYTES],
    )
