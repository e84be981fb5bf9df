"""Whether the write-ahead log still holds all that was acknowledged.

SQLite reads the log up to the first frame that is not sound and ignores the rest: right for what a killed process left
half written, but after damage it silently takes the file back in time, and answers that were invalidated come back. So
what lies behind the last sound transaction is looked at. A transaction cut off at the very end was never acknowledged;
anything else behind means that acknowledged writes are gone, and an empty cache is the honest one.

The format is https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from typing import Final

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_BIG_ENDIAN: Final = 0x377F0683
_MAGICS: Final = {_BIG_ENDIAN: ">", 0x377F0682: "<"}
_WORD: Final = 0xFFFFFFFF


def lost_writes(path: str, connection: sqlite3.Connection, second: sqlite3.Connection) -> bool:
    """Tell whether the log of the database at `path` lost committed transactions to damage.

    Both connections are to that database, outside transactions. If another process is writing just now, it has found
    the log sound, and so the answer is no. Costs a checkpoint.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")  # nobody appends while we look
    except sqlite3.OperationalError:
        return False
    try:
        _, sound, _ = second.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        with contextlib.suppress(FileNotFoundError), open(path + "-wal", "rb") as log:
            return _committed_behind(log.read(), sound)
        return False
    finally:
        connection.execute("ROLLBACK")


def _committed_behind(log: bytes, sound: int) -> bool:
    """Tell whether transactions were committed behind the first `sound` frames of `log`."""
    if len(log) < _HEADER.size + _FRAME.size:
        return False
    magic, _, page_bytes, _, *salt, sum0, sum1 = _HEADER.unpack_from(log)
    order = _MAGICS.get(magic)
    if order is None or _checksum(order, log[:24], (0, 0)) != (sum0, sum1):
        return True  # the header is written once, before the first frame: it is never half written behind them
    frame_bytes = _FRAME.size + page_bytes
    frames: list[tuple[int, bool]] = []
    for start in range(_HEADER.size + max(sound, 0) * frame_bytes, len(log) - frame_bytes + 1, frame_bytes):
        _, pages, *theirs, _, _ = _FRAME.unpack_from(log, start)
        if theirs != salt:
            break  # left over from before the log was begun anew
        frames.append((start, pages != 0))
    commits = [index for index, (_, commit) in enumerate(frames) if commit]
    if not commits:
        return False
    if commits[0] < len(frames) - 1:
        return True
    # A commit at the very end: cut off while it was written, unless it follows soundly on what comes before it.
    start = frames[-1][0]
    if start - frame_bytes < _HEADER.size:
        return False
    before = _FRAME.unpack_from(log, start - frame_bytes)[4:]
    data = log[start : start + 8] + log[start + _FRAME.size : start + frame_bytes]
    return _checksum(order, data, before) == _FRAME.unpack_from(log, start)[4:]


def _checksum(order: str, data: bytes, seed: tuple[int, ...]) -> tuple[int, int]:
    first, second = seed
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
