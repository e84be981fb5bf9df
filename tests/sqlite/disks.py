"""Small file systems, and how to fill them to the last byte."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from tests.sqlite.children import fill_folder

ROOT = os.geteuid() == 0
PATIENT = SQLiteOptions(timeout=2.0)
LARGE = bytes(900_000)
"""Fits into the reserve, and into no other free space of the small disk."""


@contextlib.contextmanager
def mounted(folder: Path, kind: str, option: str) -> Iterator[None]:
    if not ROOT or subprocess.run(["mount", "-t", kind, "-o", option, kind, str(folder)], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


async def fill(backend: SQLiteBackend) -> dict[str, bytes]:
    """Write until the store is full; return the acknowledged values."""
    stored: dict[str, bytes] = {}
    for number in range(3000):
        key, value = f"k{number}", b"%d" % number * 800
        try:
            await backend.set_many({key: value}, ttl=60)
        except BackendError:
            break
        stored[key] = value
    with pytest.raises(BackendError) as raised:
        await backend.set_many({"one more": bytes(2_000_000)}, ttl=60)
    assert raised.value.reason == "full"
    assert not raised.value.transient
    assert raised.value.__cause__ is not None
    return stored


async def until_set(backend: SQLiteBackend, key: str) -> None:
    """Set `key` until the store accepts it, which it may refuse while it lacks space."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(BackendError):
                await backend.set_many({key: b"v"}, ttl=60)
                return
            await asyncio.sleep(0.01)


async def ask(pipe: Connection, name: str, *arguments: object, **keywords: object) -> object:
    """Make a call in another process; return its result, or the reason of its error."""
    pipe.send((name, arguments, keywords))
    return await asyncio.to_thread(pipe.recv)


async def to_the_last_byte(backend: SQLiteBackend, ballast: Path) -> dict[str, bytes]:
    """Fill store and disk so that nothing more can be stored; return the acknowledged values."""
    stored = await fill(backend)
    fill_folder(ballast)
    refused = written = 0
    while refused < 6:
        try:
            await backend.set_many({f"filler {written}": b"f"}, ttl=60)
            stored[f"filler {written}"] = b"f"
            written, refused = written + 1, 0
        except BackendError:
            refused += 1
        fill_folder(ballast)
    return stored


async def fill_in_batches(backend: SQLiteBackend) -> list[str]:
    """Write until the store is full; return the keys, shuffled, so that neighbours are on different pages."""
    keys: list[str] = []
    while True:
        batch = [f"{number:040d}" for number in range(len(keys), len(keys) + 32)]
        try:
            await backend.set_many({key: os.urandom(1700) for key in batch}, ttl=600)
        except BackendError:
            break
        keys += batch
    random.Random(1).shuffle(keys)
    return keys


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Read from the WAL in this context, so that it cannot restart."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        yield
