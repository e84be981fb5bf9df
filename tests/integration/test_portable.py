"""The core works in an interpreter that cannot fork and has no POSIX file locks, as on Windows."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import os, sys
for name in ("fork", "forkpty", "register_at_fork"):
    delattr(os, name)
sys.modules["fcntl"] = None
"""
MODULES = """
import importlib, pkgutil
import cachecore
for module in pkgutil.walk_packages(cachecore.__path__, "cachecore."):
    importlib.import_module(module.name)
print("imported")
"""
CACHE = """
import asyncio
from cachecore import Cache

async def main():
    async with Cache("memory://", ttl=60, stale_while_revalidate=60) as cache:
        @cache.cached
        async def ask(q):
            return q.upper()

        assert await ask("a") == await ask("a") == "A"
        assert (await cache.lookup("b")).outcome == "miss"
        await cache.set_many({"b": 1, "c": 2}, tags=["t"])
        assert await cache.get_many(["b", "c"]) == {"b": 1, "c": 2}
        await cache.invalidate_tags("t")
        assert await cache.get_or_set("b", compute) == 3
        assert await cache.delete("b") is True
        assert cache.peek("b") is None

async def compute():
    return 3

asyncio.run(main())
print("asked")
"""
SYNC_CACHE = """
import threading
from cachecore import SyncCache

with SyncCache("memory://", ttl=60) as cache:
    @cache.cached
    def ask(q):
        return q.upper()

    threads = [threading.Thread(target=ask, args=("a",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ask("a") == "A"
    assert cache.stats.factory_calls == 1
    assert cache.get_or_set("b", lambda: 1) == cache.get("b") == 1
    cache.invalidate_all()
    assert cache.get("b") is None
print("asked")
"""
PENDING = """
from cachecore import Cache, OptionsError
try:
    Cache("memory://", ttl=60, pending_path="pending")
except OptionsError as error:
    print("asked" if "pending_path" in str(error) else error)
"""


@pytest.mark.parametrize(
    ("program", "says"),
    [(MODULES, "imported"), (CACHE, "asked"), (SYNC_CACHE, "asked"), (PENDING, "asked")],
    ids=["every-module", "Cache", "SyncCache", "pending_path-is-refused"],
)
def test_the_core_without_fork(program: str, says: str) -> None:
    """Each module imports and both caches answer; the one option that needs file locks is refused while building."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT + program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, says, "")
