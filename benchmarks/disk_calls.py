"""What reads and writes in a file cost, by 1, 16, 64 and 256 tasks at once. `python -m benchmarks disk_calls`

Requests of 3 KB are drawn by Zipf's law from 1,000; a file of SQLite on the disk of temporary files.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import interleaved
from benchmarks.running.work import ANSWER, at_once, chat_request, opened, packages, with_part, zipf

REQUESTS: Final = 1000
TASKS: Final = (1, 16, 64, 256)
READS: Final = 512
WRITES: Final = 256
BASE: Final = "diskcache, blocking the loop"


async def measure() -> list[Table]:
    requests = [chat_request(number) for number in range(REQUESTS)]
    drawn = zipf(REQUESTS, READS)
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            stores = {
                peer.name: await stack.enter_async_context(opened(opens, folder, requests))
                for peer, opens in with_part("disk")
            }
            for tasks in TASKS:
                turns = {
                    name: at_once(lambda number, store=store: store.get(requests[number]), lambda: drawn, tasks)  # type: ignore[misc]
                    for name, store in stores.items()
                }
                samples = await interleaved(turns, seconds=8)
                tables.append(of_samples(f"hit in a file, {tasks} at once", samples, BASE))
            for tasks in TASKS:
                turns = {
                    name: at_once(
                        lambda number, store=store: store.set(requests[number], ANSWER),  # type: ignore[misc]
                        lambda: range(WRITES),
                        tasks,
                    )
                    for name, store in stores.items()
                }
                samples = await interleaved(turns, seconds=8)
                tables.append(of_samples(f"write in a file, {tasks} at once", samples, BASE))
    return tables


QUESTION = Question("disk_calls", "The cost of reads and writes in a file", measure, packages("disk"))

if __name__ == "__main__":
    sys.exit(QUESTION.main())
