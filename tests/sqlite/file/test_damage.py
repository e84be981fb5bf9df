"""Damaged files: never a wrong value, never an error on opening; files of other programs are not changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from cachecore_sqlite import FileRefused, SQLiteBackend, SQLiteOptions
from cachecore_sqlite.file import schema
from tests.sqlite.children import running, value_of, write_and_wait
from tests.sqlite.disks import PATIENT
from tests.sqlite.opening import until_checked

KEYS = [f"p:e:{number}" for number in range(120)]


async def _sound(path: Path) -> dict[str, bytes]:
    """Create a cleanly closed file with some history, and return its values."""
    backend = SQLiteBackend(path)
    for generation in range(2):
        for start in range(0, len(KEYS), 20):
            await backend.set_many({key: value_of(key, generation) for key in KEYS[start : start + 20]}, ttl=3600)
    await backend.aclose()
    return {key: value_of(key, 1) for key in KEYS}


def _damage(path: Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    kind = chance.choice(("flip", "flips", "zero page", "cut", "noise", "page twice", "start"))
    if kind == "flip":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == "flips":
        for _ in range(chance.randint(2, 400)):
            data[chance.randrange(len(data))] ^= chance.randint(1, 255)
    elif kind == "zero page":
        start = chance.randrange(len(data) // 4096) * 4096
        data[start : start + 4096] = bytes(4096)
    elif kind == "cut":
        del data[chance.randrange(len(data)) :]
    elif kind == "noise":
        start = chance.randrange(len(data))
        data[start : start + 2000] = chance.randbytes(min(2000, len(data) - start))
    elif kind == "page twice":
        pages = len(data) // 4096
        source, target = chance.randrange(pages) * 4096, chance.randrange(pages) * 4096
        data[target : target + 4096] = data[source : source + 4096]
    else:
        data[chance.randrange(100)] ^= chance.randint(1, 255)
    path.write_bytes(data)
    return kind


def _remove(path: Path) -> None:
    for left in path.parent.glob(path.name + "*"):
        left.unlink()


async def _use(path: Path, right: dict[str, bytes]) -> tuple[int, int]:
    """Read everything twice, write, read again; return how many values were wrong and how many calls failed."""
    backend = SQLiteBackend(path, options=PATIENT)  # another thread may move the file aside, slowly on a busy machine
    wrong = failed = 0
    for _ in range(2):
        for start in range(0, len(KEYS), 10):
            keys = KEYS[start : start + 10]
            try:
                found = await backend.get_many(keys)
            except BackendError as error:
                failed += 1 if error.reason in ("corrupt", "foreign", "newer") else 1000
                continue
            wrong += sum(value is not None and value != right[key] for key, value in zip(keys, found, strict=True))
        try:
            async for page in backend.scan("p:e:"):
                assert all(key.startswith("p:e:") for key in page)
            await backend.set_many({"new": b"value"}, ttl=60)
            (found_new,) = await backend.get_many(["new"])
            wrong += found_new not in (b"value", None)
        except BackendError:
            failed += 1
    await backend.aclose()
    return wrong, failed


async def _damaged_files(folder: Path, count: int, seed: int) -> None:
    template = folder / "template.db"
    right = await _sound(template)
    chance = random.Random(seed)
    wrong = refused = 0
    for number in range(count):
        path = folder / f"{number}.db"
        shutil.copy(template, path)
        kind = _damage(path, chance)
        bad, failed = await _use(path, right)
        assert bad == 0, f"{kind} of file {number}"
        wrong += bad
        refused += failed > 2
        assert failed < 1000, f"{kind} of file {number}: another error"
        _remove(path)
    assert refused <= count // 25  # only where every mark of this library is damaged


async def test_damaged_files_never_give_wrong_values(tmp_path: Path) -> None:
    """A hundred files damaged in seven ways: 0 wrong; opening and building never raise."""
    await _damaged_files(tmp_path, 100, seed=3)


@pytest.mark.soak
async def test_a_thousand_damaged_files_never_give_wrong_values(tmp_path: Path) -> None:
    """The same, for a thousand."""
    await _damaged_files(tmp_path, 1000, seed=4)


async def test_every_byte_of_the_header_may_be_damaged(tmp_path: Path) -> None:
    """Any wrong byte of the first hundred causes no wrong value, and the cache continues."""
    template = tmp_path / "template.db"
    right = await _sound(template)
    for offset in range(100):
        path = tmp_path / "cache.db"
        data = bytearray(template.read_bytes())
        data[offset] ^= 0xFF
        path.write_bytes(data)
        wrong, failed = await _use(path, right)
        assert wrong == 0
        assert failed <= 1, f"byte {offset}"
        _remove(path)


async def test_flipped_values_are_misses_and_are_removed(tmp_path: Path) -> None:
    """SQLite returns a flipped value unchanged; the store returns a miss, and a new value after the next write."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"A" * 500, "k2": b"B" * 500}, ttl=60)
    await backend.aclose()
    data = path.read_bytes()
    at = data.index(b"A" * 500)
    path.write_bytes(data[: at + 100] + b"X" + data[at + 101 :])
    backend = SQLiteBackend(path)
    assert await backend.get_many(["k", "k2"]) == [None, b"B" * 500]
    limit = time.monotonic() + 60
    while [key async for page in backend.scan("") for key in page] != ["k2"]:  # the writer removes it after the read
        assert time.monotonic() < limit
    assert not await backend.swap("k", b"A" * 500, b"C", ttl=60)
    assert await backend.swap("k", None, b"C", ttl=60)
    assert await backend.get_many(["k"]) == [b"C"]
    await backend.aclose()


async def test_file_behind_a_link_is_looked_at_where_it_is(tmp_path: Path) -> None:
    """SQLite keeps the WAL beside the file, not beside the link: a foreign schema in the WAL alone is recognized."""
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "diary.db", tmp_path / "link.db"
    link.symlink_to(real)
    with contextlib.closing(sqlite3.connect(real, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE diary(day TEXT)")
        backend = SQLiteBackend(link)
        assert backend.path == str(real.resolve())
        with pytest.raises(FileRefused):
            await backend.get_many(["k"])
        await backend.aclose()
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("diary",)]
    assert sorted(os.listdir(tmp_path)) == ["link.db", "real"]
    assert link.is_symlink()


@pytest.mark.parametrize("name", [b"CREATE TABLE places", b"entries_deadline", b"CREATE TABLE entries", b"mark"])
async def test_flipped_schema_is_damage(tmp_path: Path, name: bytes) -> None:
    """Names that are not valid text make Python fail, even in error messages: every call is answered."""
    path = tmp_path / "cache.db"
    right = await _sound(path)
    data = path.read_bytes()
    at = data.index(name) + 2
    path.write_bytes(data[:at] + b"\xbe" + data[at + 1 :])
    assert await asyncio.wait_for(_use(path, right), 10) == (0, 0)


async def test_damaged_file_is_moved_aside_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is no sound database is kept under another name, once, and the name is logged."""
    path = tmp_path / "cache.db"
    for _ in range(2):
        await _sound(path)
        data = bytearray(path.read_bytes())
        data[0:16] = b"not a database!!"
        path.write_bytes(data)
        with caplog.at_level(logging.WARNING):
            backend = SQLiteBackend(path)
            assert await backend.get_many(["p:e:1"]) == [None]
            await backend.set_many({"p:e:1": b"new"}, ttl=60)
            assert await backend.get_many(["p:e:1"]) == [b"new"]
            await backend.aclose()
        aside = [tmp_path / name for name in os.listdir(tmp_path) if ".damaged-" in name]
        assert [found.read_bytes() for found in aside] == [bytes(data)]
        assert str(aside[0]) in caplog.text


async def test_file_damaged_while_open(tmp_path: Path) -> None:
    """Bytes that change under an open cache: errors or misses, no wrong value, and soon a cache that works."""
    path = tmp_path / "cache.db"
    right = await _sound(path)
    backend = SQLiteBackend(path)
    await backend.get_many(KEYS[:1])
    until_checked(backend)
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xa5" * 200)
    told = []
    for _ in range(3):
        try:
            found = await backend.get_many(KEYS)
        except BackendError as error:
            told.append((error.reason, error.transient, isinstance(error.__cause__, sqlite3.DatabaseError)))
        else:
            assert [v for k, v in zip(KEYS, found, strict=True) if v not in (None, right[k])] == []
    assert told == [("corrupt", True, True)]
    await backend.set_many({"k": b"v"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()


async def test_damage_that_a_program_finds_that_only_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With one thread, too, only the first call fails, since the file is moved aside."""
    path = tmp_path / "cache.db"
    right = await _sound(path)
    page = path.read_bytes().index(right[KEYS[60]]) // 4096
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(bytes(4096))
    backend = SQLiteBackend(path, options=SQLiteOptions(readers=1))
    with caplog.at_level(logging.WARNING), pytest.raises(BackendError, match="corrupt"):
        await backend.get_many(KEYS)
    assert ".damaged-" in caplog.text
    assert await backend.get_many(KEYS) == [None] * len(KEYS)
    await backend.aclose()


async def test_damaged_log_does_not_bring_old_values_back(tmp_path: Path) -> None:
    """Damage in the log of a killed process empties the cache; it does not take it back in time."""
    path = tmp_path / "cache.db"
    chance = random.Random(5)
    emptied = 0
    for round_ in range(40):
        with running(write_and_wait, str(path), KEYS) as (process, pipe):
            assert await asyncio.to_thread(pipe.recv) == "written"
            process.kill()
            process.join()
        log = tmp_path / "cache.db-wal"
        data = bytearray(log.read_bytes())
        # Not in the last transaction: a truncated one looks like the unfinished write of a killed process.
        at = chance.randrange(32) if round_ % 4 == 0 else chance.randrange(32, len(data) - 20 * 4120)
        data[at] ^= 1 << chance.randrange(8)
        log.write_bytes(data)
        backend = SQLiteBackend(path)
        found = await backend.get_many(KEYS)
        assert [v for k, v in zip(KEYS, found, strict=True) if v not in (None, value_of(k, 2))] == []
        emptied += found == [None] * len(KEYS)
        await backend.aclose()
        _remove(path)
    assert emptied


@pytest.mark.parametrize("content", [b"a diary, not a database\n" * 50, bytes(5000)], ids=["text", "zeros"])
async def test_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    """A file that is no database is refused by every call, and no byte of it changes."""
    path = tmp_path / "diary.txt"
    path.write_bytes(content)
    backend = SQLiteBackend(path)
    for call in (backend.get_many(["k"]), backend.set_many({"k": b"v"}, ttl=60), backend.delete_many(["k"])):
        with pytest.raises(FileRefused, match="is not a cache of this library") as raised:
            await call
        assert raised.value.reason == "foreign"
        assert not raised.value.transient
    await backend.aclose()
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["diary.txt"]
    path.unlink()
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_database_of_another_program_is_refused(tmp_path: Path, mode: str) -> None:
    """Tables of another program, committed to its file or only to its WAL, are not changed."""
    path = tmp_path / "other.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(f"PRAGMA journal_mode = {mode}")
    other.execute("CREATE TABLE entries(id INTEGER PRIMARY KEY, key TEXT)")
    other.execute("INSERT INTO entries VALUES (1, 'theirs')")
    before = path.read_bytes()
    backend = SQLiteBackend(path)
    with pytest.raises(FileRefused):
        await backend.get_many(["k"])
    with pytest.raises(FileRefused):
        await backend.set_many({"k": b"v"}, ttl=60)
    await backend.aclose()
    assert path.read_bytes() == before
    assert other.execute("SELECT * FROM entries").fetchall() == [(1, "theirs")]
    assert other.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    other.close()


async def test_newer_version_is_refused(tmp_path: Path) -> None:
    """A file from a newer version of this library is not used, not moved, not changed."""
    path = tmp_path / "cache.db"
    await _sound(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA user_version = {schema.packed(schema.VERSION + 1)}")
    connection.execute("CREATE TABLE of_the_future(x)")
    connection.close()
    before = path.read_bytes()
    backend = SQLiteBackend(path)
    with pytest.raises(FileRefused, match="newer version") as raised:
        await backend.get_many(["k"])
    assert raised.value.reason == "newer"
    await backend.aclose()
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "cache.db-reserve"]


async def test_empty_database_is_taken(tmp_path: Path) -> None:
    """A file of no bytes, and a database without a table, hold no data: they become the cache."""
    for name in ("bytes", "tables"):
        path = tmp_path / name
        path.touch()
        if name == "tables":
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("VACUUM")
            connection.close()
        backend = SQLiteBackend(path)
        await backend.set_many({"k": b"v"}, ttl=60)
        assert await backend.get_many(["k"]) == [b"v"]
        await backend.aclose()
