"""One transaction: the writes of many callers, in few statements.

Every statement, and every row that it returns, releases the interpreter lock, and a thread waits for that until a busy
event loop's turn is over (`sys.getswitchinterval`, 5 ms). With a statement per write, hundreds of writes would wait for
hundreds of turns. So the comparisons of all swaps are read at once, and the changes of all writes are collected and
written at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, TypeVar

from cachecore_sqlite.table import index, rows
from cachecore_sqlite.table.rows import SIZES, chunks, filled, is_live

_LARGEST_SHARE: Final = 10
_PAGE_OVERHEAD: Final = 2048  # about how many bytes of other pages the WAL takes for a row
# The pages of its index row and deadline, of the row before, and of a row evicted for it.
_MOST_OVERHEAD: Final = 4 * 4096
_ROWS: Final = (1, 4, 16, 64, 256, 1024)  # sizes of a statement; few, so that few statements are ever prepared
_FEW: Final = 16  # fewer rows are cheaper one by one
_BYTES_PER_STATEMENT: Final = 4 * 1024 * 1024  # SQLite copies each parameter
_PUT: Final = "INSERT INTO entries(key_hash, key, deadline, checksum, value) VALUES (?,?,?,?,?)"
_PUT_MANY: Final = """INSERT INTO entries(key_hash, key, deadline, checksum, value)
SELECT * FROM (VALUES %s) WHERE column1 IS NOT NULL"""
# Python reports a row count only for statements that start with DELETE.
_DELETE_THESE: Final = "DELETE FROM entries WHERE id IN (%s)"
_REPLACE: Final = index.select("entries.id")
_OF_THE_KEY: Final = "entries.key = lookup.key"
_DELETE: Final = index.select("entries.id", only=_OF_THE_KEY)
_DEADLINE: Final = index.select("lookup.key, deadline", only=_OF_THE_KEY)
# One result row with all keys that have a row, one a line: after 1 if the row is live and holds the expected value,
# else after 0.
_MATCHES: Final = "(old IS NOT NULL AND value = old AND (deadline IS NULL OR deadline > now)) || lookup.key AS line"
_IN_ONE_ROW: Final = "SELECT group_concat(line, char(10)) FROM (%s)"
_COMPARE: Final = _IN_ONE_ROW % index.select(_MATCHES, only=_OF_THE_KEY)

_REPLACES: Final = {size: _DELETE_THESE % (index.lookup(size, "hash") + _REPLACE) for size in SIZES}
_DELETES: Final = {size: _DELETE_THESE % (index.lookup(size, "hash", "key") + _DELETE) for size in SIZES}
_UNINDEXES: Final = {size: index.unindex(index.lookup(size, "hash", "key")) for size in SIZES}
_DEADLINES: Final = {size: index.lookup(size, "hash", "key") + _DEADLINE for size in SIZES}
_PUTS: Final = {size: _PUT_MANY % ",".join(["(?,?,?,?,?)"] * size) for size in _ROWS}
_COMPARES: Final = {size: index.lookup(size, "hash", "key", "now", "old") + _COMPARE for size in _ROWS}

Row = tuple[int, str, "float | None", int, bytes]
Expected = tuple[str, "bytes | None"]
"""A key and the value that a swap expects it to have."""
Compared = tuple[int, str, float, "bytes | None"]
T = TypeVar("T", Row, Compared)


def cost(value: bytes) -> int:
    """Return about how many bytes the WAL takes for a row with `value`."""
    return len(value) + _PAGE_OVERHEAD


@dataclass(slots=True)
class Transaction:
    """The changes of one open transaction, partly collected and partly written."""

    connection: sqlite3.Connection
    now: float
    max_bytes: int
    changed: list[str] = field(default_factory=list)
    written: int = 0
    rows: int = 0
    deleted_rows: int = 0
    """Rows deleted from the file, replaced ones included."""
    # Live values by key, including the changes collected so far.
    _live: dict[str, bytes | None] = field(default_factory=dict)
    _unwritten: dict[str, Row | None] = field(default_factory=dict)  # changes not yet written; None is a deletion

    @property
    def cost(self) -> int:
        """About how many bytes of the WAL it takes so far."""
        return self.written + _PAGE_OVERHEAD * self.rows

    def prefetch(self, expected: Iterable[Expected]) -> None:
        """Look up the keys of the coming swaps, all at once."""
        first: dict[str, bytes | None] = {}
        for key, old in expected:
            first.setdefault(key, old)
        unlike: list[str] = []
        for size, part in _parts([(rows.hash_of(key), key, self.now, old) for key, old in first.items()]):
            (found,) = self.connection.execute(_COMPARES[size], _filled(part, 4 * size)).fetchone()
            for line in found.split("\n") if found else ():
                if line[0] == "0":  # also if the key comes with both results; it is read below then
                    first[line[1:]] = None
                    unlike.append(line[1:])
                else:
                    self._live[line[1:]] = first[line[1:]]
        self._live = dict.fromkeys(first) | self._live
        if unlike:
            self._live.update(rows.read(self.connection, unlike, self.now).values)

    def flush(self) -> None:
        """Write the collected changes."""
        if not self._unwritten:
            return
        unwritten, self._unwritten = self._unwritten, {}
        # Of keys with the same hash only the last one is stored.
        self._insert({row[0]: row for row in unwritten.values() if row is not None})
        for size, chunk in chunks([key for key, row in unwritten.items() if row is None]):
            parameters = _key_parameters(chunk, size)
            self.deleted_rows += self.connection.execute(_DELETES[size], parameters).rowcount
            for statement in _UNINDEXES[size]:
                self.connection.execute(statement, parameters)

    def _insert(self, puts: Mapping[int, Row]) -> None:
        if not puts:
            return
        last: int | None = None
        for size, hashes in chunks(list(puts)):
            self.deleted_rows += self.connection.execute(_REPLACES[size], filled(hashes, size)).rowcount
        if len(puts) < _FEW:
            for row in puts.values():
                last = self.connection.execute(_PUT, row).lastrowid
        else:
            for size, part in _parts(list(puts.values())):
                last = self.connection.execute(_PUTS[size], _filled(part, 5 * size)).lastrowid
        index.add(self.connection, len(puts), last or 0)

    def put(self, items: Mapping[str, bytes], deadline: float | None) -> None:
        """Replace each key. A value over a tenth of `max_bytes` would evict all others: its key is deleted instead."""
        alive = is_live(deadline, self.now)
        largest = self.max_bytes // _LARGEST_SHARE
        for key, value in items.items():
            size = len(value)
            if size > largest:
                self._remove(key)
                continue
            # Removed first, so that it comes last: entries are written, and evicted, in this order.
            self._unwritten.pop(key, None)
            self._unwritten[key] = rows.hash_of(key), key, deadline, rows.checksum(key, deadline, value), value
            self._live[key] = value if alive else None
            self.changed.append(key)
            self.rows += 1
            self.written += size

    def drop(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many were live.

        Absent keys count as changed, because other processes may hold copies.
        """
        self.flush()
        existed = 0
        for size, chunk in chunks(list(dict.fromkeys(keys))):
            deadlines = dict(self.connection.execute(_DEADLINES[size], _key_parameters(chunk, size)))
            existed += sum(is_live(deadline, self.now) for deadline in deadlines.values())
        for key in keys:
            self._remove(key)
        return existed

    def swap(self, key: str, old: bytes | None, new: bytes | None, deadline: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""
        if key not in self._live:
            self.prefetch([(key, old)])
        if self._live[key] != old:
            return False
        if new is not None:
            self.put({key: new}, deadline)
        elif old is not None:
            self._remove(key)
        return True

    def extend(self, items: Mapping[str, bytes], deadline: float | None) -> list[bool]:
        """Let each key that has the value given live until `deadline` at least; return which of them have it."""
        self.flush()
        values = rows.read(self.connection, list(items), self.now).values
        ends: dict[str, object] = {}
        for size, chunk in chunks(list(items)):
            for key, end in self.connection.execute(_DEADLINES[size], _key_parameters(chunk, size)):
                ends.setdefault(key, end)
        there = [values.get(key) == value for key, value in items.items()]
        for (key, value), same in zip(items.items(), there, strict=True):
            end = ends.get(key)
            if same and isinstance(end, float) and (deadline is None or end < deadline):
                self.put({key: value}, deadline)
        return there

    def advance(self, key: str) -> int:
        """Add one to the counter under `key` and return it; bytes that are no number count as none."""
        if key not in self._live:
            self.flush()
            self._live.update({key: None, **rows.read(self.connection, [key], self.now).values})
        value = self._live[key] or b""
        number = int(value) + 1 if value.isdigit() else 1
        self.put({key: b"%d" % number}, None)
        return number

    def repair(self, keys: Sequence[str]) -> None:
        """Delete the rows of `keys` that are still damaged."""
        self.flush()
        for key in rows.read(self.connection, keys, self.now).damaged:
            self._remove(key)

    def _remove(self, key: str) -> None:
        self._unwritten.pop(key, None)
        self._unwritten[key] = self._live[key] = None
        self.changed.append(key)
        self.rows += 1


def max_wal_bytes(call: Callable[..., object], arguments: tuple[Any, ...]) -> int:
    """Return about how many bytes the WAL takes at most for `call(transaction, *arguments)`; 0 if it only deletes."""
    values: Iterable[object] = ()
    if call in (Transaction.put, Transaction.extend):
        values = arguments[0].values()
    elif call is Transaction.swap and arguments[2] is not None:
        values = (arguments[2],)
    # A value that is not bytes fails when it is written, in its own call.
    return sum(2 * len(value) + _MOST_OVERHEAD for value in values if isinstance(value, bytes))


def _key_parameters(keys: Sequence[str], size: int) -> list[object]:
    return _filled([(rows.hash_of(key), key) for key in keys], 2 * size)


def _parts(of: Sequence[T]) -> Iterator[tuple[int, Sequence[T]]]:
    """Split into parts of bounded rows and bytes; yield each with the size of its statement."""
    start = 0
    while start < len(of):
        end, size = start, 0
        while end < len(of) and end - start < _ROWS[-1] and size < _BYTES_PER_STATEMENT:
            size += len(of[end][-1] or b"")
            end += 1
        yield next(rows for rows in _ROWS if rows >= end - start), of[start:end]
        start = end


def _filled(part: Sequence[tuple[object, ...]], count: int) -> list[object]:
    return filled(chain.from_iterable(part), count)
