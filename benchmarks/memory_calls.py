"""What a hit and a write cost in memory, given a request of 3 KB. `python -m benchmarks memory_calls`"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import interleaved
from benchmarks.running.work import ANSWER, at_once, chat_request, opened, packages, with_part, zipf

REQUESTS: Final = 10_000
READS: Final = 2000
WRITES: Final = 500


async def measure() -> list[Table]:
    requests = [chat_request(number) for number in range(REQUESTS)]
    reads, writes = {}, {}
    async with AsyncExitStack() as stack:
        for peer, opens in with_part("memory"):
            store = await stack.enter_async_context(opened(opens, "", requests))
            reads[peer.name] = at_once(lambda number, store=store: store.get(requests[number]), lambda: drawn, 1)  # type: ignore[misc]
            writes[peer.name] = at_once(
                lambda number, store=store: store.set(requests[number], ANSWER),  # type: ignore[misc]
                lambda: drawn[:WRITES],
                1,
            )
        drawn = zipf(REQUESTS, READS)
        return [
            of_samples("hit, one reader", await interleaved(reads, seconds=25), "a plain dict"),
            of_samples("write, one by one", await interleaved(writes, seconds=25), "a plain dict"),
        ]


QUESTION = Question("memory_calls", "The cost of reads and writes in memory", measure, packages("memory"))

if __name__ == "__main__":
    sys.exit(QUESTION.main())
