"""The cost of reads and writes on Redis, by 1, 16, 64 and 256 tasks at once. `python -m benchmarks redis_calls`

Requests of 3 KB are drawn by Zipf's law from 1,000; one server on loopback, a database for each contender.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.running.results import Question, Table
from benchmarks.running.store_calls import tables
from benchmarks.running.work import chat_request, opened, packages, server, with_part

REQUESTS: Final = 1000
BASE: Final = "redis-py, timeouts off"


async def measure() -> list[Table]:
    requests = [chat_request(number) for number in range(REQUESTS)]
    with server() as url:
        async with AsyncExitStack() as stack:
            stores = {
                peer.name: await stack.enter_async_context(
                    opened(opens, f"{url.removesuffix('/0')}/{database}", requests)
                )
                for database, (peer, opens) in enumerate(with_part("redis"), 1)
            }
            return await tables(stores, requests, where="on Redis", base=BASE, seconds=7)


QUESTION = Question("redis_calls", "The cost of reads and writes on Redis", measure, packages("redis"))

if __name__ == "__main__":
    sys.exit(QUESTION.main())
