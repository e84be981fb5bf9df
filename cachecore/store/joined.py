"""Several calls to the backend that begin together and are one call of the guard: one place, deadline and outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cachecore.contract.errors import BackendError
from cachecore.contract.futures import InlineFuture

Calls = Sequence[Callable[[], Awaitable[Any]]]
"""Functions that begin a call each."""
Spared = Callable[[int, BackendError], bool]
"""Given the number of a call and its error: whether the error is handed on as the outcome of that call alone."""


class Joined(InlineFuture[list[Any]]):
    """The results of calls under way, in their order; the first error that is not spared, once all have ended."""

    def __init__(self, calls: Sequence[asyncio.Future[Any]], spared: Spared) -> None:
        super().__init__(loop=calls[0].get_loop())
        self._calls = calls
        self._spared = spared
        self._left = len(calls)
        for call in calls:
            if isinstance(call, InlineFuture):
                call.at_end(self._ended)
            else:
                call.add_done_callback(self._ended)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the calls; cancelled itself once all of them have ended. Return whether one was still under way."""
        cancelled = [call.cancel(msg) for call in self._calls]
        return any(cancelled)

    def _ended(self, _: asyncio.Future[Any]) -> None:
        self._left -= 1
        if self._left:
            return
        outcomes: list[Any] = []
        failure: BaseException | None = None
        for number, call in enumerate(self._calls):
            error = asyncio.CancelledError() if call.cancelled() else call.exception()
            if error is None:
                outcomes.append(call.result())
            elif isinstance(error, BackendError) and self._spared(number, error):
                outcomes.append(error)
            else:
                failure = failure or error
        if failure is None:
            self.set_result(outcomes)
        elif isinstance(failure, asyncio.CancelledError):
            super().cancel()
        else:
            self.set_exception(failure)


def joined(calls: Calls, spared: Spared) -> Joined:
    """Begin `calls` in this turn, in their order. Raises what the first raises; what another raises is its outcome."""
    begun: list[asyncio.Future[Any]] = [asyncio.ensure_future(calls[0]())]
    for call in calls[1:]:
        try:
            begun.append(asyncio.ensure_future(call()))
        except Exception as error:  # noqa: BLE001 - the first is under way, and its outcome is waited for
            failed: InlineFuture[Any] = InlineFuture(loop=begun[0].get_loop())
            failed.set_exception(error)
            begun.append(failed)
    return Joined(begun, spared)
