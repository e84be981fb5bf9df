"""The memory of one answer of 1.7 KB in this process. `python -m benchmarks entry_memory`

Each contender is filled in a process of its own with different answers; what counts is how much the process grew, by
what the system says (RSS), for each entry beyond the text of the answer.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from benchmarks.running.work import packages, with_part

ENTRIES: Final = 20_000
"""As many as the peers are told to hold."""
VALUE_BYTES: Final = 1660


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def answer(number: int) -> dict[str, Any]:
    return {"content": f"{number:08d}".ljust(VALUE_BYTES - 40, "."), "finish_reason": "stop"}


async def fill(name: str, entries: int) -> None:
    opens = {peer.name: opens for peer, opens in with_part("memory")}[name]
    async with opens("") as store:
        for number in range(100):
            await store.set({"model": "m", "messages": f"warm {number}"}, answer(number))
        gc.collect()
        before = resident()
        for number in range(entries):
            await store.set({"model": "m", "messages": f"question {number:08d}"}, answer(number))
        gc.collect()
        assert await store.get({"model": "m", "messages": "question 00000000"}) is not None
        print((resident() - before) / entries, flush=True)


async def measure() -> list[Table]:
    entries = int(ENTRIES * min(1.0, max(scale(), 0.25)))
    rows = {}
    for peer, _ in with_part("memory"):
        command = [sys.executable, "-m", "benchmarks.entry_memory", peer.name, str(entries)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
        grown = float(done.stdout.split()[-1])
        rows[peer.name] = {"bytes beyond the value": round(grown - VALUE_BYTES), "bytes": round(grown)}
    return [Table(f"{entries:,} answers of {VALUE_BYTES:,} bytes", "bytes beyond the value", rows)]


QUESTION = Question("entry_memory", "The memory of an entry", measure, packages("memory"), timed=False)

if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(fill(sys.argv[1], int(sys.argv[2])))
        sys.exit(0)
    sys.exit(QUESTION.main())
