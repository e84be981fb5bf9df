"""A future that says at once that it is done.

An asyncio future calls back in the next turn of the loop, which is right for callbacks that run code of a caller. A
read of the store passes three functions on its way up that only pass it on; there a turn each is most of their cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class InlineFuture(asyncio.Future[T]):
    """A future with callbacks that run within `set_result`, `set_exception` or `cancel`.

    A backend may return it for a call; it is awaited like any future. The callback must be quick.
    """

    _at_end: Callable[[InlineFuture[T]], object] | None = None

    def at_end(self, callback: Callable[[InlineFuture[T]], object]) -> None:
        """Call `callback` with this future the moment it is done; now, if it is."""
        before = self._at_end
        if before is not None:
            self._at_end = lambda done: (before(done), callback(done))
        else:
            self._at_end = callback
        if self.done():
            self._end()

    def set_result(self, result: T, /) -> None:
        """Be done with `result`."""
        super().set_result(result)
        self._end()

    def set_exception(self, exception: type | BaseException, /) -> None:
        """Be done with `exception`."""
        super().set_exception(exception)
        self._end()

    def cancel(self, msg: Any | None = None) -> bool:
        """Be done without an outcome; return whether that was to do."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._end()
        return cancelled

    def _end(self) -> None:
        callback, self._at_end = self._at_end, None
        if callback is None:
            return
        try:
            callback(self)
        except Exception as error:  # noqa: BLE001 - as a loop does: the giver of the result has others to give
            message = "the callback of a future raised"
            self.get_loop().call_exception_handler({"message": message, "exception": error, "future": self})
