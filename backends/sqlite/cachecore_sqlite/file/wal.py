"""Whether the WAL (write-ahead log) still holds all acknowledged writes.

SQLite reads the WAL up to the first invalid frame and ignores the rest: right for the unfinished write of a killed
process, but after damage it silently takes the file back in time, and invalidated answers come back. The WAL index
(`-shm`), a file that survives a killed process, holds the number of committed frames. If fewer are valid now,
acknowledged writes are lost, and the cache must start empty.

The formats are https://www.sqlite.org/fileformat2.html#the_write_ahead_log and https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from dataclasses import dataclass
from typing import Final

try:
    import fcntl
except ImportError:  # Windows: the WAL is checked on each opening
    fcntl = None  # type: ignore[assignment]

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGICS: Final = {0x377F0683: ">", 0x377F0682: "<"}
_WORD: Final = 0xFFFFFFFF

_INDEX: Final = struct.Struct("=3IBBH6I2I")
_INDEX_VERSION: Final = 3007000
_BACKFILLED_AT: Final = 2 * _INDEX.size
_OPEN_AT: Final = 128  # each user of the index holds a lock on this byte: UNIX_SHM_DMS in SQLite's source


@dataclass(frozen=True, slots=True)
class Committed:
    """The content of a WAL index: the committed frames, and how many of them a checkpoint has copied to the file."""

    frames: int
    backfilled: int
    salt: tuple[int, int]


def read_committed(path: str) -> Committed | None:
    """Return the committed frames of the database at `path`, None if its WAL index is absent or invalid.

    This process must have no connection to it: closing the index releases SQLite's locks on it.
    """
    try:
        with open(path + "-shm", "rb") as file:
            index = file.read(_BACKFILLED_AT + 4)
    except FileNotFoundError:
        return None
    size = _INDEX.size
    if len(index) < _BACKFILLED_AT + 4 or index[:size] != index[size : 2 * size]:
        return None
    version, _, _, ready, _, _, frames, _, _, _, _, _, sum0, sum1 = _INDEX.unpack_from(index)
    if version != _INDEX_VERSION or not ready or _checksum("=", index[: size - 8], (0, 0)) != (sum0, sum1):
        return None
    (backfilled,) = struct.unpack_from("=I", index, _BACKFILLED_AT)
    return Committed(frames, backfilled, _salt_of(index[32:40]))


def is_open(path: str) -> bool:
    """Tell whether another process has the database open; False where that cannot be known. See `read_committed`."""
    if fcntl is None:
        return False
    try:
        with open(path + "-shm", "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OPEN_AT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def lost_writes(path: str, before: Committed, connection: sqlite3.Connection, second: sqlite3.Connection) -> bool:
    """Tell whether the WAL of the database at `path` has lost frames of `before`, which was read before it was opened.

    Both connections are to that database, outside transactions. False while another process writes: it has checked the
    WAL.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")  # no process writes during the check
    except sqlite3.OperationalError:
        return False
    try:
        log = b""
        with contextlib.suppress(FileNotFoundError), open(path + "-wal", "rb") as file:
            log = file.read()
        order, salt = _header(log)
        if order is not None and salt != before.salt:
            return False  # the WAL was restarted, after all of it was copied to the file
        sound: int | None = None
        with contextlib.suppress(sqlite3.OperationalError):  # a full disk
            _, sound, _ = second.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if sound < 0:
                return False  # another process runs a checkpoint, so it has checked the WAL
        if sound is None:
            sound = _sound_frames(log)
        everything_in_the_file = sound == 0 and before.backfilled >= before.frames
        return sound < before.frames and not everything_in_the_file
    finally:
        connection.execute("ROLLBACK")


def _header(log: bytes) -> tuple[str | None, tuple[int, int]]:
    """Return the byte order of the WAL's checksums, None if its header is invalid, and its salt."""
    if len(log) < _HEADER.size:
        return None, (0, 0)
    magic, _, _, _, _, _, sum0, sum1 = _HEADER.unpack_from(log)
    order = _MAGICS.get(magic)
    if order is None or _checksum(order, log[:24], (0, 0)) != (sum0, sum1):
        return None, (0, 0)
    return order, _salt_of(log[16:24])


def _salt_of(data: bytes) -> tuple[int, int]:
    first, second = struct.unpack(">2I", data)
    return first, second


def _sound_frames(log: bytes) -> int:
    """Return the number of frames that SQLite would read. Slow: 50 MiB/s."""
    order, salt = _header(log)
    if order is None:
        return 0
    _, _, page_bytes, _, _, _, *start_sums = _HEADER.unpack_from(log)
    sums, sound = tuple(start_sums), 0
    frame_bytes = _FRAME.size + page_bytes
    starts = range(_HEADER.size, len(log) - frame_bytes + 1, frame_bytes)
    for number, start in enumerate(starts, 1):
        _, pages, *frame_salt, stored0, stored1 = _FRAME.unpack_from(log, start)
        sums = _checksum(order, log[start : start + 8] + log[start + _FRAME.size : start + frame_bytes], sums)
        if tuple(frame_salt) != salt or sums != (stored0, stored1):
            break
        if pages:
            sound = number
    return sound


def _checksum(order: str, data: bytes, seed: tuple[int, ...]) -> tuple[int, int]:
    first, second = seed
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
