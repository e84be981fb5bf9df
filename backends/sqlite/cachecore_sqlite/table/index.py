"""Where entries are: their ids by the hash of their key, in two tables, of which one is small.

Keys are digests, so each write changes another page of whatever finds them, and in a large file those pages are most of
what a write costs. So what is new goes to `recent`, some dozen pages that many writes share. Of that a slice of the
hashes at a time goes on to `places`: it finds its rows close together, many to a page. (The idea is that of the
log-structured merge-tree: O'Neil and others, 1996, https://doi.org/10.1007/s002360050048.)

Each entry has its place, in `recent` or in `places`. But not each place has its entry: one in `places` may be older
than that in `recent`, one of an entry that was evicted stays until it is met, and ids are used again. So who follows a
place compares the hash and the key that the entry itself has. What is evicted has the lowest ids of all, so its places
are known by that; those of what goes otherwise go at once.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from cachecore_sqlite.file.errors import corrupt_error

_ROWS_PER_MOVE: Final = 256  # rows written, by all processes, between two steps of the upkeep
_ENTRIES_PER_SQUARE: Final = (
    128  # entries by the square of how many slices are moved on in turn, where fewest pages change
)
_SWEPT_PER_ENTRY: Final = 4  # places looked at for each entry evicted, so about a quarter of all may have none
_LOWEST: Final = -(1 << 63)
_HASHES: Final = 1 << 64

_SELECT: Final = """SELECT %(columns)s FROM lookup CROSS JOIN %(table)s USING (hash)
CROSS JOIN entries ON entries.id = %(table)s.id AND entries.key_hash = lookup.hash%(only)s"""
_ADD: Final = "REPLACE INTO recent SELECT key_hash, id FROM entries WHERE id BETWEEN ? AND ?"
_ENDS: Final = "SELECT (SELECT min(id) FROM entries), (SELECT max(id) FROM entries)"  # together they would pass all by
_EVICT: Final = "DELETE FROM entries WHERE id <= ?"
_CLEAR: Final = ("DELETE FROM recent", "DELETE FROM places")
_MOVE: Final = "REPLACE INTO places SELECT hash, id FROM recent WHERE hash BETWEEN ? AND ?"
_REMOVE_MOVED: Final = "DELETE FROM recent WHERE hash BETWEEN ? AND ?"
_SWEEP: Final = "DELETE FROM places WHERE hash BETWEEN ? AND ? AND id < ?"
# No place is left that leads to one of these keys, whatever becomes of its row: in a damaged file it may not be found,
# and so not be deleted, at one time, and be found at another.
_UNINDEX: Final = """DELETE FROM %(table)s WHERE hash IN (SELECT hash FROM lookup)
AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.id = %(table)s.id AND entries.key_hash = %(table)s.hash
AND NOT EXISTS (SELECT 1 FROM lookup WHERE lookup.key = entries.key))"""


def lookup(count: int, *columns: str) -> str:
    """Return the beginning of a statement, the table `asked` of `count` rows; parameters that are NULL find nothing."""
    row = f"({','.join('?' * len(columns))})"
    return f"WITH lookup({','.join(columns)}) AS (VALUES {','.join([row] * count)}) "


def select(columns: str, *, only: str = "") -> str:
    """Return the SQL that selects `columns` (SQL) of the entries that have the hashes in `asked`.

    `only` (SQL) says what else is to be true of them. One may come twice, if its place before had the same id; then,
    and where damage brought one back that was replaced, what comes first counts.
    """
    only = f" AND {only}" if only else ""
    return " UNION ALL ".join(
        _SELECT % {"columns": columns, "table": table, "only": only} for table in ("recent", "places")
    )


def unindex(head: str) -> list[str]:
    """Return the statements, with this beginning, that delete the places of what is in `asked`, by `hash` and `key`.

    Another key with the same hash keeps its own.
    """
    return [head + _UNINDEX % {"table": table} for table in ("recent", "places")]


def add(connection: sqlite3.Connection, count: int, last: int) -> None:
    """Note where the `count` entries are that were written just now, up to the id `last`; move some places on.

    When that is done depends on the ids alone, so it does not matter which process writes. Raises `sqlite3.Error`.
    """
    if last == count:  # there were no entries before, so the ids begin anew, and what is left of places would last
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
    """Delete the entries up to the id `last`, and about as many places without an entry. Raises `sqlite3.Error`."""
    (before, _) = connection.execute(_ENDS).fetchone()
    connection.execute(_EVICT, (last,))
    (oldest, newest) = connection.execute(_ENDS).fetchone()
    if oldest is None:
        return  # the next entry begins anew
    # As many slices of the hashes as ids went, of so many that all have had their turn when so many have gone.
    slices = 1 << max(0, ((newest - oldest) // _SWEPT_PER_ENTRY).bit_length() - 1)
    for slice_ in _slices(before, oldest, slices):
        connection.execute(_SWEEP, (*slice_, oldest))


def _turn(step: int, bits: int) -> int:
    """Return which slice has its turn, of as many as so many bits make.

    In the order of the step's bits from the last to the first: however the number of slices changes from step to step,
    each part of the hashes has its turn.
    """
    return int(f"{step % (1 << bits):0{bits}b}"[::-1], 2)


def _slices(first: int, end: int, of: int) -> list[tuple[int, int]]:
    """Return the first and the last hash of what has its turn from `first` up to `end`, of `of` slices.

    Turns begin anew after the last slice; `of` is a power of two.
    """
    size = _HASHES // of
    if end - first >= of:
        ranges = [(0, of)]
    elif first % of < end % of:
        ranges = [(first % of, end % of)]
    else:
        ranges = [(first % of, of), (0, end % of)]
    return [(_LOWEST + start * size, _LOWEST + stop * size - 1) for start, stop in ranges if start < stop]
