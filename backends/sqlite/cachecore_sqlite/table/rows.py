"""Reading rows: statements, checksums, and expiry.

A row has a checksum over its key, deadline and value. A row that does not match counts as absent and is deleted: SQLite
does not notice flipped bits inside a value, and a value of another key must never be returned.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from xxhash import xxh3_64_intdigest

from cachecore_sqlite.file.errors import corrupt_error
from cachecore_sqlite.table import index

KEYS_PER_STATEMENT: Final = 256
# Keys are read as bytes: a damaged key matches none, whereas invalid text would raise an error.
_GET: Final = index.select("CAST(entries.key AS BLOB), deadline, checksum, value")
LARGE: Final = 32 * 1024
"""Bytes of a value above which `read_few` does not read it."""
# The length of a value is read without the value. In place of a large one comes its length.
_FEW_COLUMNS: Final = f"""CAST(entries.key AS BLOB), deadline, checksum,
CASE WHEN length(value) <= {LARGE} THEN value ELSE length(value) END"""
_LENGTHS: Final = index.select("CAST(entries.key AS BLOB), deadline, length(value)")
# One result row: the id of the last entry read, the number of entries, and the matching keys, one a line.
_PAGE: Final = """SELECT max(id), count(*), CAST(group_concat(key, char(10)) FILTER (
    WHERE substr(key, 1, ?) = ? AND (deadline IS NULL OR deadline > ?)) AS BLOB)
FROM (SELECT id, key, deadline FROM entries WHERE id > ? ORDER BY id LIMIT ?)"""
_SCAN_PAGE: Final = 512  # entries read
_SIGN: Final = 1 << 63
_FEW: Final = 4
T = TypeVar("T")
_float = struct.Struct("<d").pack


# One statement per power of two, so that few statements are ever prepared.
SIZES: Final = [1 << bit for bit in range(KEYS_PER_STATEMENT.bit_length())]
_GETS: Final = {size: index.lookup(size, "hash") + _GET for size in SIZES}
_GETS_FEW: Final = {count: index.select_few(_FEW_COLUMNS, count) for count in range(1, _FEW + 1)} | {
    size: index.lookup(size, "hash") + index.select(_FEW_COLUMNS) for size in SIZES if size > _FEW
}
_SIZES_OF: Final = {size: index.lookup(size, "hash") + _LENGTHS for size in SIZES}


def hash_of(key: str) -> int:
    """Return the hash of `key` as SQLite stores it, a signed 64-bit integer."""
    number: int = xxh3_64_intdigest(key.encode())
    return number - _SIGN


def checksum(key: str, deadline: float | None, value: bytes) -> int:
    """Return the checksum of a row as SQLite stores it, a signed 64-bit integer."""
    seed = xxh3_64_intdigest(key.encode() if deadline is None else key.encode() + _float(deadline))
    number: int = xxh3_64_intdigest(value, seed)
    return number - _SIGN


def is_live(deadline: object, now: float) -> bool:
    """Tell whether a row with `deadline` may be returned at `now` (Unix s)."""
    # A flipped bit may change the type of a column as well as its value.
    return deadline is None or (type(deadline) is float and deadline > now)


def chunks(of: Sequence[T]) -> Iterable[tuple[int, Sequence[T]]]:
    """Yield pairs of a statement size and at most that many items for it."""
    for start in range(0, len(of), KEYS_PER_STATEMENT):
        chunk = of[start : start + KEYS_PER_STATEMENT]
        yield 1 << (len(chunk) - 1).bit_length(), chunk


def filled(parameters: Iterable[object], count: int) -> list[object]:
    """Return `parameters` padded to `count` with NULLs, which match nothing."""
    given = [*parameters]
    return given + [None] * (count - len(given))


@dataclass(slots=True)
class ReadResult:
    """The result of a read: the live values, and the keys of damaged rows."""

    values: dict[str, bytes] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def read(connection: sqlite3.Connection, keys: Sequence[str], now: float) -> ReadResult:
    """Return the values of `keys` that are live at `now` (Unix s). `keys` holds no duplicates."""
    result = ReadResult()
    by_name = {key.encode(): key for key in keys}
    for size, hashes in chunks([hash_of(key) for key in keys]):
        found = connection.execute(_GETS[size], filled(hashes, size))
        _take(found, by_name, now, result.values, result.damaged)
    return result


def read_few(connection: sqlite3.Connection, keys: Sequence[str], now: float) -> list[bytes | None] | None:
    """Return the values in the order of at most 256 `keys` that are live at `now` (Unix s); None if one is large.

    Raises `sqlite3.Error` as `read` does, and for a damaged row.
    """
    by_name = {key.encode(): key for key in keys}
    hashes: Sequence[object] = [hash_of(key) for key in by_name.values()]
    count = len(hashes)
    if count > _FEW:
        count = 1 << (count - 1).bit_length()
        hashes = filled(hashes, count)
    values: dict[str, bytes] = {}
    damaged: list[str] = []
    found = connection.execute(_GETS_FEW[count], hashes).fetchall()
    _take(found, by_name, now, values, damaged)
    if damaged:
        if any(type(row[3]) is int and row[3] > LARGE for row in found):
            return None
        raise corrupt_error("a row does not match its checksum")
    return [values.get(key) for key in keys]


def _take(
    found: Iterable[tuple[Any, ...]],
    by_name: dict[bytes, str],
    now: float,
    values: dict[str, bytes],
    damaged: list[str],
) -> None:
    """Add the live values of `found` rows, and the keys of damaged ones; take their keys out of `by_name`."""
    for stored_key, deadline, stored, value in found:
        key = by_name.pop(stored_key, None)
        if key is None:
            continue  # another key with the same hash, or a second index row
        if type(value) is not bytes or not (deadline is None or type(deadline) is float):
            damaged.append(key)
        elif deadline is not None and deadline <= now:
            continue
        elif checksum(key, deadline, value) == stored:
            values[key] = value
        else:
            damaged.append(key)


def sizes(connection: sqlite3.Connection, keys: Sequence[str], now: float) -> list[int]:
    """Return the lengths of the live values of `keys`, 0 where there is none; the values are not read."""
    found: dict[bytes, int] = {}
    for size, hashes in chunks([hash_of(key) for key in keys]):
        rows = connection.execute(_SIZES_OF[size], filled(hashes, size)).fetchall()
        for key, deadline, length in rows:
            found.setdefault(key, length if is_live(deadline, now) and length else 0)
    return [found.get(key.encode(), 0) for key in keys]


def page(connection: sqlite3.Connection, now: float, *, prefix: str, after: int) -> tuple[list[str], int | None]:
    """Read the page of entries after the id `after`.

    Return its live keys with `prefix`, and the id of its last entry, None at the end. A key written during a scan moves
    to a larger id, so the scan meets it at least once.
    """
    parameters = (len(prefix), prefix, now, after, _SCAN_PAGE)
    last, count, found = connection.execute(_PAGE, parameters).fetchone()
    keys = found.decode("ascii", "replace").split("\n") if found else []
    # In a damaged file a key may hold a newline, and an id may repeat.
    return [key for key in keys if key.startswith(prefix)], last if count == _SCAN_PAGE and last > after else None
