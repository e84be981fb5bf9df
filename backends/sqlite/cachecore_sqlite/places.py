"""Where entries are: their ids by the hash of their key, in two tables, of which one is small.

Keys are digests, so each write changes another page of whatever finds them, and in a large file those pages are most of
what a write costs. So what is new goes to `recent`, some dozen pages that many writes share. Of that a slice of the
hashes at a time goes on to `places`: it finds its rows close together, many to a page. (The idea is that of the
log-structured merge-tree: O'Neil and others, 1996, https://doi.org/10.1007/s002360050048.)

Each entry has its place, in `recent` or in `places`. But not each place has its entry: one in `places` may be older
than that in `recent`, one of an entry that was evicted stays until it is met, and ids are used again. So who follows a
place compares the hash and the key that the entry itself has.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from cachecore_sqlite.translate import damaged

_STEP: Final = 256  # rows written, by all processes, between two steps of the upkeep
_SLICES: Final = 32
_SWEPT: Final = 4 * _STEP  # places looked at in a step, about: a quarter of all may have lost their entry, then
_LOWEST: Final = -(1 << 63)
_HASHES: Final = 1 << 64

_IDS: Final = (
    "SELECT id FROM recent WHERE hash IN (%(hashes)s) UNION ALL SELECT id FROM places WHERE hash IN (%(hashes)s)"
)
_NOTE: Final = "REPLACE INTO recent SELECT key_hash, id FROM entries WHERE id BETWEEN ? AND ?"
_OLDEST: Final = "SELECT min(id) FROM entries"
_MOVE: Final = "REPLACE INTO places SELECT hash, id FROM recent WHERE hash BETWEEN ? AND ? AND id >= ?"
_MOVED: Final = "DELETE FROM recent WHERE hash BETWEEN ? AND ?"
_SWEEP: Final = "DELETE FROM places WHERE hash BETWEEN ? AND ? AND id < ?"
_FORGET: Final = """DELETE FROM %(table)s WHERE hash IN (%(hashes)s)
AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.id = %(table)s.id AND entries.key_hash = %(table)s.hash)"""


def ids(hashes: str) -> str:
    """Return the SQL that selects the ids at which entries with `hashes` (SQL, used twice) may be."""
    return _IDS % {"hashes": hashes}


def forgetting(hashes: str) -> list[str]:
    """Return the statements that delete the places of `hashes` (SQL) that have no entry."""
    return [_FORGET % {"table": table, "hashes": hashes} for table in ("recent", "places")]


def note(connection: sqlite3.Connection, count: int, last: int) -> None:
    """Note where the `count` entries are that were written just now, up to the id `last`; move some places on.

    When that is done depends on the ids alone, so it does not matter which process writes. Raises `sqlite3.Error`.
    """
    if connection.execute(_NOTE, (last - count + 1, last)).rowcount != count:
        raise damaged("new entries do not get ids in a row")
    for step in range((last - count) // _STEP, last // _STEP):
        (oldest,) = connection.execute(_OLDEST).fetchone()
        of_recent = _slice(step, _SLICES)
        connection.execute(_MOVE, (*of_recent, oldest))
        connection.execute(_MOVED, of_recent)
        # What was evicted had the lowest ids of all.
        connection.execute(_SWEEP, (*_slice(step, 1 << ((last - oldest) // _SWEPT).bit_length()), oldest))


def _slice(step: int, slices: int) -> tuple[int, int]:
    """Return the first and the last hash of the slice whose turn it is, of `slices`, a power of two."""
    size = _HASHES // slices
    first = _LOWEST + step % slices * size
    return first, first + size - 1
