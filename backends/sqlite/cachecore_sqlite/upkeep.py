"""What keeps the file small, in small steps that ride on writes: expiry, eviction, vacuum, the end of the log."""

from __future__ import annotations

from typing import Final

from cachecore_sqlite.rows import Transaction

PAGE_BYTES: Final = 4096
_LOG_BYTES: Final = 1024 * 1024
_TRIM_BYTES: Final = 16 * 1024
_ROW_OVERHEAD: Final = 200
_VACUUM_PAGES: Final = 64
_SPARE_PAGES: Final = 256
_LOG: Final = "INSERT INTO changes(seq, keys) VALUES ((SELECT max(seq) FROM changes) + ?, ?)"
_EXPIRE: Final = (
    "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE deadline <= ? ORDER BY deadline LIMIT ?)"
)


def log(transaction: Transaction) -> None:
    """Write the changed keys down for the feeds of all processes, and cut off the end of the log."""
    connection = transaction.connection
    keys = "\n".join(transaction.changed)
    seq = connection.execute(_LOG, (len(keys) + 1, keys)).lastrowid or 0
    if seq % _TRIM_BYTES <= len(keys):
        kept = min(_LOG_BYTES, transaction.max_bytes // 32)
        connection.execute("DELETE FROM changes WHERE seq <= ?", (seq - kept,))


def reclaim(transaction: Transaction) -> None:
    """Remove some of what has expired and, when there is too much, of what was written longest ago.

    A step is bounded by what the transaction itself did, so that no write pays for another's past, and removes up to
    twice as much as came in, so that it catches up.
    """
    connection = transaction.connection
    connection.execute(_EXPIRE, (transaction.now, 16 + 2 * transaction.rows))
    pages, free = _pages(transaction)
    over = (pages - free) * PAGE_BYTES - transaction.max_bytes
    if over > 0:
        _evict(transaction, min(over, 2 * transaction.written + 64 * PAGE_BYTES))
        pages, free = _pages(transaction)
    if free > max(_SPARE_PAGES, pages // 4):
        # One page a time: the statement has a step for each, and Python takes the first step only.
        for _ in range(min(_VACUUM_PAGES, free)):
            connection.execute("PRAGMA incremental_vacuum(1)")


def _pages(transaction: Transaction) -> tuple[int, int]:
    connection = transaction.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return pages, free


def _evict(transaction: Transaction, over: int) -> None:
    connection = transaction.connection
    last, freed = 0, 0
    for id_, size in connection.execute("SELECT id, length(value) FROM entries ORDER BY id"):
        last, freed = id_, freed + (size or 0) + _ROW_OVERHEAD
        if freed >= over:
            break
    connection.execute("DELETE FROM entries WHERE id <= ?", (last,))
