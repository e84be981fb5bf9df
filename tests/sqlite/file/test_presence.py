"""What is at a path is told without opening, making or moving anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cachecore_sqlite import SQLiteBackend


def held(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


async def made(path: Path) -> None:
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v" * 5000}, ttl=60)
    await backend.aclose()


async def test_a_cache_is_there(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    await made(path)
    before = held(tmp_path)
    backend = SQLiteBackend(path)
    assert backend.absence() is None
    ((name, facts),) = (await backend.about("cc:")).items()
    await backend.aclose()
    assert name == "cache.db"
    assert facts["server"].startswith("SQLite 3")
    assert int(facts["bytes"]) == path.stat().st_size
    assert facts["persistence"] == "file (durability=file)"
    assert held(tmp_path) == before


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("none", "there is no such file"),
        ("empty", "there is no cache in this file yet"),
        ("text", "another program"),
        ("database", "another program"),
        ("damaged", "is damaged"),
    ],
)
async def test_there_is_none(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "cache.db"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("notes of a person\n" * 100)
    elif kind == "database":
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE t (a)")
    elif kind == "damaged":
        await made(path)
        data = bytearray(path.read_bytes())
        data[0:16] = bytes(16)
        path.write_bytes(data)
    before = held(tmp_path)
    backend = SQLiteBackend(path)
    assert words in (backend.absence() or "")
    await backend.aclose()
    assert held(tmp_path) == before


async def test_a_database_in_memory_is_always_there() -> None:
    backend = SQLiteBackend(":memory:")
    assert backend.absence() is None
    assert (await backend.about("cc:"))[":memory:"]["persistence"] == "none"
    await backend.aclose()
