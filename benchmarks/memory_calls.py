"""The cost of a hit and a write in memory, given a request of 3 KB. `python -m benchmarks memory_calls`"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import interleaved
from benchmarks.running.store_calls import reads, writes
from benchmarks.running.work import chat_request, opened, packages, with_part, zipf

REQUESTS: Final = 10_000
READS: Final = 2000
WRITES: Final = 500


async def measure() -> list[Table]:
    requests = [chat_request(number) for number in range(REQUESTS)]
    drawn = zipf(REQUESTS, READS)
    async with AsyncExitStack() as stack:
        stores = {
            peer.name: await stack.enter_async_context(opened(opens, "", requests))
            for peer, opens in with_part("memory")
        }
        hits = {name: reads(store, requests, drawn) for name, store in stores.items()}
        sets = {name: writes(store, requests, drawn[:WRITES]) for name, store in stores.items()}
        return [
            of_samples("hit, one reader", await interleaved(hits, seconds=15), "a plain dict"),
            of_samples("write, one by one", await interleaved(sets, seconds=15), "a plain dict"),
        ]


QUESTION = Question("memory_calls", "The cost of reads and writes in memory", measure, packages("memory"))

if __name__ == "__main__":
    sys.exit(QUESTION.main())
