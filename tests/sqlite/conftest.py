"""A small disk for a test to fill, and a database in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cachecore_sqlite.file import schema
from tests.sqlite.disks import mounted


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of two megabytes, or as many as asked for, where this user may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "tmpfs", f"size={getattr(request, 'param', 2)}m"):
        yield folder


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A connection to the tables of a new store, in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.create(connection)
        yield connection
