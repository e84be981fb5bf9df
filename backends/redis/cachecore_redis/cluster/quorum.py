"""Asking several nodes of a cluster: which ones, and which of their answers counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from cachecore.contract import BackendError
from cachecore_redis.cluster.topology import SlotMap, most_common
from cachecore_redis.wire.address import Address

_FAN_OUT: Final = 6
"""Nodes asked at once."""
_GRACE: Final = 0.05
"""Seconds that the other nodes have after the first answer."""
_HEDGE: Final = 0.01
"""Seconds until the next node is asked as well."""

T = TypeVar("T")


class Candidates:
    """Chooses nodes to ask. Any number of them may be dead: nodes that are left out are asked the next time."""

    def __init__(self) -> None:
        self._turn = 0

    def next(self, known: Sequence[Address], others: Sequence[Address]) -> list[Address]:
        """Return at most six addresses: some of the known primaries, and of all others the next ones in turn."""
        first = list(known[: _FAN_OUT - 2])
        rest = [address for address in dict.fromkeys(others) if address not in first]
        begin = self._turn % len(rest) if rest else 0
        chosen = [*rest[begin:], *rest[:begin]][: _FAN_OUT - len(first)]
        self._turn = begin + len(chosen)
        return [*first, *chosen]


async def majority(
    candidates: Sequence[Address], ask: Callable[[Address], Awaitable[SlotMap | None]]
) -> SlotMap | None:
    """Return the most common slot map among the answers that come in time; None if there are none."""
    tasks = [asyncio.ensure_future(ask(address)) for address in candidates]
    answers: list[SlotMap] = []
    waiting: set[asyncio.Future[SlotMap | None]] = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=_GRACE if answers else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            answers += [answer for task in done if (answer := task.result()) is not None]
    finally:
        for task in tasks:
            task.cancel()
    return most_common(answers) if answers else None


async def first_answer(asks: Sequence[Callable[[], Awaitable[T]]]) -> T:
    """Return the first answer to one of `asks`; of answers that are equally quick, the one that was asked first.

    The next is asked once the one before has failed, or has not answered for 10 ms. Raises the `BackendError` of the
    last failure if all fail.
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
                assert failed is not None, "there was no node to ask"  # noqa: S101 - a caller's bug, no state
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
