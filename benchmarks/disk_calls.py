"""What reads and writes in a file cost, by 1, 16, 64 and 256 tasks at once. `python -m benchmarks disk_calls`

Requests of 3 KB are drawn by Zipf's law from 1,000; a file of SQLite on the disk of temporary files.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.running.results import Question, Table
from benchmarks.running.store_calls import tables
from benchmarks.running.work import chat_request, opened, packages, with_part

REQUESTS: Final = 1000
BASE: Final = "diskcache, blocking the loop"


async def measure() -> list[Table]:
    requests = [chat_request(number) for number in range(REQUESTS)]
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            stores = {
                peer.name: await stack.enter_async_context(opened(opens, folder, requests))
                for peer, opens in with_part("disk")
            }
            return await tables(stores, requests, where="in a file", base=BASE, seconds=8)


QUESTION = Question("disk_calls", "The cost of reads and writes in a file", measure, packages("disk"))

if __name__ == "__main__":
    sys.exit(QUESTION.main())
