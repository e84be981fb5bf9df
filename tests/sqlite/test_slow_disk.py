"""A disk that takes long for each sync: making a file and the first answer do not wait for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = shutil.which("cc")

# Loaded before libc, so that SQLite's own calls take as long as those of a busy disk.
SLOW = """
#include <time.h>
#include <unistd.h>
static int wait_for_disk(void) {
    struct timespec pause = {0, 150 * 1000 * 1000};
    write(2, "s", 1);
    return nanosleep(&pause, 0) && 0;
}
int fsync(int file) { return wait_for_disk(); }
int fdatasync(int file) { return wait_for_disk(); }
"""

FIRST = """
import sys
from concurrent.futures import ThreadPoolExecutor
from cachecore import SyncCache
with SyncCache(sys.argv[1], ttl=60) as cache:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda row: cache.get_or_set((sys.argv[2], row % 8), lambda: "answer"), range(32)))
    print(cache.stats.stored, cache.stats.not_stored, cache.stats.backend_errors)
    print("end", file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes syncs slow and writes a letter for each."""
    if COMPILER is None or sys.platform != "linux":
        pytest.skip("a slow disk needs a C compiler, and Linux's LD_PRELOAD")
    folder = tmp_path_factory.mktemp("slow")
    (folder / "slow.c").write_text(SLOW)
    subprocess.run([COMPILER, "-shared", "-fPIC", "-w", "-o", folder / "slow.so", folder / "slow.c"], check=True)
    return folder / "slow.so"


def test_answers_are_stored_and_nobody_waits_for_a_sync(slow: Path, tmp_path: Path) -> None:
    """SQLite would sync nine times while it makes the file, and twice at the first write, which timed out then.

    The test counts the syncs before the process ends: there is none, so that no deadline matters.
    """
    for questions in ("of a new file", "of a known file"):
        ran = subprocess.run(
            [sys.executable, "-c", FIRST, f"sqlite:///{tmp_path}/cache.db", questions],
            env={**os.environ, "LD_PRELOAD": str(slow)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stderr.startswith("end\n")
        assert ran.stdout.strip() == "8 {} {}"
