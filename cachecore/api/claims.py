"""`claim`: the answer, or the right to compute it, for programs that have only a get and a put."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from cachecore.api.view import View
from cachecore.contract.options import Duration
from cachecore.contract.results import UNSET, Computed, Lookup, Unset
from cachecore.engine.scope import checked_tags
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


class Claims(View[V]):
    """The call that claims the computation of an answer."""

    __slots__ = ()

    def claim(self, request: Any, *, ttl: Duration | Unset | None = UNSET, tags: Sequence[str] = ()) -> Claim[V]:
        """Return the claim of a request, for `async with` or `await`.

            async with cache.claim(request) as claim:
                if claim.hit is not None:
                    return claim.hit.value
                answer = await compute()
                await claim.store(answer)

        Callers that ask for the request meanwhile, in this process or another, wait for the stored answer. A task that
        holds a claim never waits for another computation by taking a second claim: it gets the right at once. Inside
        the block its own request raises FlightCycleError.

        Args:
            request: the value that the answer depends on.
            ttl: how long the answer stays fresh, as for `get_or_set`; a `Computed` that is stored may say it too.
            tags: tags of the answer beside the cache's own.

        Raises:
            UnkeyableError: `request` has no canonical form.
        """
        self._refuse_closed("claim")
        return Claim(TwoPhase(self._scope, self._key_of(request), checked_tags(tags), self._checked(ttl)))
