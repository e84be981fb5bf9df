"""The cost of a hit on `memory://`, beside the work that it cannot do without, and a hit on an old copy.

    python -m benchmarks memory_hits

The floor is the work of any cache that keeps bytes under a digest: pack the request, SHA-256, unpack the answer.
Requests are chat messages of 3 KB, drawn by Zipf's law from 10,000. A copy older than `l1_max_age` must be confirmed by
the store; each of these copies is 1.6 s old.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import Any, Final

import cashews
import ormsgpack

from benchmarks.peers.interface import text_key
from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import Turn, interleaved, repeated
from benchmarks.running.work import ANSWER, at_once, chat_request, zipf
from cachecore import Cache

REQUESTS: Final = 10_000
READS: Final = 2000
OLD: Final = 500
AGE: Final = 1.6
FLOOR: Final = "floor: pack, sha256, unpack"


def floor(requests: list[dict[str, Any]], numbers: list[int]) -> Turn:
    """Return reads from a dict of packed answers under digests of packed requests."""
    packed: Any = ormsgpack.packb(ANSWER)

    def digest(request: dict[str, Any]) -> bytes:
        return hashlib.sha256(ormsgpack.packb(request, option=ormsgpack.OPT_SORT_KEYS)).digest()

    kept = {digest(request): packed for request in requests}

    async def turn() -> int:
        for number in numbers:
            ormsgpack.unpackb(kept[digest(requests[number])])
        return len(numbers)

    return turn


async def hits() -> Table:
    requests, drawn = [chat_request(number) for number in range(REQUESTS)], zipf(REQUESTS, READS)
    other = cashews.Cache()
    other.setup(f"mem://?size={2 * REQUESTS}")

    async def never() -> Any:
        raise AssertionError("every answer is there")

    async with Cache[Any]("memory://", ttl=3600, l1_max_age=3600) as cache:
        for request in requests:
            await cache.set(request, ANSWER)
            await other.set(text_key(request), ANSWER, expire=3600)
        key = cache.key(requests[0])
        turns: dict[str, Turn] = {
            FLOOR: floor(requests, drawn),
            "cachecore get_or_set": at_once(lambda n: cache.get_or_set(requests[n], never), drawn, 1),
            "cachecore get": at_once(lambda n: cache.get(requests[n]), drawn, 1),
            "cachecore peek, with a ready key": repeated(lambda: cache.peek(key=key), READS),
            "cachecore key": repeated(lambda: cache.key(requests[0]), READS),
            "cashews get, json and sha256": at_once(lambda n: other.get(text_key(requests[n])), drawn, 1),
        }
        return of_samples("a hit in memory, chat requests", await interleaved(turns, seconds=15), FLOOR)


async def old_copies() -> Table:
    """Return what a hit costs on a copy that must be confirmed by the store, on one that must not, and without one.

    A write leaves no copy of its own: the first read of an answer makes one.
    """
    requests = [chat_request(number) for number in range(OLD)]
    async with Cache[Any]("memory://", ttl=3600) as cache:

        async def write() -> None:
            for request in requests:
                await cache.set(request, ANSWER)

        async def read(number: int) -> None:
            assert await cache.get(requests[number]) is not None

        async def copy() -> None:
            await write()
            for number in range(OLD):
                await read(number)

        async def grow_old() -> None:
            await copy()
            await asyncio.sleep(AGE)

        old, fresh = f"cachecore get, a copy {AGE:g} s old", "cachecore get, a fresh copy"
        first = "cachecore get, the first after a write"
        turns = {name: at_once(read, range(OLD), 1) for name in (old, fresh, first)}
        samples = await interleaved(turns, seconds=12, before={old: grow_old, fresh: copy, first: write})
        return of_samples("a hit on memory://, by the age of the copy", samples, fresh)


async def measure() -> list[Table]:
    return [await hits(), await old_copies()]


QUESTION = Question("memory_hits", "The cost of a hit in memory, beside its floor", measure, ["ormsgpack", "cashews"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
