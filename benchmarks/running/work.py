"""Ordinary work: chat requests of 3 KB, answers of 1.7 KB, and which of them are asked for."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from benchmarks import peers
from benchmarks.peers.interface import Opens, Peer, Store
from benchmarks.running.rounds import Turn
from cachecore.testing import servers

ANSWER: Final[dict[str, Any]] = {
    "content": "You can order a new card in the app, under Cards, and it arrives within five working days. " * 17,
    "model": "gpt-4o-mini",
    "usage": {"prompt_tokens": 812, "completion_tokens": 356},
    "finish_reason": "stop",
}
SYSTEM: Final = "You answer questions about banking, briefly and in the customer's language. " * 12
QUESTION_TEXT: Final = "My card payment was declined twice although there is money on the account. " * 27


def chat_request(number: int) -> dict[str, Any]:
    """Return the chat request of a number: two messages, 3 KB."""
    return {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"{number}: {QUESTION_TEXT}"},
        ],
        "temperature": 0.2,
        "max_tokens": 512,
    }


def zipf(distinct: int, count: int) -> list[int]:
    """Return `count` numbers below `distinct` by Zipf's law (exponent 1), the same ones each time."""
    return random.Random(1).choices(range(distinct), [1 / (rank + 1) for rank in range(distinct)], k=count)


def with_part(part: str) -> Iterator[tuple[Peer, Any]]:
    """Yield the peers that can do `part`, with it."""
    for peer in peers.found():
        can = getattr(peer, part)
        if can is not None:
            yield peer, can


def packages(part: str) -> list[str]:
    """Return the distributions of the peers that can do `part`."""
    return sorted({peer.package for peer, _ in with_part(part)})


@contextmanager
def server() -> Iterator[str]:
    """Run a server for the length of a block; yield its URL."""
    installed = servers.installed()
    with servers.Server(installed[max(installed)]) as running:
        yield running.url


@asynccontextmanager
async def opened(opens: Opens, place: str, requests: Sequence[dict[str, Any]]) -> AsyncIterator[Store]:
    """Open a store that has the answers to `requests`."""
    async with opens(place) as store:
        for request in requests:
            await store.set(request, ANSWER)
        for request in requests[::37]:  # what does not hold them all is compared with nothing
            assert await store.get(request) is not None
        yield store


def at_once(call: Callable[[int], Awaitable[object]], numbers: Sequence[int], tasks: int) -> Turn:
    """Return a turn in which `tasks` tasks call for all of `numbers`."""
    import asyncio

    async def turn() -> int:
        left = iter(numbers)

        async def work() -> None:
            for number in left:
                await call(number)

        await asyncio.gather(*(work() for _ in range(tasks)))
        return len(numbers)

    return turn
