"""The archive of a cache: one file of MessagePack arrays, written and read as a stream.

    ["cachecore-archive", 1, {"prefix", "shards", "created"}]   first
    ["e", key, bytes]                                           an answer as it lies in the store, for each
    ["s", {key of a stamp: stamp, …}]                           the stamps that were current when all was read
    ["end", answers, digest]                                    last; xxh3_128 of all that is before

The stamps come last, because an answer that was read before an invalidation is invalid all the same. So an import reads
the file twice: first to check it and to learn the stamps. An archive without its end is incomplete; it can be gone on
with. Each answer carries a checksum of its own as well. The file holds answers, so only its owner can read it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgpack
from xxhash import xxh3_128

from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.options import MIB

MAGIC: Final = "cachecore-archive"
VERSION: Final = 1
_STAMPS_TOGETHER: Final = 1000
_MOST_SHARDS: Final = 16_384
_MOST_BUFFERED: Final = 256 * MIB
"""The largest record that is read."""
_LENGTHS = struct.Struct(">II")
_HEAD = struct.Struct(">Hd")


class DamagedArchiveError(CacheError):
    """An archive is not as it was written; the message says where."""


class Digest:
    """The digest over what an archive holds, in order."""

    def __init__(self, prefix: str, shards: int, created: float) -> None:
        self._hash = xxh3_128()
        self.add(prefix, _HEAD.pack(shards, created))

    def add(self, name: str, value: bytes) -> None:
        """Take a key and its value, or a stamp's key and the stamp."""
        data = name.encode()
        self._hash.update(_LENGTHS.pack(len(data), len(value)))
        self._hash.update(data)
        self._hash.update(value)

    @property
    def value(self) -> bytes:
        """The digest so far, 16 bytes."""
        return self._hash.digest()


@dataclass(slots=True)
class Content:
    """What a first reading of an archive found."""

    prefix: str
    shards: int
    created: float
    """Unix seconds."""
    answers: int = 0
    stamps: dict[str, bytes] = field(default_factory=dict)
    complete: bool = False
    """Whether it has its end, and is what was written."""
    good_bytes: int = 0
    """The length up to the last whole record."""
    keys: set[int] = field(default_factory=set)
    """Hashes of the keys; filled for a writer that goes on."""


class ArchiveWriter:
    """Writes `path`, beside it first: the name is given to a whole archive only.

    Args:
        resume: go on with what an earlier run has left.
    """

    def __init__(self, path: Path, *, prefix: str, shards: int, created: float, resume: bool = False) -> None:
        """Open the file. Raises OptionsError if it is there already, or cannot be gone on with; OSError."""
        self.path = path
        self.part = path.with_name(path.name + ".part")
        if path.exists():
            raise OptionsError(f"{path} is there already: give another name, or remove it")
        self._digest = Digest(prefix, shards, created)
        self.answers = 0
        self._keys: set[int] = set()
        if resume and self.part.exists() and not self.part.stat().st_size:
            self.part.unlink()  # the disk was full, or the run was killed, before the head was written
        if resume and self.part.exists():
            self._file = self._continued(prefix, shards)
            return
        if self.part.exists():
            raise OptionsError(f"{self.part} is what an earlier run has left: say --resume to go on, or remove it")
        self._file = os.fdopen(os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._write([MAGIC, VERSION, {"prefix": prefix, "shards": shards, "created": created}])

    def _continued(self, prefix: str, shards: int) -> IO[bytes]:
        content = Content("", 0, 0.0)
        for key, value in read(self.part, content, whole=False):
            if not self.answers:  # the head has been read by now
                self._digest = Digest(content.prefix, content.shards, content.created)
            self._digest.add(key, value)
            self._keys.add(hash(key))
            self.answers += 1
        if not self.answers:
            self._digest = Digest(content.prefix, content.shards, content.created)
        if (content.prefix, content.shards) != (prefix, shards):
            raise OptionsError(f"{self.part} was begun for another store: remove it, or export under another name")
        file = self.part.open("r+b")
        file.truncate(content.good_bytes)
        file.seek(content.good_bytes)
        return file

    def has(self, key: str) -> bool:
        """Return whether an earlier run has written `key`."""
        return hash(key) in self._keys

    def add(self, key: str, value: bytes) -> None:
        """Write one answer."""
        self._write(["e", key, value])
        self._digest.add(key, value)
        self.answers += 1

    def flush(self) -> None:
        """Hand what was written to the system. Raises OSError."""
        self._file.flush()

    def finish(self, stamps: Mapping[str, bytes]) -> None:
        """Write the stamps and the end, and give the archive its name."""
        names = sorted(stamps)
        for start in range(0, len(names), _STAMPS_TOGETHER):
            part = {name: stamps[name] for name in names[start : start + _STAMPS_TOGETHER]}
            self._write(["s", part])
            for name, stamp in part.items():
                self._digest.add(name, stamp)
        self._write(["end", self.answers, self._digest.value])
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.part.rename(self.path)

    def _write(self, record: list[Any]) -> None:
        self._file.write(msgpack.packb(record))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read(path: Path, content: Content, *, whole: bool = True) -> Iterator[tuple[str, bytes]]:
    """Yield key and value of each answer in the archive at `path`; what else it says goes into `content`.

    Holds one record at a time. Without `whole`, an archive that ends early ends the reading and is no error.

    Raises:
        DamagedArchiveError: it is no archive, of a newer version, ends early, or is not what was written.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        unpacker = msgpack.Unpacker(file, raw=False, max_buffer_size=_MOST_BUFFERED)
        first = _next(unpacker, path)
        if not isinstance(first, list) or len(first) != 3 or first[0] != MAGIC or not isinstance(first[2], dict):
            raise DamagedArchiveError(f"{path} is no archive of cachecore")
        if first[1] != VERSION:
            raise DamagedArchiveError(f"{path} is an archive of version {first[1]!r}; this version reads {VERSION}")
        _head(content, first[2], path)
        digest = Digest(content.prefix, content.shards, content.created)
        content.good_bytes = unpacker.tell()
        while (record := _next(unpacker, path, content)) is not None:
            match record:
                case ["e", str(key), bytes(value)]:
                    digest.add(key, value)
                    content.answers += 1
                    content.good_bytes = unpacker.tell()
                    yield key, value
                case ["s", dict(stamps)] if all(map(_is_stamp, stamps.items())):
                    for name, stamp in stamps.items():
                        digest.add(name, stamp)
                        content.stamps[name] = stamp
                case ["end", int(answers), bytes(told)]:
                    if answers != content.answers or told != digest.value:
                        raise DamagedArchiveError(f"{path} is damaged: its content is not what was written")
                    content.complete = True
                    return
                case _:
                    raise DamagedArchiveError(f"{path} is damaged behind answer {content.answers:,}")
    if whole:
        raise DamagedArchiveError(
            f"{path} ends early, behind answer {content.answers:,}: finish it with export --resume, or copy it again"
        )


def _is_stamp(pair: tuple[Any, Any]) -> bool:
    return isinstance(pair[0], str) and isinstance(pair[1], bytes)


def _head(content: Content, told: dict[str, Any], path: Path) -> None:
    match told:
        case {"prefix": str(prefix), "shards": int(shards), "created": float(created)} if 0 <= shards <= _MOST_SHARDS:
            content.prefix, content.shards, content.created = prefix, shards, created
        case _:
            raise DamagedArchiveError(f"{path} is no archive of cachecore")


def _next(unpacker: msgpack.Unpacker, path: Path, content: Content | None = None) -> Any:
    """Return the next record; None where the file ends, in the middle of one or not."""
    try:
        return unpacker.unpack()
    except msgpack.OutOfData:
        return None
    except (ValueError, msgpack.UnpackException) as error:
        behind = f" behind answer {content.answers:,}" if content is not None else ""
        raise DamagedArchiveError(f"{path} is damaged{behind}: {type(error).__name__}") from None
