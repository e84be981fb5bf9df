"""A future that says at once that it is done, and a coroutine that goes on at once when such a future is done.

An asyncio future calls back in the next turn of the loop, which is right for callbacks that run code of a caller. A
read of the store passes three functions on its way up that only pass it on; there a turn each is most of their cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

# Not by `super()`, which costs as much as they do.
_set_result = asyncio.Future.set_result
_set_exception = asyncio.Future.set_exception


def _turn_is_over(future: asyncio.Future[None]) -> None:
    if not future.done():  # cancelled, by an interruption
        future.set_result(None)


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
        _set_result(self, result)
        if self._at_end is not None:
            self._end()

    def set_exception(self, exception: type | BaseException, /) -> None:
        """Be done with `exception`."""
        _set_exception(self, exception)
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


class InlineRun(InlineFuture[T]):
    """A coroutine under way, and the future of its result: a task that begins and goes on without turns of the loop.

    It begins at once, and goes on within the call that ends the future it waits for, if that is an `InlineFuture`; any
    other future is waited for as a task does. So it must be quick between two futures, as a callback must be. It is no
    task: what it awaits must not ask for the current one.
    """

    def __init__(self, work: Coroutine[Any, Any, T], *, context: Context | None = None) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._work = work
        self._context = context or copy_context()
        self._awaited: asyncio.Future[Any] | None = None
        self._error: BaseException | None = None
        """What interrupts it, while the future that it waits for ends."""

    def begin(self) -> None:
        """Run up to the first future that is not done. To be called once."""
        self._step(None)

    def interrupt(self, error: BaseException) -> None:
        """Cancel the future that the coroutine waits for, as a task does, and raise `error` there once it has ended."""
        if self._awaited is not None:
            if not isinstance(self._error, asyncio.CancelledError):  # as in a task, no deadline undoes that
                self._error = error
            self._awaited.cancel()

    def cancel(self, msg: Any | None = None) -> bool:
        """As `interrupt`, with CancelledError; return whether the coroutine waited."""
        if self._awaited is None:
            return False
        self.interrupt(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))
        return True

    def _goes_on(self, future: asyncio.Future[Any]) -> None:
        error, self._error = self._error, None
        if error is not None and not future.cancelled():
            future.exception()  # marks it as retrieved: `error` takes its place
        self._step(error)

    def _step(self, error: BaseException | None) -> None:
        self._awaited = None
        work, run = self._work, self._context.run
        try:
            awaited = run(work.send, None) if error is None else run(work.throw, error)
        except StopIteration as ended:
            self.set_result(ended.value)
        except asyncio.CancelledError:
            super().cancel()
        except (KeyboardInterrupt, SystemExit) as failure:
            self.set_exception(failure)
            raise
        except BaseException as failure:  # noqa: BLE001 - handed on to the waiting code, as a task does
            self.set_exception(failure)
        else:
            if awaited is None:  # `asyncio.sleep(0)`
                awaited = self.get_loop().create_future()
                self.get_loop().call_soon(_turn_is_over, awaited)
            awaited._asyncio_future_blocking = False  # noqa: SLF001 - the protocol between a future and its task
            self._awaited = awaited
            if isinstance(awaited, InlineFuture):
                awaited.at_end(self._goes_on)
            else:
                awaited.add_done_callback(self._goes_on)
