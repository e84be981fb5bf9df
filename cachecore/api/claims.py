"""`claim`: the answer, or the right to compute it, for programs that have only a get and a put."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from cachecore.contract.results import Computed, Lookup
from cachecore.engine.two_phase import TwoPhase

V = TypeVar("V")


class Held(Generic[V]):
    """The state of a claim, the same in both faces."""

    def __init__(self, claim: TwoPhase) -> None:
        self._claim = claim

    @property
    def key(self) -> str:
        """The key of the request."""
        return self._claim.key

    @property
    def hit(self) -> Lookup[V] | None:
        """The answer and where it came from, if there is one; None: it is to be computed here, and stored."""
        return self._claim.hit

    @property
    def held(self) -> bool:
        """Whether the right to compute is still this claim's: it was not stored, released, or held for too long."""
        return self._claim.held


class Claim(Held[V]):
    """The answer to a request, or the right to compute it; made by `Cache.claim`.

    It ends with `store`, with `release` or leaving the block, with the task that took it, or after `claim_timeout`.
    """

    async def _taken(self) -> Self:
        await self._claim.acquire(asyncio.current_task())
        self._claim.enter()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._taken().__await__()

    async def __aenter__(self) -> Self:
        return await self._taken()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    async def store(self, value: V | Computed[V]) -> bool:
        """Store the answer and hand it to all waiting callers; return whether it was stored.

        A claim that has ended, or whose request was written or invalidated meanwhile, stores nothing. Never raises
        because the store is sick.
        """
        return await self._claim.store(value)

    async def release(self) -> None:
        """Give the right back without an answer: waiting callers go on at once. Does nothing if the claim has ended."""
        await self._claim.release()

    def end(self) -> None:
        """Give the right back without waiting until that is done: for code that cannot await, in any thread."""
        self._claim.leave()
        self._claim.end_from_anywhere()
