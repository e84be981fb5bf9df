"""Without `fork`, `fcntl` and other POSIX names, as on Windows, the package imports and a store works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import errno, os, sys
for name in ("fork", "forkpty", "register_at_fork", "pread", "pwrite", "geteuid", "O_NOFOLLOW", "O_NONBLOCK"):
    delattr(os, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
del errno.EDQUOT
"""
STORE = """
import asyncio, sqlite3
from cachecore.contract import Alive, Changed
from cachecore_sqlite import FileRefused, SQLiteBackend, SQLiteOptions

folder = sys.argv[1]
path = os.path.join(folder, "cache.db")

async def main():
    first, second = SQLiteBackend(path), SQLiteBackend(path, options=SQLiteOptions(durability="power"))
    await first.set_many({f"k{number}": b"%d" % number for number in range(300)}, ttl=60)
    assert await second.get_many(["k0", "k299", "absent"]) == [b"0", b"299", None]
    assert await second.swap("k0", b"0", b"new", ttl=None)
    assert not await first.swap("k0", b"0", b"newer", ttl=None)
    assert await first.delete_many(["k1", "absent"]) == 1
    assert await first.sizes(["k0", "k1"]) == [3, 0]
    assert len([key async for page in second.scan("k") for key in page]) == 299
    feed = first.feed("p:")
    while not isinstance(await anext(feed), Alive):
        pass
    await second.set_many({"p:told": b"v"}, ttl=60)
    while (event := await anext(feed)) != Changed(("p:told",)):
        assert isinstance(event, Alive), event
    await feed.aclose()
    await first.aclose()
    await second.aclose()
    assert sorted(os.listdir(folder)) == ["cache.db", "cache.db-reserve"], os.listdir(folder)
    again = SQLiteBackend(path)
    assert await again.get_many(["k0", "k1", "p:told"]) == [b"new", None, b"v"]
    await again.aclose()

    with open(path, "r+b") as file:  # damage: moved aside, and the next call has a new file
        file.seek(40_000)
        file.write(b"x" * 40_000)
        file.seek(100)
        file.write(b"x" * 3_000)
    damaged = SQLiteBackend(path)
    assert await damaged.get_many(["k0"]) == [None]
    await damaged.set_many({"k0": b"after"}, ttl=60)
    assert await damaged.get_many(["k0"]) == [b"after"]
    await damaged.aclose()
    assert [name for name in os.listdir(folder) if ".damaged-" in name]

    notes = os.path.join(folder, "notes")
    with open(notes, "wb") as file:
        file.write(b"notes of another program, longer than a page of a database\\r\\n" * 100)
    foreign = SQLiteBackend(notes)
    try:
        await foreign.get_many(["k"])
    except FileRefused as error:
        assert error.reason == "foreign"
    else:
        raise AssertionError("a foreign file was taken")
    await foreign.aclose()

    memory = SQLiteBackend(":memory:")
    await memory.set_many({"k": b"v"}, ttl=60)
    assert await memory.get_many(["k"]) == [b"v"]
    await memory.aclose()

asyncio.run(main())
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="removes names that are absent here already")
def test_a_store_works_without_posix(tmp_path: Path) -> None:
    """Guards against an import, or a call, of a name that other platforms do not have."""
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT + STORE, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.stdout == "done\n", ran.stderr
