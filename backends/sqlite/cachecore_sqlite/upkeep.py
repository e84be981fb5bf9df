"""What keeps the file small, in small steps that ride on writes: expiry, eviction, vacuum, the end of the log."""

from __future__ import annotations

from typing import Final

from cachecore_sqlite.rows import Transaction

PAGE_BYTES: Final = 4096
_LOG_TRANSACTIONS: Final = 4096
_TRIM_EVERY: Final = 64
_ROW_OVERHEAD: Final = 200
_VACUUM_PAGES: Final = 256
_EXPIRE: Final = (
    "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE deadline <= ? ORDER BY deadline LIMIT ?)"
)


def log(transaction: Transaction) -> None:
    """Write the changed keys down for the feeds of all processes."""
    connection = transaction.connection
    cursor = connection.execute("INSERT INTO changes(keys) VALUES (?)", ("\n".join(transaction.changed),))
    seq = cursor.lastrowid or 0
    if seq % _TRIM_EVERY == 0:
        connection.execute("DELETE FROM changes WHERE seq <= ?", (seq - _LOG_TRANSACTIONS,))


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
    if free * PAGE_BYTES > max(transaction.max_bytes // 16, pages * PAGE_BYTES // 4):
        # Each returned row is one page given back: the statement must be run to its end.
        connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()


def _pages(transaction: Transaction) -> tuple[int, int]:
    connection = transaction.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return pages, free


def _evict(transaction: Transaction, over: int) -> None:
    connection = transaction.connection
    last, freed = 0, 0
    for id_, size in connection.execute("SELECT id, length(value) FROM entries ORDER BY id"):
        last, freed = id_, freed + size + _ROW_OVERHEAD
        if freed >= over:
            break
    connection.execute("DELETE FROM entries WHERE id <= ?", (last,))
