"""The part of an envelope's header that entries of one namespace have in common: serializer, tags, metadata.

Two forms. The commonest entry (serializer `msgpack`, the root tag, nothing else) has its one stamp only, and one
without serializer and tags has nothing. Any other has the length of a MessagePack array in two bytes, the array
[serializer, path, {tag: stamp}, metadata, served_by] without its trailing nils, and the stamps of the path's tags.
Written and read forms are kept, because they are the same until a stamp changes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ormsgpack

from cachecore.contract.errors import EncodingError, TooLargeError
from cachecore.contract.tokens import ROOT_TAG, STAMP_BYTES
from cachecore.encoding.plain import check_plain

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_TAGS: Final = 256
MAX_NAME_LENGTH: Final = 256
"""Characters of `serializer` and of `served_by`."""
MOST_PATH_TAGS: Final = 15

_SERIALIZERS: Final = ("", "msgpack", "json", "zstd+msgpack", "zstd+json")
"""Names that are written as numbers. Their order is part of `e1`: new ones go to the end."""
_NUMBERS: Final = {name: number for number, name in enumerate(_SERIALIZERS)}
_COMMONEST: Final = "msgpack"
_FIXED_AND_STAMPS: Final = 23 + 2 + MOST_PATH_TAGS * STAMP_BYTES
_MAX_ARRAY_BYTES: Final = MAX_HEADER_BYTES - _FIXED_AND_STAMPS
_FIELDS: Final = 5
_LENGTH = struct.Struct(">H")
_MOST_KEPT: Final = 1024
_LONGEST_KEPT: Final = 1024

Stamps = Sequence[tuple[str, bytes]]
Header = tuple[str, tuple[tuple[str, bytes], ...], dict[str, Any] | None, str | None]
"""Serializer, (tag, stamp) pairs, metadata, served-by."""

headers_read: Final[dict[bytes, Header]] = {}
"""Results of `read_array`."""
plain_read: Final[dict[bytes, Header]] = {}
"""Results of `read_plain`."""
_tails_made: dict[tuple[Any, ...], tuple[bool, int, bytes]] = {}


def tail_of(
    serializer: str, stamps: Stamps, metadata: Mapping[str, Any] | None, served_by: str | None
) -> tuple[bool, int, bytes]:
    """Return whether there is an array, how many stamps of path tags follow, and the bytes of both.

    Raises:
        EncodingError: no reader would accept it.
    """
    known: tuple[Any, ...] | None = None
    if metadata is None:
        try:
            known = (serializer, served_by, *stamps)
            made = _tails_made.get(known)
        except TypeError:  # unhashable, so nothing that will be accepted
            known = made = None
        if made is not None:
            return made
    by_tag = dict(stamps)
    if len(by_tag) != len(stamps):
        raise EncodingError("an entry must not name a tag twice")
    if metadata is not None:
        metadata = dict(metadata)
    _check_header(serializer, by_tag, metadata, served_by)
    if metadata is None and served_by is None and (serializer, *by_tag) in (("",), (_COMMONEST, ROOT_TAG)):
        made = False, len(by_tag), b"".join(by_tag.values())
    else:
        made = _with_array(serializer, by_tag, metadata, served_by)
    if known is not None and len(made[2]) <= _LONGEST_KEPT:
        if len(_tails_made) >= _MOST_KEPT:
            _tails_made.clear()
        _tails_made[known] = made
    return made


def _with_array(
    serializer: str, stamps: dict[str, bytes], metadata: Mapping[str, Any] | None, served_by: str | None
) -> tuple[bool, int, bytes]:
    path: str | None = None
    on_path: list[bytes] = []
    for tag, stamp in stamps.items():
        parent, _, segment = tag.rpartition("/")
        if len(on_path) == MOST_PATH_TAGS or (segment != tag if path is None else path != parent or segment == tag):
            break
        path = tag
        on_path.append(stamp)
    others = dict(list(stamps.items())[len(on_path) :])
    fields = [_NUMBERS.get(serializer, serializer), path, others or None, metadata, served_by]
    while len(fields) > 1 and fields[-1] is None:
        fields.pop()
    try:
        array = ormsgpack.packb(fields)
    except TypeError as error:
        raise EncodingError(f"tags must be text, and the metadata of an entry plain data: {error}") from None
    if len(array) > _MAX_ARRAY_BYTES:
        raise TooLargeError(
            f"the header of an entry is over {MAX_HEADER_BYTES} bytes: give it fewer tags or less metadata", "header"
        )
    return True, len(on_path), b"".join((_LENGTH.pack(len(array)), array, *on_path))


def _check_header(
    serializer: object, stamps: Mapping[Any, object], metadata: Mapping[str, Any] | None, served_by: object
) -> None:
    """Raise EncodingError for fields that no reader would accept."""
    for tag, stamp in stamps.items():
        if type(tag) is not str:
            raise EncodingError(f"tags must be text, not {type(tag).__name__}")
        if type(stamp) is not bytes or len(stamp) != STAMP_BYTES:
            raise EncodingError(f"a stamp must be {STAMP_BYTES} bytes")
    if len(stamps) > MAX_TAGS:
        raise TooLargeError(
            f"an entry may have {MAX_TAGS} tags, with those of its namespaces, not {len(stamps)}: tag broader things, "
            "such as a document instead of each of its parts",
            "too_many_tags",
        )
    if metadata is not None:
        try:
            check_plain(metadata, MAX_HEADER_BYTES, keys_are_text=True)
        except EncodingError as error:
            raise EncodingError(f"the metadata of an entry must be plain data: {error}") from None
    if type(serializer) is not str or len(serializer) > MAX_NAME_LENGTH:
        raise EncodingError(f"the name of a serializer must be text of at most {MAX_NAME_LENGTH} characters")
    if served_by is not None and (type(served_by) is not str or len(served_by) > MAX_NAME_LENGTH):
        raise EncodingError(f"served_by must be text of at most {MAX_NAME_LENGTH} characters")


def read_plain(tail: bytes) -> Header | None:
    """Return the fields of an entry without an array: those of the commonest, or of one without tags."""
    if len(tail) > STAMP_BYTES:
        return None
    header: Header = (_COMMONEST, ((ROOT_TAG, tail),), None, None) if tail else ("", (), None, None)
    return _kept(plain_read, tail, header)


def read_array(tail: bytes, count: int) -> Header | None:
    """Return the fields in an array and its length, with `count` stamps; they do not depend on the entry.

    None if they are wrong.
    """
    ends = len(tail) - count * STAMP_BYTES
    try:
        fields: Any = ormsgpack.unpackb(tail[2:ends])
    except ValueError:  # no MessagePack
        return None
    if type(fields) is not list or not 1 <= len(fields) <= _FIELDS:
        return None
    fields += [None] * (_FIELDS - len(fields))
    serializer, path, others, metadata, served_by = fields
    if type(serializer) is int and 0 <= serializer < len(_SERIALIZERS):
        serializer = _SERIALIZERS[serializer]
    # The keys of a map that was read are text, and different from each other; its values may be anything.
    if not (
        type(serializer) is str
        and len(serializer) <= MAX_NAME_LENGTH
        and (path.count("/") == count - 1 if type(path) is str else path is None and count == 0)
        and (others is None or type(others) is dict)
        and (metadata is None or type(metadata) is dict)
        and (served_by is None or (type(served_by) is str and len(served_by) <= MAX_NAME_LENGTH))
    ):
        return None
    stamps: dict[str, bytes] = {}
    for number in range(count):
        at = ends + number * STAMP_BYTES
        stamps["/".join(path.split("/")[: number + 1])] = tail[at : at + STAMP_BYTES]
    for tag, stamp in (others or {}).items():
        if type(stamp) is not bytes or len(stamp) != STAMP_BYTES or tag in stamps:
            return None
        stamps[tag] = stamp
    if len(stamps) > MAX_TAGS:
        return None
    header = serializer, tuple(stamps.items()), metadata, served_by
    if metadata is None and len(tail) <= _LONGEST_KEPT:  # nothing in it that a caller could change
        return _kept(headers_read, tail, header)
    return header


def _kept(cache: dict[bytes, Header], tail: bytes, header: Header) -> Header:
    if len(cache) >= _MOST_KEPT:
        cache.clear()
    cache[tail] = header
    return header
