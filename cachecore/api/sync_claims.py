"""`claim` without an event loop."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self, TypeVar

from cachecore.api.claims import Held
from cachecore.api.loop_thread import LoopThread, in_event_loop
from cachecore.contract.results import Computed
from cachecore.engine.apart import apart
from cachecore.engine.two_phase import TwoPhase

V = TypeVar("V")


class SyncClaim(Held[V]):
    """The answer to a request, or the right to compute it; see `cachecore.api.claims.Claim`.

    It ends with `store`, with `release` or leaving the block, with the thread that took it, or after `claim_timeout`.
    """

    def __init__(self, thread: LoopThread, claim: TwoPhase) -> None:
        super().__init__(claim)
        self._thread = thread
        with apart(in_event_loop()):
            taking = thread.submit(claim.acquire(threading.current_thread()))
        try:
            taking.result()
        except BaseException:  # Ctrl-C above all: a claim that the loop's thread takes later would have no holder
            taking.cancel()
            raise
        claim.enter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def store(self, value: V | Computed[V]) -> bool:
        """Store the answer and hand it to all waiting callers; return whether it was stored."""
        self._claim.leave()
        return self._thread.submit(self._claim.store(value)).result()

    def release(self) -> None:
        """Give the right back without an answer: waiting callers go on at once. Does nothing if the claim has ended."""
        self._claim.leave()
        self._thread.leave(self._claim.release())

    def end(self) -> None:
        """Give the right back; does nothing if the claim or its cache has ended."""
        if self.held:
            self.release()
