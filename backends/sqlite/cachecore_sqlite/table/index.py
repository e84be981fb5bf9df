"""The index: ids of the entries by the hash of their key, in a small table `recent` and a large one `places`.

Keys are digests, so each write changes another page of an index, and in a large file those pages are most of the cost
of a write. So new rows go to `recent`, some dozen pages that many writes share. One slice of the hashes at a time moves
on to `places`, where its rows lie close together, many to a page. (The idea is that of the log-structured merge-tree:
O'Neil and others, 1996, https://doi.org/10.1007/s002360050048.)

Each entry has an index row, in `recent` or in `places`. But an index row may lead to no entry or to another one: a row
in `places` may be older than one in `recent`, the row of an evicted entry stays until the sweep, and ids are used
again. So each lookup compares hash and key of the entry itself. Evicted entries have the lowest ids of all, which
identifies their index rows later; the index rows of other deleted entries are deleted with them.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from cachecore_sqlite.file.errors import corrupt_error

_ROWS_PER_MOVE: Final = 256  # rows written, by all processes, between two moves
# Fewest pages change if the hashes are divided into about sqrt(entries / 128) slices.
_ENTRIES_PER_SQUARE: Final = 128
_SWEPT_PER_ENTRY: Final = 4  # index rows examined for each evicted entry; about a quarter of all may lead to no entry
_LOWEST: Final = -(1 << 63)
_HASHES: Final = 1 << 64

_SELECT: Final = """SELECT %(columns)s FROM lookup CROSS JOIN %(table)s USING (hash)
CROSS JOIN entries ON entries.id = %(table)s.id AND entries.key_hash = lookup.hash%(only)s"""
_SELECT_ONE: Final = """SELECT %(columns)s FROM %(table)s
CROSS JOIN entries ON entries.id = %(table)s.id AND entries.key_hash = %(table)s.hash
WHERE %(table)s.hash = ?%(number)s"""
_ADD: Final = "REPLACE INTO recent SELECT key_hash, id FROM entries WHERE id BETWEEN ? AND ?"
# One SELECT of both would read all rows.
_ENDS: Final = "SELECT (SELECT min(id) FROM entries), (SELECT max(id) FROM entries)"
_EVICT: Final = "DELETE FROM entries WHERE id <= ?"
_CLEAR: Final = ("DELETE FROM recent", "DELETE FROM places")
_MOVE: Final = "REPLACE INTO places SELECT hash, id FROM recent WHERE hash BETWEEN ? AND ?"
_REMOVE_MOVED: Final = "DELETE FROM recent WHERE hash BETWEEN ? AND ?"
_SWEEP: Final = "DELETE FROM places WHERE hash BETWEEN ? AND ? AND id < ?"
# Deletes every index row that leads to one of these keys, present or not: in a damaged file a lookup may miss the entry
# now, so that it survives, and find it later.
_UNINDEX: Final = """DELETE FROM %(table)s WHERE hash IN (SELECT hash FROM lookup)
AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.id = %(table)s.id AND entries.key_hash = %(table)s.hash
AND NOT EXISTS (SELECT 1 FROM lookup WHERE lookup.key = entries.key))"""


def lookup(count: int, *columns: str) -> str:
    """Return the start of a statement: the table `lookup` of `count` rows. Parameters that are NULL match nothing."""
    row = f"({','.join('?' * len(columns))})"
    return f"WITH lookup({','.join(columns)}) AS (VALUES {','.join([row] * count)}) "


def select(columns: str, *, only: str = "") -> str:
    """Return the SQL that selects `columns` (SQL) of the entries with the hashes in `lookup`.

    `only` (SQL) is a further condition. An entry may come twice, if an older index row has the same id. Then, and where
    damage restored a replaced entry, the first one is valid.
    """
    only = f" AND {only}" if only else ""
    return " UNION ALL ".join(
        _SELECT % {"columns": columns, "table": table, "only": only} for table in ("recent", "places")
    )


def select_few(columns: str, count: int) -> str:
    """Return a statement with `count` hashes as parameters that selects the same as `lookup` and `select`.

    It takes two thirds of their time for two hashes, and longer than they do from about eight on.
    """
    return " UNION ALL ".join(
        _SELECT_ONE % {"columns": columns, "table": table, "number": number}
        for table in ("recent", "places")
        for number in range(1, count + 1)
    )


def unindex(head: str) -> list[str]:
    """Return the statements, each starting with `head`, that delete the index rows of the keys in `lookup`.

    The table `lookup` has the columns `hash` and `key`. Another key with the same hash keeps its index row.
    """
    return [head + _UNINDEX % {"table": table} for table in ("recent", "places")]


def add(connection: sqlite3.Connection, count: int, last: int) -> None:
    """Index the `count` entries written just now, up to the id `last`, and move some rows from `recent` to `places`.

    The moment of a move depends on the ids alone, so any process may write. Raises `sqlite3.Error`.
    """
    if last == count:  # the table was empty and the ids start again, so old index rows would never be swept
        for statement in _CLEAR:
            connection.execute(statement)
    if connection.execute(_ADD, (last - count + 1, last)).rowcount != count:
        raise corrupt_error("new entries do not get ids in a row")
    for step in range((last - count) // _ROWS_PER_MOVE, last // _ROWS_PER_MOVE):
        (oldest, newest) = connection.execute(_ENDS).fetchone()
        bits = ((newest - oldest) // _ENTRIES_PER_SQUARE).bit_length() // 2
        turn = _turn(step, bits)
        for slice_ in _slices(turn, turn + 1, 1 << bits):
            connection.execute(_MOVE, slice_)
            connection.execute(_REMOVE_MOVED, slice_)


def evict(connection: sqlite3.Connection, last: int) -> None:
    """Delete the entries up to the id `last`, and about as many index rows without an entry. Raises `sqlite3.Error`."""
    (before, _) = connection.execute(_ENDS).fetchone()
    connection.execute(_EVICT, (last,))
    (oldest, newest) = connection.execute(_ENDS).fetchone()
    if oldest is None:
        return  # the next entry clears the index
    # One slice of the hashes is swept per deleted id. There are about a quarter as many slices as entries, so a round
    # over all hashes takes a quarter as many deletions.
    slices = 1 << max(0, ((newest - oldest) // _SWEPT_PER_ENTRY).bit_length() - 1)
    for slice_ in _slices(before, oldest, slices):
        connection.execute(_SWEEP, (*slice_, oldest))


def _turn(step: int, bits: int) -> int:
    """Return the slice to move at `step`, of `2 ** bits` slices.

    The bits of the step are reversed, so that each part of the hashes is moved although the number of slices changes
    from step to step.
    """
    return int(f"{step % (1 << bits):0{bits}b}"[::-1], 2)


def _slices(first: int, end: int, of: int) -> list[tuple[int, int]]:
    """Return the ranges of hashes (first, last) of the slices from `first` up to `end`, of `of` slices.

    Slices continue with the first one after the last; `of` is a power of two.
    """
    size = _HASHES // of
    if end - first >= of:
        ranges = [(0, of)]
    elif first % of < end % of:
        ranges = [(first % of, end % of)]
    else:
        ranges = [(first % of, of), (0, end % of)]
    return [(_LOWEST + start * size, _LOWEST + stop * size - 1) for start, stop in ranges if start < stop]
