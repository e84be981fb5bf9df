"""Many writes share a transaction and its few statements, with the result of single writes in the same order."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.table import rows
from cachecore_sqlite.table.transaction import Transaction

NOW = 1000.0


@pytest.fixture
def first(connection: sqlite3.Connection) -> Transaction:
    """A transaction in an empty store."""
    return Transaction(connection, NOW, 1 << 20)


def test_many_swaps_take_few_statements(first: Transaction) -> None:
    """Each of thousands of statements would wait for a busy event loop to release the interpreter."""
    before = first
    before.put({f"lease{number}": b"token" for number in range(300)}, NOW + 1)
    before.put({f"old{number}": b"e" for number in range(100)}, NOW - 1)
    before.flush()
    transaction = Transaction(before.connection, NOW, 1 << 20)
    statements: list[str] = []
    transaction.connection.set_trace_callback(statements.append)
    swaps = [
        *((f"new{number}", None, b"entry") for number in range(300)),
        *((f"lease{number}", b"token", None) for number in range(300)),
        *((f"old{number}", None, b"entry") for number in range(100)),
    ]
    transaction.prefetch((key, old) for key, old, _ in swaps)
    assert all(transaction.swap(key, old, new, NOW + 60) for key, old, new in swaps)
    transaction.flush()
    assert len(statements) < 20
    assert transaction.changed == [key for key, _, _ in swaps]


@pytest.mark.parametrize("seed", range(30))
def test_grouped_writes_mean_what_single_ones_do(first: Transaction, seed: int) -> None:
    """Any mix of puts, deletes and swaps, among expired and damaged rows, agrees with a dict."""
    chance = random.Random(seed)
    keys = [f"k{number}" for number in range(12)]
    values = [b"a", b"b", b"c" * 5000, b""]
    model: dict[str, bytes] = {}
    damaged: set[str] = set()  # damaged rows not read yet count as deleted
    for key in keys:
        kind = chance.choice(("absent", "live", "dead", "damaged", "for ever"))
        if kind != "absent":
            first.put({key: b"a"}, {"dead": NOW - 1, "for ever": None}.get(kind, NOW + 9))
        first.flush()
        if kind == "damaged":
            damaged.add(key)
            first.connection.execute("UPDATE entries SET checksum = checksum + 1, value = x'00' WHERE key = ?", (key,))
        if kind in ("live", "for ever"):
            model[key] = b"a"
    for _ in range(5):
        transaction = Transaction(first.connection, NOW, 1 << 20)
        ops = [
            (chance.choice(("put", "drop", "swap", "swap", "large")), chance.choice(keys), chance.choice(values))
            for _ in range(chance.randrange(40))
        ]
        olds = [chance.choice((None, model.get(key), b"b")) for _, key, _ in ops]
        transaction.prefetch((key, old) for (op, key, _), old in zip(ops, olds, strict=True) if op == "swap")
        for (op, key, value), old in zip(ops, olds, strict=True):
            if op == "put":
                transaction.put({key: value}, NOW + 9)
                model[key] = value
            elif op == "large":
                transaction.put({key: bytes(1 << 20)}, NOW + 9)
                model.pop(key, None)
            elif op == "drop":
                assert transaction.drop((key,)) == (key in model or key in damaged)
                model.pop(key, None)
            else:
                new = chance.choice((value, None))
                assert transaction.swap(key, old, new, NOW + 9) == (model.get(key) == old)
                if model.get(key) != old or (old is None and new is None):
                    continue
                model.pop(key, None)
                model |= {key: new} if new is not None else {}
            damaged.discard(key)
        transaction.flush()
        assert rows.read(first.connection, keys, NOW).values == model


async def test_swaps_of_one_moment_share_transactions(tmp_path: Path) -> None:
    """All swaps are done and acknowledged in a handful of commits; of those for one key one has won."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    await backend.get_many(["k"])
    swaps = [backend.swap(f"k{number}", None, b"v", ttl=60) for number in range(1000)]
    assert all(await asyncio.gather(*swaps))
    assert sum(await asyncio.gather(*(backend.swap("one", None, b"%d" % n, ttl=60) for n in range(50)))) == 1
    assert await backend.get_many([f"k{number}" for number in range(1000)]) == [b"v"] * 1000
    await backend.aclose()
    connection = sqlite3.connect(path)
    (commits,) = connection.execute("SELECT count(*) FROM changes").fetchone()
    connection.close()
    assert commits < 20
