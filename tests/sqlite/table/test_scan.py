"""A scan reads all entries, oldest first, in pages of bounded work."""

from __future__ import annotations

import sqlite3

from cachecore.testing.clocks import FakeClock
from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.table import rows
from cachecore_sqlite.table.transaction import Transaction

NOW = 1000.0


async def test_keys_written_again_while_they_are_scanned_for_are_met() -> None:
    """A key that is live during the whole scan is yielded, although each page is rewritten and others are deleted."""
    backend = SQLiteBackend(":memory:")
    keys = [f"p:{number}" for number in range(1500)]
    await backend.set_many(dict.fromkeys(keys, b"old"), ttl=60)
    met: set[str] = set()
    pages = 0
    async for page in backend.scan("p:"):
        met |= set(page)
        pages += 1
        if pages <= 3:
            await backend.set_many(dict.fromkeys(keys[pages::7], b"new"), ttl=60)
            await backend.delete_many(["p:0"])
    assert met >= set(keys[1:])
    await backend.aclose()


async def test_prefix_is_literal_and_the_dead_are_passed_by() -> None:
    """No character of a prefix is a pattern, and expired entries are skipped."""
    clock = FakeClock()
    backend = SQLiteBackend(":memory:", clock=clock)
    keys = ["a%b", "a_b", "axb", "a*b", "A%b", "a%", "a", "%", "ba%b"]
    await backend.set_many(dict.fromkeys(keys, b"v"), ttl=60)
    await backend.set_many({"a%dead": b"v"}, ttl=5)
    clock.advance(6)
    assert [key async for page in backend.scan("a%") for key in page] == ["a%b", "a%"]
    assert [key async for page in backend.scan("a") for key in page] == ["a%b", "a_b", "axb", "a*b", "a%", "a"]
    assert [key async for page in backend.scan("") for key in page] == keys
    assert [page async for page in backend.scan("a%b!")] == []
    await backend.aclose()


def test_a_page_looks_at_few_entries(connection: sqlite3.Connection) -> None:
    """However rare the matching keys are, one page occupies a thread for 512 entries only."""
    transaction = Transaction(connection, NOW, 1 << 30)
    transaction.put({f"k{number}": b"v" for number in range(2000)} | {"rare": b"v"}, None)
    transaction.flush()
    found: list[list[str]] = []
    ids: list[int | None] = []
    after: int | None = 0
    while after is not None:
        keys, after = rows.page(connection, NOW, prefix="rare", after=after)
        found.append(keys)
        ids.append(after)
    assert found == [[], [], [], ["rare"]]
    assert ids == [512, 1024, 1536, None]


def test_damaged_keys_are_nobodys(connection: sqlite3.Connection) -> None:
    """Invalid text, or a newline, in a key is no error and no key; the keys beside it are found."""
    transaction = Transaction(connection, NOW, 1 << 30)
    transaction.put({"p:a": b"a", "p:b": b"b", "p:c": b"c"}, None)
    transaction.flush()
    connection.execute("UPDATE entries SET key = CAST(x'ff3a61' AS TEXT) WHERE key = 'p:a'")
    connection.execute("UPDATE entries SET key = 'p:' || char(10) || 'b' WHERE key = 'p:b'")
    assert rows.read(connection, ["p:a", "p:b", "p:c"], NOW).values == {"p:c": b"c"}
    assert rows.sizes(connection, ["p:a", "p:b", "p:c"], NOW) == [0, 0, 1]
    keys, _ = rows.page(connection, NOW, prefix="p:", after=0)
    assert set(keys) == {"p:", "p:c"}
