"""What reads and writes in a file cost, by 1, 16, 64 and 256 tasks at once and from a thread without an event loop.

`python -m benchmarks disk_calls`

Requests of 3 KB are drawn by Zipf's law from 1,000; a file of SQLite on the disk of temporary files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
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
            made = await tables(stores, requests, where="in a file", base=BASE, seconds=8)
        return [*made, *await from_a_thread(requests, folder)]


async def from_a_thread(requests: list[dict[str, Any]], folder: str) -> list[Table]:
    """Return the tables of hits and writes by code without an event loop."""
    drawn = zipf(len(requests), READS)
    os.makedirs(f"{folder}/sync")
    with ExitStack() as stack:
        stores = {peer.name: stack.enter_context(opens(f"{folder}/sync")) for peer, opens in with_part("disk_sync")}
        for store in stores.values():
            for request in requests:
                store.set(request, ANSWER)
            for request in requests[::37]:
                assert store.get(request) is not None
        found = []
        for word, numbers in (("hit", drawn), ("write", list(range(WRITES)))):
            turns = {name: _turn(store, requests, numbers, word) for name, store in stores.items()}
            samples = await interleaved(turns, seconds=8)
            found.append(of_samples(f"{word} in a file, without an event loop", samples, BASE))
    return found


def _turn(store: SyncStore, requests: list[dict[str, Any]], numbers: Sequence[int], word: str) -> Turn:
    async def turn() -> int:
        for number in numbers:
            if word == "hit":
                store.get(requests[number])
            else:
                store.set(requests[number], ANSWER)
        return len(numbers)

    return turn


QUESTION = Question("disk_calls", "The cost of reads and writes in a file", measure, packages("disk"))

if __name__ == "__main__":
    sys.exit(QUESTION.main())
