"""Asking several nodes of a cluster: whom, and which of the answers counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from cachecore.contract.errors import BackendError
from cachecore_redis.cluster.topology import Ranges, agreed
from cachecore_redis.wire.address import Address

_ASKED: Final = 6
"""Nodes asked at once."""
_GRACE: Final = 0.05
"""Seconds that the others of them have after the first answer."""
_HEDGE: Final = 0.01
"""Seconds that one node has before the next is asked as well."""

T = TypeVar("T")


class Candidates:
    """Whom to ask next. Any number of the nodes named may be dead: those not asked this time are asked the next."""

    def __init__(self) -> None:
        self._turn = 0

    def next(self, known: Sequence[Address], others: Sequence[Address]) -> list[Address]:
        """Return at most six: known primaries, and of all others those whose turn it is."""
        first = list(known[: _ASKED - 2])
        rest = [address for address in dict.fromkeys(others) if address not in first]
        begin = self._turn % len(rest) if rest else 0
        taken = [*rest[begin:], *rest[:begin]][: _ASKED - len(first)]
        self._turn = begin + len(taken)
        return [*first, *taken]


async def majority(candidates: Sequence[Address], ask: Callable[[Address], Awaitable[Ranges | None]]) -> Ranges | None:
    """Return the order that most of those say who answer in time; None if nobody does."""
    asked = [asyncio.ensure_future(ask(address)) for address in candidates]
    answers: list[Ranges] = []
    waiting: set[asyncio.Future[Ranges | None]] = set(asked)
    try:
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=_GRACE if answers else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            answers += [answer for task in done if (answer := task.result()) is not None]
    finally:
        for task in asked:
            task.cancel()
    return agreed(answers) if answers else None


async def first_answer(asks: Sequence[Callable[[], Awaitable[T]]]) -> T:
    """Return the answer of the first of `asks` that has one, in their order where they are equally quick.

    The next is asked once the one before has failed, or has not answered for 10 ms. Raises the `BackendError` of the
    last one that failed if all did.
    """
    waiting: set[asyncio.Future[T]] = set()
    ahead = iter(asks)
    failed: BackendError | None = None
    try:
        while True:
            ask = next(ahead, None)
            if ask is not None:
                waiting.add(asyncio.ensure_future(ask()))
            elif not waiting:
                assert failed is not None, "nobody was asked"  # noqa: S101 - a caller's bug, no state
                raise failed
            done, waiting = await asyncio.wait(
                waiting, timeout=None if ask is None else _HEDGE, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                try:
                    return task.result()
                except BackendError as error:
                    failed = error
    finally:
        for task in waiting:
            task.cancel()
