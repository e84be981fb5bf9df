"""Reading rows inside a connection: statements, checksums, what counts as live.

A row carries a checksum over its key, deadline and value. A row that does not match is treated as absent and deleted:
SQLite does not notice flipped bits inside a value, and a value of another key must never be served.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from xxhash import xxh3_64_intdigest

KEYS_PER_STATEMENT: Final = 256
_GET: Final = "SELECT key, deadline, checksum, value, id FROM entries WHERE key IN (%s)"
_LENGTHS: Final = "SELECT key, deadline, length(value) FROM entries WHERE key IN (%s)"
_PAGE: Final = "SELECT key, deadline FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
_SCAN_PAGE: Final = 512
_AFTER_ASCII: Final = "\x7f"
_SIGN: Final = 1 << 63
_float = struct.Struct("<d").pack


def marks(count: int) -> str:
    """Return the place-holders of `count` parameters."""
    return ",".join("?" * count)


# One statement per power of two, so that few statements are ever prepared.
SIZES: Final = [1 << bit for bit in range(KEYS_PER_STATEMENT.bit_length())]
_GETS: Final = {size: _GET % marks(size) for size in SIZES}


def checksum(key: str, deadline: float | None, value: bytes) -> int:
    """Return the checksum of a row as SQLite stores it, a signed 64-bit integer."""
    seed = xxh3_64_intdigest(key.encode() if deadline is None else key.encode() + _float(deadline))
    number: int = xxh3_64_intdigest(value, seed)
    return number - _SIGN


def is_live(deadline: object, now: float) -> bool:
    """Tell whether a row with `deadline` may be returned at `now` (Unix s)."""
    # A flipped bit may change the type of a column as well as its value.
    return deadline is None or (type(deadline) is float and deadline > now)


def chunks(keys: Sequence[str]) -> Iterable[tuple[int, Sequence[str]]]:
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
    for size, chunk in chunks(keys):
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


def sizes(connection: sqlite3.Connection, now: float, *, keys: Sequence[str]) -> list[int]:
    """Return the lengths of the live values of `keys`, 0 where there is none; the values themselves are not read."""
    found: dict[str, int] = {}
    for size, chunk in chunks(keys):
        rows = connection.execute(_LENGTHS % marks(size), chunk).fetchall()
        found.update({key: length for key, deadline, length in rows if is_live(deadline, now) and length})
    return [found.get(key, 0) for key in keys]


def page(connection: sqlite3.Connection, now: float, *, prefix: str, start: str) -> tuple[list[str], str | None]:
    """Return up to a page of live keys with `prefix`, from `start` on, and where the next begins, None at the end."""
    rows = connection.execute(_PAGE, (start, prefix + _AFTER_ASCII, _SCAN_PAGE)).fetchall()
    # In a damaged index any key may stand between two others.
    keys = [key for key, deadline in rows if is_live(deadline, now) and key.startswith(prefix)]
    return keys, rows[-1][0] + "\0" if len(rows) == _SCAN_PAGE else None
