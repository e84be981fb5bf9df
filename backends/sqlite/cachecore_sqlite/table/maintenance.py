"""Bounds on the file and the change log, kept in small steps within writes: expiry, eviction, vacuum."""

from __future__ import annotations

import sys
import time
from typing import Final

from cachecore_sqlite.file.schema import PAGE_BYTES
from cachecore_sqlite.table import index
from cachecore_sqlite.table.transaction import Transaction

_CHANGE_LOG_BYTES: Final = 1024 * 1024
_TRIM_BYTES: Final = 16 * 1024
_ROW_OVERHEAD: Final = 200
_VACUUM_SECONDS: Final = 0.003
_EXPIRED: Final = 16  # rows removed for each written row, up to a bound
_EXPIRED_BOUND: Final = 512
_SPARE_PAGES: Final = 256
_LOG_KEYS: Final = "INSERT INTO changes(seq, keys) VALUES ((SELECT max(seq) FROM changes) + ?, ?)"
_STATE: Final = """SELECT page_count, freelist_count, EXISTS (SELECT 1 FROM entries WHERE deadline <= ?)
FROM pragma_page_count, pragma_freelist_count"""
_EXPIRED_ROWS: Final = "FROM entries WHERE deadline <= ? ORDER BY deadline LIMIT ?"
_EXPIRE: Final = [
    statement % _EXPIRED_ROWS
    for statement in (
        "DELETE FROM recent WHERE hash IN (SELECT key_hash %s)",
        "DELETE FROM places WHERE hash IN (SELECT key_hash %s)",
        "DELETE FROM entries WHERE id IN (SELECT id %s)",
    )
]


def log_changes(transaction: Transaction) -> tuple[int, int]:
    """Write the changed keys to the change log, which the feeds of all processes read, and delete its oldest rows.

    Return how many bytes were logged now, and how many were logged in all by all processes.
    """
    connection = transaction.connection
    keys = "\n".join(transaction.changed)
    seq = connection.execute(_LOG_KEYS, (len(keys) + 1, keys)).lastrowid or 0
    if seq % _TRIM_BYTES <= len(keys):
        kept = min(_CHANGE_LOG_BYTES, transaction.max_bytes // 32)
        connection.execute("DELETE FROM changes WHERE seq <= ?", (seq - kept,))
    return len(keys) + 1, seq


def reclaim(
    transaction: Transaction, rows: int, written: int, max_bytes: int, *, shorten: bool, pages_left: int = sys.maxsize
) -> None:
    """Remove some expired entries and, above `max_bytes`, some of the oldest ones.

    A step is bounded by the writes since the last one (`rows`, and `written` bytes), so that no write pays for the
    backlog of others, and it removes more than they added, so that the backlog shrinks. The file is made shorter only
    if `shorten`. An expired row is often alone on its page, and each page less of the file often moves another one. The
    WAL takes them all, so each step takes about `pages_left` of them at most.
    """
    connection = transaction.connection
    pages, free, expired = connection.execute(_STATE, (transaction.now,)).fetchone()
    if expired:
        most = min(_EXPIRED * rows, min(_EXPIRED_BOUND, pages_left) + 2 * rows)
        for statement in _EXPIRE:
            connection.execute(statement, (transaction.now, most))
        pages, free, _ = connection.execute(_STATE, (transaction.now,)).fetchone()
    over = (pages - free) * PAGE_BYTES - max_bytes
    if over > 0:
        _evict(transaction, min(over, 2 * written + 64 * PAGE_BYTES))
        pages, free, _ = connection.execute(_STATE, (transaction.now,)).fetchone()
    if not shorten:
        return
    largest = max_bytes // PAGE_BYTES
    spare = min(_SPARE_PAGES, largest // 32)
    if free > max(spare, pages // 4) or (free > spare and pages > largest + spare):
        # One page at a time: the statement yields a row for each page, and `execute` runs it to the first row only.
        until = time.monotonic() + _VACUUM_SECONDS
        for _ in range(min(free - spare, pages_left)):
            connection.execute("PRAGMA incremental_vacuum(1)")
            if time.monotonic() > until:
                break


def _evict(transaction: Transaction, over: int) -> None:
    connection = transaction.connection
    last, freed = 0, 0
    for id_, size in connection.execute("SELECT id, length(value) FROM entries ORDER BY id"):
        last, freed = id_, freed + (size or 0) + _ROW_OVERHEAD
        if freed >= over:
            break
    index.evict(connection, last)
