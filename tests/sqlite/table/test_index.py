"""Each entry has an index row, a stale index row does no harm, and each new row changes few pages."""

from __future__ import annotations

import os
import random
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cachecore_sqlite.file import schema
from cachecore_sqlite.table import index, maintenance, rows, transaction
from cachecore_sqlite.table.transaction import Transaction

NOW = 1000.0
MAX_BYTES = 1 << 20


def _put(connection: sqlite3.Connection, *keys: str, deadline: float | None = NOW + 60, value: bytes = b"v") -> None:
    transaction = Transaction(connection, NOW, 1 << 30)
    transaction.put(dict.fromkeys(keys, value), deadline)
    transaction.flush()


def _drop(connection: sqlite3.Connection, *keys: str) -> int:
    transaction = Transaction(connection, NOW, 1 << 30)
    existed = transaction.drop(keys)
    transaction.flush()
    return existed


def _count(connection: sqlite3.Connection, table: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def _each_entry_has_its_place(connection: sqlite3.Connection) -> None:
    recent = dict(connection.execute("SELECT hash, id FROM recent"))
    found = dict(connection.execute("SELECT hash, id FROM places")) | recent
    entries = connection.execute("SELECT key_hash, id FROM entries").fetchall()
    assert len({key_hash for key_hash, _ in entries}) == len(entries)
    assert {key_hash: found.get(key_hash) for key_hash, _ in entries} == dict(entries)


@pytest.mark.parametrize("seed", range(3))
def test_each_entry_has_its_place_whatever_happens(connection: sqlite3.Connection, seed: int) -> None:
    """Written, replaced, deleted, expired, evicted: live entries are found, the others leave few index rows behind."""
    chance = random.Random(seed)
    now, largest = NOW, 0
    model: dict[str, tuple[bytes, float]] = {}
    for number in range(150):
        transaction = Transaction(connection, now, MAX_BYTES)
        for _ in range(chance.randrange(4)):
            keys = [f"k{chance.randrange(6000)}" for _ in range(chance.choice((1, 3, 20, 400)))]
            if chance.random() < 0.8:
                deadline = now + chance.uniform(1, 100)
                items = {key: b"%d " % number + bytes(chance.randrange(60)) for key in keys}
                transaction.put(items, deadline)
                model |= {key: (value, deadline) for key, value in items.items()}
            else:
                transaction.drop(keys)
                model = {key: had for key, had in model.items() if key not in keys}
        transaction.flush()
        if transaction.changed:
            maintenance.reclaim(transaction, 500, 100_000, chance.choice((MAX_BYTES // 4, MAX_BYTES)), shorten=False)
        now += 1
        _each_entry_has_its_place(connection)
        live = {key: value for key, (value, deadline) in model.items() if deadline > now}
        found = rows.read(connection, list(live), now)
        assert not found.damaged
        assert found.values.items() <= live.items()  # some were evicted
        stored = {key for (key,) in connection.execute("SELECT key FROM entries WHERE deadline > ?", (now,))}
        assert set(found.values) == stored
        largest = max(largest, len(stored))
    assert largest > 1000


def test_place_of_another_entry_does_no_harm(connection: sqlite3.Connection) -> None:
    """Ids are used again, so the index row of one key may lead to the entry of another."""
    _put(connection, "other", value=b"of other")
    (id_,) = connection.execute("SELECT id FROM entries").fetchone()
    for table in ("recent", "places"):
        connection.execute(f"REPLACE INTO {table} VALUES (?, ?)", (rows.hash_of("k"), id_))
    assert rows.read(connection, ["k", "other"], NOW).values == {"other": b"of other"}
    assert rows.sizes(connection, ["k"], NOW) == [0]
    assert _drop(connection, "k") == 0
    assert _count(connection, "recent") == 1  # the stale index row went with the key
    assert _count(connection, "places") == 0
    connection.execute("INSERT INTO places VALUES (?, ?)", (rows.hash_of("k"), id_))
    transaction = Transaction(connection, NOW, MAX_BYTES)
    transaction.prefetch([("k", None)])
    assert not transaction.swap("k", b"of other", b"new", None)
    assert transaction.swap("k", None, b"of k", None)
    transaction.flush()
    assert rows.read(connection, ["k", "other"], NOW).values == {"k": b"of k", "other": b"of other"}
    _each_entry_has_its_place(connection)


def test_a_key_with_two_places_is_one_key(connection: sqlite3.Connection) -> None:
    """A replaced newest entry keeps its id, so its older index row in `places` leads to it again."""
    _put(connection, "other", "k", value=b"old")
    connection.execute("INSERT INTO places SELECT hash, id FROM recent")
    connection.execute("DELETE FROM recent")
    _put(connection, "k", value=b"new")
    (place,) = connection.execute("SELECT * FROM recent").fetchall()
    assert place in connection.execute("SELECT * FROM places").fetchall()
    assert rows.read(connection, ["k"], NOW).values == {"k": b"new"}
    assert rows.sizes(connection, ["k"], NOW) == [3]
    assert _drop(connection, "k") == 1
    assert _drop(connection, "k") == 0


def test_replaced_entry_that_damage_brought_back_is_not_answered(connection: sqlite3.Connection) -> None:
    """A row that damage hid while its key was written again is visible again beside the new one."""
    _put(connection, "other", "k", value=b"old")
    connection.execute("INSERT INTO places SELECT hash, id FROM recent")
    connection.execute("DELETE FROM recent")
    hidden = connection.execute("SELECT * FROM entries WHERE key = 'k'").fetchone()
    connection.execute("DELETE FROM entries WHERE key = 'k'")
    _put(connection, "further")
    _put(connection, "k", value=b"newer")
    connection.execute("UPDATE entries SET id = 100 WHERE key = 'further'")
    connection.execute("INSERT INTO entries VALUES (50, ?, ?, ?, ?, ?)", hidden[1:])
    connection.execute("UPDATE places SET id = 50 WHERE hash = ?", (rows.hash_of("k"),))
    assert rows.read(connection, ["k"], NOW).values == {"k": b"newer"}
    assert rows.sizes(connection, ["k"], NOW) == [5]
    swapping = Transaction(connection, NOW, MAX_BYTES)
    swapping.prefetch([("k", b"old")])
    assert not swapping.swap("k", b"old", b"x", None)
    # The same when the newer row has expired.
    connection.execute("DELETE FROM entries WHERE key = 'k' AND id <> 50")
    connection.execute("UPDATE places SET id = 50 WHERE hash = ?", (rows.hash_of("k"),))
    _put(connection, "k", value=b"dead", deadline=NOW - 1)
    assert rows.read(connection, ["k"], NOW).values == {}


def test_entry_whose_hash_is_damaged_is_nobodys(connection: sqlite3.Connection) -> None:
    """A row that no write would replace is not read: it would come back as an old answer."""
    _put(connection, "k", value=b"old")
    connection.execute("INSERT INTO places SELECT hash, id FROM recent")
    connection.execute("UPDATE entries SET key_hash = key_hash + 1")
    assert rows.read(connection, ["k"], NOW).values == {}
    _put(connection, "k", value=b"new")
    assert rows.read(connection, ["k"], NOW).values == {"k": b"new"}
    assert rows.sizes(connection, ["k"], NOW) == [3]
    assert _drop(connection, "k") == 1
    assert rows.read(connection, ["k"], NOW).values == {}


def test_places_move_on_whoever_writes(tmp_path: Path) -> None:
    """However few rows each connection writes, `recent` stays a few thousand rows long, and each entry is found."""
    path = tmp_path / "cache.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as first:
        first.execute("PRAGMA synchronous = OFF")
        schema.create(first)
        with closing(sqlite3.connect(path, isolation_level=None)) as second:
            second.execute("PRAGMA synchronous = OFF")
            for number in range(300):
                connection = (first, second)[number % 2]
                connection.execute("BEGIN")
                _put(connection, *(f"k{number}.{row}" for row in range(100)))
                connection.execute("COMMIT")
        _each_entry_has_its_place(first)
        assert _count(first, "entries") == 30_000
        assert _count(first, "recent") < 32 * 256
        assert _count(first, "recent") + _count(first, "places") == 30_000


def test_places_of_what_was_evicted_go(connection: sqlite3.Connection) -> None:
    """A store that stays full holds few index rows more than entries."""
    for number in range(300):
        transaction = Transaction(connection, NOW, MAX_BYTES)
        transaction.put({f"k{number}.{row}": bytes(200) for row in range(256)}, NOW + 60)
        transaction.flush()
        maintenance.reclaim(transaction, transaction.rows, transaction.written, MAX_BYTES, shorten=False)
    entries = _count(connection, "entries")
    assert 1000 < entries < 8000
    assert _count(connection, "places") < 1.5 * entries
    assert _count(connection, "recent") < 32 * 256
    _each_entry_has_its_place(connection)


def test_no_place_is_left_of_what_expired_or_was_deleted(connection: sqlite3.Connection) -> None:
    """Index rows of deleted entries are deleted at once: the sweep never reaches those above an immortal entry."""
    _put(connection, "ever", deadline=None)
    for number in range(40):
        _put(connection, *(f"k{number}.{row}" for row in range(256)), deadline=NOW + 1)
    _drop(connection, *(f"k{number}.{row}" for number in range(20) for row in range(256)))
    for _ in range(40):
        maintenance.reclaim(Transaction(connection, NOW + 2, MAX_BYTES), 256, 256, MAX_BYTES, shorten=False)
    assert _count(connection, "entries") == 1
    assert _count(connection, "recent") + _count(connection, "places") == 1
    assert rows.read(connection, ["ever"], NOW).values == {"ever": b"v"}


def test_few_pages_change_with_each_row(tmp_path: Path) -> None:
    """In a file of 40,000 entries, 256 new rows would change nearly as many pages of a single index."""
    path = tmp_path / "cache.db"
    chance = random.Random(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = OFF", "wal_autocheckpoint = 0", "cache_size = -32768"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        schema.create(connection)
        for number in range(190):
            if number == 150:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.execute("BEGIN")
            _put(connection, *(f"{chance.getrandbits(64)}" for _ in range(256)))
            connection.execute("COMMIT")
        pages = os.stat(f"{path}-wal").st_size / 4120
    assert pages / (40 * 256) < 0.3


def test_ids_that_are_not_in_a_row_are_damage(connection: sqlite3.Connection) -> None:
    """A damaged entry with the largest possible id makes SQLite choose all later ids at random."""
    connection.execute("INSERT INTO entries VALUES (9223372036854775807, 1, 'k', NULL, 1, x'00')")
    with pytest.raises(sqlite3.DatabaseError, match="in a row") as raised:
        _put(connection, "a", "b")
    assert raised.value.sqlite_errorcode == sqlite3.SQLITE_CORRUPT


@pytest.mark.parametrize("of", [1, 2, 32, 1 << 20])
def test_slices_are_all_hashes(of: int) -> None:
    """Promise of `_slices`: consecutive slices cover all hashes, none twice in one round."""
    lowest, highest = -(1 << 63), (1 << 63) - 1
    everything = [(lowest, highest)]
    assert index._slices(0, of, of) == index._slices(7, of + 7, of) == index._slices(0, 5 * of, of) == everything
    first = [index._slices(turn, turn + 1, of) for turn in (0, 1, of - 1, of, of + 1)]
    assert [len(ranges) for ranges in first] == [1] * 5
    size = (1 << 64) // of
    assert first[0] == first[3] == [(lowest, lowest + size - 1)]
    assert first[1] == first[4]
    assert first[2] == [(highest - size + 1, highest)]
    if of > 2:
        assert index._slices(of - 1, of + 1, of) == [*first[2], *first[0]]
        assert index._slices(0, 2, of) == [(lowest, first[1][0][1])]


def test_each_hash_has_its_turn_however_the_slices_change() -> None:
    """Promise of `_turn`: each hash is moved, even if the number of slices changes with the steps."""
    for change in range(1, 5):
        missing = set(range(64))
        for step in range(4 * 64):
            bits = 5 + step // change % 2
            width = 64 >> bits
            turn = index._turn(step, bits)
            missing -= set(range(turn * width, turn * width + width))
        assert not missing
    assert [index._turn(step, 2) for step in range(5)] == [0, 2, 1, 3, 0]
    assert index._turn(7, 0) == 0


def _plans(connection: sqlite3.Connection, statements: Iterable[str]) -> Iterator[tuple[str, str]]:
    for statement in statements:
        count = statement.count("?")
        for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}", [1] * count):
            yield statement, step


def test_no_statement_passes_all_entries_by(connection: sqlite3.Connection) -> None:
    """Promise of each statement: no scan of all entries, and no automatic index of them, which would take a second."""
    statements = [
        *rows._GETS.values(),
        *rows._SIZES_OF.values(),
        *transaction._REPLACES.values(),
        *transaction._DELETES.values(),
        *transaction._DEADLINES.values(),
        *transaction._COMPARES.values(),
        *(statement for both in transaction._UNINDEXES.values() for statement in both),
        *(index._ADD, index._ENDS, index._EVICT, index._MOVE, index._REMOVE_MOVED, index._SWEEP),
        *maintenance._EXPIRE,
        maintenance._STATE,
    ]
    assert len(statements) > 60
    scans = re.compile(r"SCAN (lookup|(\d+ )?CONSTANT ROWS?|\(subquery-\d+\)|pragma_\w+ .*)")
    seen = set()
    for statement, step in _plans(connection, statements):
        seen.add(step.split()[0])
        assert "AUTOMATIC" not in step, statement
        assert "SCAN" not in step or scans.fullmatch(step), f"{step}: {statement}"
    assert {"SEARCH", "SCAN"} <= seen


def test_eviction_that_leaves_little_leaves_few_places(connection: sqlite3.Connection) -> None:
    """After `max_bytes` was lowered to a fiftieth, the space is used for entries, and the newest ones are there."""
    for number in range(200):
        _put(connection, *(f"k{number}.{row}" for row in range(256)), value=bytes(900))
    keys: list[str] = []
    for number in range(3000):
        keys = [f"n{number}.{row}" for row in range(16)]
        transaction = Transaction(connection, NOW, MAX_BYTES)
        transaction.put(dict.fromkeys(keys, bytes(900)), NOW + 60)
        transaction.flush()
        maintenance.reclaim(transaction, transaction.rows, transaction.written, MAX_BYTES, shorten=False)
    _each_entry_has_its_place(connection)
    assert _count(connection, "entries") > 600
    assert _count(connection, "places") < 1.5 * _count(connection, "entries")
    assert set(rows.read(connection, keys, NOW).values) == set(keys)


def test_no_place_outlives_a_store_that_was_emptied(connection: sqlite3.Connection) -> None:
    """Ids start again then, and index rows with larger ids of evicted entries would stay for long."""
    _put(connection, "k")
    connection.execute("INSERT INTO places VALUES (1, 900000)")
    _put(connection, "k2")
    assert _count(connection, "places") == 1
    _drop(connection, "k", "k2")
    _put(connection, "k")
    assert _count(connection, "places") == 0
    _each_entry_has_its_place(connection)
