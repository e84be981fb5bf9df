"""Entries are found by a hash of their key: two keys with one hash may cost each other a miss, never a wrong value."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.table import rows
from cachecore_sqlite.table.transaction import Transaction

NOW = 1000.0


@pytest.fixture(autouse=True)
def _few_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patch `hash_of` to the length of the key. The promise: a collision never returns another key's value."""
    monkeypatch.setattr(rows, "hash_of", len)


@pytest.mark.parametrize("where", ["cache.db", ":memory:"])
async def test_of_two_keys_with_one_hash_the_later_is_there(tmp_path: Path, where: str) -> None:
    """Neither key is ever read, measured, deleted or compared as the other one."""
    backend = SQLiteBackend(where if where == ":memory:" else tmp_path / where)
    await backend.set_many({"a": b"of a", "other": b"o"}, ttl=60)
    assert await backend.get_many(["b", "a", "other"]) == [None, b"of a", b"o"]
    assert await backend.sizes(["b", "a"]) == [0, 4]
    assert await backend.delete_many(["b"]) == 0
    assert not await backend.swap("b", b"of a", b"of b", ttl=60)
    assert await backend.get_many(["a"]) == [b"of a"]
    await backend.set_many({"b": b"of b"}, ttl=60)
    assert await backend.get_many(["a", "b", "other"]) == [None, b"of b", b"o"]
    assert sorted([key async for page in backend.scan("") for key in page]) == ["b", "other"]
    await backend.set_many({"a": b"1", "b": b"2", "c": b"3"}, ttl=60)
    assert await backend.get_many(["a", "b", "c"]) == [None, None, b"3"]
    assert await backend.delete_many(["a", "b", "c"]) == 1
    await backend.aclose()


async def test_swap_takes_the_row_of_another_key_as_absent(tmp_path: Path) -> None:
    """A swap that expects no value replaces the other key's entry, and only that one."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"a": b"of a"}, ttl=60)
    assert await backend.swap("b", None, b"of b", ttl=60)
    assert not await backend.swap("b", None, b"again", ttl=60)
    assert await backend.get_many(["a", "b"]) == [None, b"of b"]
    assert not await backend.swap("a", b"of a", b"new", ttl=60)
    assert await backend.swap("a", None, None, ttl=60)  # leaves the other one alone
    assert await backend.get_many(["b"]) == [b"of b"]
    await backend.aclose()


@pytest.mark.parametrize("seed", range(20))
def test_colliding_writes_lose_but_never_mix_values(connection: sqlite3.Connection, seed: int) -> None:
    """After any mix of writes to twelve keys with three hashes, a value that is found is the last one of its key."""
    chance = random.Random(seed)
    keys = [letter * length for letter in "abcd" for length in (1, 2, 3)]
    model: dict[str, bytes] = {}  # as if nothing were ever lost
    for number in range(100):
        transaction = Transaction(connection, NOW, 1 << 20)
        last: str | None = None
        for step in range(chance.randrange(20)):
            op, key, value = chance.choice(("put", "drop", "swap")), chance.choice(keys), b"%d.%d" % (number, step)
            old = chance.choice((None, model.get(key)))
            if op == "put":
                transaction.put({key: value}, NOW + 9)
            elif op == "drop":
                assert transaction.drop([key]) <= (key in model)
                model.pop(key, None)
                last = None
                continue
            elif transaction.swap(key, old, value, NOW + 9):
                assert old in (None, model.get(key))
            else:
                continue
            model[key] = value
            last = key
        transaction.flush()
        found = rows.read(connection, keys, NOW)
        assert not found.damaged
        assert all(model[key] == value for key, value in found.values.items())
        assert last is None or last in found.values
        assert len({len(key) for key in found.values}) == len(found.values)
