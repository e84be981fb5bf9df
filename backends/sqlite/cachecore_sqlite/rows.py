"""Reading and writing rows inside a connection: statements, checksums, what counts as live.

A row carries a checksum over its key, deadline and value. A row that does not match is treated as absent and deleted:
SQLite does not notice flipped bits inside a value, and a value of another key must never be served.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from xxhash import xxh3_64_intdigest

KEYS_PER_STATEMENT: Final = 256
_PUT: Final = "REPLACE INTO entries(key, deadline, checksum, value) VALUES (?, ?, ?, ?)"
_GET: Final = "SELECT key, deadline, checksum, value, id FROM entries WHERE key IN (%s)"
_DELETE: Final = "DELETE FROM entries WHERE key IN (%s)"
_DEADLINE: Final = "SELECT deadline FROM entries WHERE key IN (%s)"
_LENGTHS: Final = "SELECT key, deadline, length(value) FROM entries WHERE key IN (%s)"
_PAGE: Final = "SELECT key, deadline FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
_SCAN_PAGE: Final = 512
_AFTER_ASCII: Final = "\x7f"
_SIGN: Final = 1 << 63
_float = struct.Struct("<d").pack


def _marks(count: int) -> str:
    return ",".join("?" * count)


# One statement per power of two, so that few statements are ever prepared.
_SIZES: Final = [1 << bit for bit in range(KEYS_PER_STATEMENT.bit_length())]
_GETS: Final = {size: _GET % _marks(size) for size in _SIZES}
_DELETES: Final = {size: _DELETE % _marks(size) for size in _SIZES}
_DEADLINES: Final = {size: _DEADLINE % _marks(size) for size in _SIZES}


def checksum(key: str, deadline: float | None, value: bytes) -> int:
    """Return the checksum of a row as SQLite stores it, a signed 64-bit integer."""
    seed = xxh3_64_intdigest(key.encode() if deadline is None else key.encode() + _float(deadline))
    number: int = xxh3_64_intdigest(value, seed)
    return number - _SIGN


def _is_live(deadline: object, now: float) -> bool:
    # A flipped bit may change the type of a column as well as its value.
    return deadline is None or (type(deadline) is float and deadline > now)


def _chunks(keys: Sequence[str]) -> Iterable[tuple[int, Sequence[str]]]:
    """Yield a size and that many keys, the last one repeated where there are fewer."""
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        chunk = keys[start : start + KEYS_PER_STATEMENT]
        size = 1 << (len(chunk) - 1).bit_length()
        yield size, (*chunk, *((chunk[-1],) * (size - len(chunk))))


@dataclass(slots=True)
class Found:
    """What a read found: the live values, and the keys of damaged rows."""

    values: dict[str, bytes] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def read(connection: sqlite3.Connection, keys: Sequence[str], now: float) -> Found:
    """Return the values of `keys` that are live at `now` (Unix s). `keys` holds no duplicates."""
    found = Found()
    for size, chunk in _chunks(keys):
        for key, deadline, stored, value, _ in connection.execute(_GETS[size], chunk):
            if type(value) is not bytes or not (deadline is None or type(deadline) is float):
                found.damaged.append(key)
            elif deadline is not None and deadline <= now:
                continue
            elif checksum(key, deadline, value) == stored:
                found.values[key] = value
            else:
                found.damaged.append(key)
    return found


def live(connection: sqlite3.Connection, key: str, now: float) -> bytes | None:
    """Return the value of one key, None if it is absent, dead or damaged."""
    return read(connection, (key,), now).values.get(key)


def sizes(connection: sqlite3.Connection, now: float, *, keys: Sequence[str]) -> list[int]:
    """Return the lengths of the live values of `keys`, 0 where there is none; the values themselves are not read."""
    found: dict[str, int] = {}
    for size, chunk in _chunks(keys):
        rows = connection.execute(_LENGTHS % _marks(size), chunk).fetchall()
        found.update({key: length for key, deadline, length in rows if _is_live(deadline, now) and length})
    return [found.get(key, 0) for key in keys]


def page(connection: sqlite3.Connection, now: float, *, prefix: str, start: str) -> tuple[list[str], str | None]:
    """Return up to a page of live keys with `prefix`, from `start` on, and where the next begins, None at the end."""
    rows = connection.execute(_PAGE, (start, prefix + _AFTER_ASCII, _SCAN_PAGE)).fetchall()
    # In a damaged index any key may stand between two others.
    keys = [key for key, deadline in rows if _is_live(deadline, now) and key.startswith(prefix)]
    return keys, rows[-1][0] + "\0" if len(rows) == _SCAN_PAGE else None


@dataclass(slots=True)
class Transaction:
    """What one transaction does: its connection, its time, and what it has changed so far."""

    connection: sqlite3.Connection
    now: float
    max_bytes: int
    changed: list[str] = field(default_factory=list)
    written: int = 0
    rows: int = 0
    unwritten: list[tuple[str, float | None, int, bytes]] = field(default_factory=list)

    def flush(self) -> None:
        """Write the rows of `put`: one call for many puts is a third faster."""
        if self.unwritten:
            rows, self.unwritten = self.unwritten, []
            self.connection.executemany(_PUT, rows)

    def put(self, items: Mapping[str, bytes], deadline: float | None) -> None:
        """Replace each key. A value that alone is over `max_bytes` would be evicted at once, so only its key goes."""
        large = [key for key, value in items.items() if len(value) > self.max_bytes]
        if large:
            self.drop(large)
            items = {key: value for key, value in items.items() if len(value) <= self.max_bytes}
        self.unwritten += [(key, deadline, checksum(key, deadline, value), value) for key, value in items.items()]
        if len(self.unwritten) >= KEYS_PER_STATEMENT:
            self.flush()
        self.changed.extend(items)
        self.rows += len(items)
        self.written += sum(len(value) for value in items.values())

    def drop(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many were live. Absent ones count as changed: others may hold copies."""
        self.flush()
        existed = 0
        for size, chunk in _chunks(list(dict.fromkeys(keys))):
            for (deadline,) in self.connection.execute(_DEADLINES[size], chunk):
                existed += _is_live(deadline, self.now)
            self.connection.execute(_DELETES[size], chunk)
        self.changed.extend(keys)
        self.rows += len(keys)
        return existed

    def swap(self, key: str, old: bytes | None, new: bytes | None, deadline: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""
        self.flush()
        if live(self.connection, key, self.now) != old:
            return False
        if new is not None:
            self.put({key: new}, deadline)
        elif old is not None:
            self.drop((key,))
        return True

    def repair(self, keys: Sequence[str]) -> None:
        """Delete the rows of `keys` that are still damaged."""
        self.flush()
        damaged = read(self.connection, keys, self.now).damaged
        if damaged:
            self.drop(damaged)
