"""What reads and writes on Redis cost, by 1, 16, 64 and 256 tasks at once. `python -m benchmarks redis_calls`

Requests of 3 KB are drawn by Zipf's law from 1,000; one server on loopback, a database for each contender.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import interleaved
from benchmarks.running.work import ANSWER, at_once, chat_request, opened, packages, server, with_part, zipf

REQUESTS: Final = 1000
TASKS: Final = (1, 16, 64, 256)
READS: Final = 512
WRITES: Final = 256
BASE: Final = "redis-py, timeouts off"


async def measure() -> list[Table]:
    requests = [chat_request(number) for number in range(REQUESTS)]
    drawn = zipf(REQUESTS, READS)
    tables = []
    with server() as url:
        async with AsyncExitStack() as stack:
            stores = {
                peer.name: await stack.enter_async_context(
                    opened(opens, f"{url.removesuffix('/0')}/{database}", requests)
                )
                for database, (peer, opens) in enumerate(with_part("redis"), 1)
            }
            for tasks in TASKS:
                turns = {
                    name: at_once(lambda number, store=store: store.get(requests[number]), lambda: drawn, tasks)  # type: ignore[misc]
                    for name, store in stores.items()
                }
                samples = await interleaved(turns, seconds=10)
                tables.append(of_samples(f"hit on Redis, {tasks} at once", samples, BASE))
            for tasks in TASKS:
                turns = {
                    name: at_once(
                        lambda number, store=store: store.set(requests[number], ANSWER),  # type: ignore[misc]
                        lambda: range(WRITES),
                        tasks,
                    )
                    for name, store in stores.items()
                }
                samples = await interleaved(turns, seconds=10)
                tables.append(of_samples(f"write on Redis, {tasks} at once", samples, BASE))
    return tables


QUESTION = Question("redis_calls", "The cost of reads and writes on Redis", measure, packages("redis"))

if __name__ == "__main__":
    sys.exit(QUESTION.main())
