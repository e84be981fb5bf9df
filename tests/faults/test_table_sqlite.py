"""The result of each call during a fault of its file: rows of the table, as in `test_table`.

Each cell has a file of its own. The first call to meet damage fails, and the next one finds a new file, so there are
rows for damage before and after it was found.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from tests.faults.callers import PATIENT, request
from tests.faults.cells import Cell, Row, outcomes, row
from tests.faults.test_table import AWAY, FULL, READ_ONLY, WORTHLESS
from tests.sqlite.children import fill_folder, hold_lock, running

Fault = Callable[[list[Cell]], contextlib.AbstractContextManager[object]]

EMPTY = row(
    reads="default",
    asks="stores",
    new="stores",
    sets="works",
    deletes="finds nothing",
    expire="finds nothing",
    invalidates="finds nothing",
    invalidate_tags="works",
)
"""A new file."""
OTHER_TYPE = row(
    reads="default",
    asks="computes",
    new="stores",
    sets="works",
    deletes="raises",
    expire="raises",
    invalidates="works",
    refresh="computes",
)
"""A value of a type that the store never writes is damage where it is read, and only there."""


def _path(cell: Cell) -> Path:
    return Path(cell.url.removeprefix("sqlite:///").partition("?")[0])


def _each(change: Callable[[Path], object], mend: Callable[[Path], object] | None = None) -> Fault:
    """Apply `change` to each file, and `mend` at the end."""

    @contextmanager
    def fault(cells: list[Cell]) -> Iterator[None]:
        for cell in cells:
            change(_path(cell))
        yield
        for cell in cells:
            if mend is not None:
                mend(_path(cell))

    return fault


@contextmanager
def _locked(cells: list[Cell]) -> Iterator[None]:
    """Another process holds each file."""
    with ExitStack() as stack:
        pipes = [stack.enter_context(running(hold_lock, str(_path(cell)), "write"))[1] for cell in cells]
        for pipe in pipes:
            assert pipe.recv() == "locked"
        yield
        for pipe in pipes:
            pipe.send("end")
            assert pipe.recv() == "released"


@contextmanager
def _full(cells: list[Cell]) -> Iterator[None]:
    """The disks have no free block."""
    for cell in cells:
        fill_folder(_ballast(cell))
    yield
    for cell in cells:
        _ballast(cell).unlink()


def _ballast(cell: Cell) -> Path:
    return _path(cell).with_name("ballast")


async def _to_the_last_byte(cells: list[Cell]) -> None:
    """Write until the files are full inside too. The cache hides refused writes, so its raw store is called."""

    async def one(cell: Cell) -> None:
        refused = written = 0
        while refused < 6:
            try:
                await cell.cache._engine.raw.set_many({f"filler {written}": b"f"}, ttl=600)
                written, refused = written + 1, 0
            except BackendError:
                refused += 1  # a refused write restarts the WAL, as long as its pages fit into the file
            fill_folder(_ballast(cell))

    await asyncio.gather(*map(one, cells))


@contextmanager
def _read_only(cells: list[Cell]) -> Iterator[None]:
    """The disks are read-only."""
    for cell in cells:
        subprocess.run(["mount", "-o", "remount,ro", _path(cell).parent], check=True)
    yield
    for cell in cells:
        subprocess.run(["mount", "-o", "remount,rw", _path(cell).parent], check=True)


def _overwritten(path: Path) -> None:
    """Overwrite the whole file with noise. It counts as a foreign file, and is not changed as long as it is there."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0  # nothing is left in the WAL
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(size))


def _removed(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink(missing_ok=True)  # the first process to miss its WAL has moved the file aside


def _rows(expression: str) -> Callable[[Path], None]:
    """Change every stored answer, bypassing the library."""

    def change(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
            connection.execute(f"UPDATE entries SET value = {expression} WHERE key LIKE 'cc:e:%'")

    return change


def _page_damaged(path: Path) -> None:
    """Overwrite the first page of the table of entries."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entries'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * 200)


def _schema_damaged(path: Path) -> None:
    """Flip a bit of the schema, as a disk error would."""
    whole = path.read_bytes()
    assert b"CREATE TABLE entries" in whole
    path.write_bytes(whole.replace(b"CREATE TABLE entries", b"CREATE TABLE entriez"))


async def _met(cells: list[Cell]) -> None:
    """Read until the damage is found: pages that are in memory or in the WAL are served before."""
    for cell in cells:
        limit = time.monotonic() + 30
        while await cell.view.get(request(cell.stored[0])) is not None:
            assert time.monotonic() < limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row."""

    fault: Fault
    row: Row
    reasons: frozenset[str] = frozenset()
    """Reasons of the errors counted while the calls are made."""
    at_rest: bool = False
    """Whether the fault happens while the file is closed: otherwise one thread may find it before another."""
    settled: Callable[[list[Cell]], Awaitable[None]] | None = None
    timeout: str = "5s"
    small: bool = False
    """Whether each cell takes a small file system of its own."""


CASES = {
    "locked": Case(fault=_locked, row=READ_ONLY, reasons=frozenset({"locked"}), timeout="40ms"),
    "full": Case(fault=_full, row=FULL, reasons=frozenset({"full"}), settled=_to_the_last_byte, small=True),
    "full, found at opening": Case(fault=_full, row=FULL, reasons=frozenset({"full"}), at_rest=True, small=True),
    "read-only folder": Case(
        fault=_read_only, row=READ_ONLY, reasons=frozenset({"readonly"}), at_rest=True, small=True
    ),
    "overwritten, found": Case(
        fault=_each(_overwritten, _removed), row=AWAY, reasons=frozenset({"corrupt", "foreign"}), settled=_met
    ),
    "overwritten, found at opening": Case(
        fault=_each(_overwritten, _removed), row=AWAY, reasons=frozenset({"foreign"}), at_rest=True
    ),
    "page damaged, not yet met": Case(
        fault=_each(_page_damaged), row=AWAY, reasons=frozenset({"corrupt"}), at_rest=True
    ),
    "page damaged, found": Case(fault=_each(_page_damaged), row=EMPTY, settled=_met),
    "schema damaged, found at opening": Case(fault=_each(_schema_damaged), row=EMPTY, at_rest=True),
    "file removed": Case(fault=_each(_removed), row=EMPTY),
    "file removed, its log left": Case(fault=_each(Path.unlink), row=EMPTY),
    "flipped rows": Case(fault=_each(_rows("CAST(x'00' || substr(value, 2) AS BLOB)")), row=WORTHLESS),
    "foreign rows": Case(fault=_each(_rows("CAST('somebody else''s' AS BLOB)")), row=WORTHLESS),
    "rows of another type, not yet met": Case(
        fault=_each(_rows("x'00' || value")), row=OTHER_TYPE, reasons=frozenset({"corrupt"})
    ),
    "rows of another type, found": Case(fault=_each(_rows("x'00' || value")), row=EMPTY, settled=_met),
}


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    if not CASES[request.node.callspec.params["name"]].small:
        yield tmp_path
        return
    with ExitStack() as stack:
        for column in CASES[request.node.callspec.params["name"]].row:
            small = tmp_path / column
            small.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]
            if os.geteuid() or subprocess.run(mount, check=False).returncode:
                pytest.skip("needs the right to mount a small file system")
            stack.callback(subprocess.check_call, ["umount", "-l", small])
        yield tmp_path


@pytest.mark.parametrize("name", CASES)
async def test_row(name: str, folder: Path) -> None:
    """Each call has exactly the result of the table, and the reason of the fault."""
    case = CASES[name]
    ill: list[Cell] = []

    def begin(cells: list[Cell]) -> contextlib.AbstractContextManager[object]:
        ill.extend(cells)
        return case.fault(cells)

    async def settled() -> None:
        if case.settled is not None:
            await case.settled(ill)

    # One reader: each of several would be the first to meet the damage.
    url = f"sqlite:///{folder}/{{column}}/cache.db?readers=1&timeout={case.timeout}"
    options = {"backend_timeout": 10} if name == "locked" else PATIENT
    seen = await outcomes(url, case.row, begin, at_rest=case.at_rest, settled=settled, **options)
    assert seen.did == case.row
    # A thread that still reads the file that was moved aside finds an older mark there, and what it reads is dropped.
    assert seen.reasons - {"rewound"} == case.reasons


async def test_no_folder(tmp_path: Path) -> None:
    """A file that cannot be created."""
    (tmp_path / "file").write_text("no folder")
    url = f"sqlite:///{tmp_path}/file/cache.db"
    seen = await outcomes(url, AWAY, lambda cells: contextlib.nullcontext(), heals=False)
    assert seen.did == AWAY
    assert seen.reasons == {"unavailable"}
