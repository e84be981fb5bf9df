"""The cost of reads and writes in a file, by 1, 16, 64 and 256 tasks at once. `python -m benchmarks disk_calls`

Requests of 3 KB are drawn by Zipf's law from 1,000; a file of SQLite on the disk of temporary files.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Final

from benchmarks.peers.interface import SyncStore
from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import Turn, interleaved
from benchmarks.running.store_calls import READS, WRITES, tables
from benchmarks.running.work import ANSWER, chat_request, opened, packages, with_part, zipf

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
            made = await tables(stores, requests, where="in a file", base=BASE, seconds=6)
        return [*made, *await plain_code(folder, requests)]


async def plain_code(folder: str, requests: list[dict[str, Any]]) -> list[Table]:
    """Return the tables of hits and writes without an event loop, one by one."""
    drawn = zipf(REQUESTS, READS)
    with ExitStack() as stack:
        stores = {peer.name: stack.enter_context(opens(folder)) for peer, opens in with_part("disk_sync")}
        for store in stores.values():
            for request in requests:
                store.set(request, ANSWER)
            assert all(store.get(request) is not None for request in requests[::37])

        def reading(store: SyncStore) -> Turn:
            async def turn() -> int:
                for number in drawn:
                    store.get(requests[number])
                return READS

            return turn

        def writing(store: SyncStore) -> Turn:
            async def turn() -> int:
                for request in requests[:WRITES]:
                    store.set(request, ANSWER)
                return WRITES

            return turn

        made = []
        for word, turn_of in (("hit", reading), ("write", writing)):
            samples = await interleaved({name: turn_of(store) for name, store in stores.items()}, seconds=6)
            made.append(of_samples(f"{word} in a file, plain code", samples, "diskcache"))
        return made


QUESTION = Question("disk_calls", "The cost of reads and writes in a file", measure, packages("disk"))

if __name__ == "__main__":
    sys.exit(QUESTION.main())
