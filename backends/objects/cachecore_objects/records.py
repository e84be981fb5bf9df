"""The record in an object, and its path.

A record carries its deadline in its own bytes, not in the metadata of the object: a condition on an object's ETag then
covers the deadline too, local files have no metadata, and a listing would not return it. It carries some random bytes,
because the ETag of S3 is a digest of the content: no two writes have one ETag. And it carries its key, because a file
system may take two names for one.
"""

from __future__ import annotations

import math
import os
import re
import struct
from typing import Final, NamedTuple

_HEAD: Final = struct.Struct(">4sd8sH")
_MAGIC: Final = b"cco1"
_CHUNK: Final = 200
"""Characters of one part of a path; file systems take 255."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9-]")
_ESCAPED: Final = re.compile(r"=([0-9A-F]{2})")

HEAD_BYTES: Final = _HEAD.size
ENDED: Final = 0.0
"""The deadline of an empty record, which a conditional deletion leaves."""


class Record(NamedTuple):
    """The value of a key and the Unix second at which it ends; infinity means never."""

    value: bytes
    deadline: float


def encode(key: str, record: Record) -> bytes:
    """Return the bytes of an object."""
    name = key.encode()
    return _HEAD.pack(_MAGIC, record.deadline, os.urandom(8), len(name)) + name + record.value


def decode(key: str, data: bytes) -> Record | None:
    """Return the record in an object; None if it is none, or that of another key."""
    deadline = ends(data)
    if deadline is None:
        return None
    *_, length = _HEAD.unpack_from(data)
    end = HEAD_BYTES + length
    return Record(data[end:], deadline) if data[HEAD_BYTES:end] == key.encode() else None


def ends(head: bytes) -> float | None:
    """Return the deadline in the first `HEAD_BYTES` of an object; None if it is no record."""
    if len(head) < HEAD_BYTES:
        return None
    magic, deadline, *_ = _HEAD.unpack_from(head)
    return None if magic != _MAGIC or math.isnan(deadline) else float(deadline)


def path_of(key: str) -> str:
    """Return the path of a key: its parts between colons are folders, and a name ends in `_`, which no folder does."""
    return folder_of(key) + "_"


def folder_of(parts: str) -> str:
    """Return the path of the first parts of a key; below it lie the keys that go on with a colon."""
    return "/".join(_escaped(part) for part in parts.split(":"))


def _escaped(part: str) -> str:
    text = _UNSAFE.sub(lambda match: f"={ord(match[0]):02X}", part) or "="
    return "+/".join(text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))


def key_of(path: str) -> str | None:
    """Return the key of a path; None if it is that of another object."""
    if not path.endswith("_"):
        return None
    parts = path[:-1].replace("+/", "").split("/")
    return ":".join("" if part == "=" else _ESCAPED.sub(lambda match: chr(int(match[1], 16)), part) for part in parts)
