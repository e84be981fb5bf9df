"""A few threads that run functions for an event loop: for functions of an application, which may be slow or hang.

They are none of the loop's own threads, in which names of providers are looked up, and none that a process waits for
when it ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from cachecore.contract.forks import in_child

T = TypeVar("T")

IDLE: Final = 60.0
"""Seconds after which a thread without work ends."""


class Threads:
    """Runs functions in at most `most` daemon threads, which begin as they are needed. From any thread and loop."""

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._crew = _Crew()
        in_child(self._begin_anew)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of `function`, called in a thread with the context of the caller.

        Cancelled, a call that has not begun never begins. Raises what `function` raises, a StopIteration as the cause
        of a RuntimeError; and RuntimeError if the machine has no thread left.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = context.run(function, *arguments)
            except BaseException as raised:  # noqa: BLE001 - raised again where the result is awaited
                error = raised

            def tell() -> None:
                if future.done():
                    return
                if error is None:
                    future.set_result(result)
                elif isinstance(error, StopIteration):  # no future takes it
                    future.set_exception(_caused_by(error))
                else:
                    future.set_exception(error)

            with suppress(RuntimeError):  # the loop is closed: its caller is gone
                loop.call_soon_threadsafe(tell)

        crew = self._crew
        crew.put(work, self._name, self._most)
        try:
            return await future
        finally:
            if future.cancelled():
                crew.drop(work)

    def _begin_anew(self) -> None:
        """In a forked child, which has the waiting work of its parent, but no thread."""
        self._crew = _Crew()


class _Crew:
    """The threads of one process, and the work that waits for them, the oldest first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Callable[[], None], None] = OrderedDict()  # guarded by _changed
        self._threads = 0  # guarded by _changed
        self._idle = 0  # of the threads; guarded by _changed

    def put(self, work: Callable[[], None], name: str, most: int) -> None:
        """Have `work` done. Raises RuntimeError if there is no thread and none can begin."""
        with self._changed:
            self._waiting[work] = None
            if self._idle >= len(self._waiting) or self._threads == most:
                self._changed.notify()
                return
            try:
                threading.Thread(target=self._serve, name=name, daemon=True).start()
            except RuntimeError:
                if not self._threads:
                    del self._waiting[work]
                    raise
            else:
                self._threads += 1

    def drop(self, work: Callable[[], None]) -> None:
        """Forget `work` if it has not begun."""
        with self._changed:
            self._waiting.pop(work, None)

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work  # what it holds must not wait for the next

    def _next(self) -> Callable[[], None] | None:
        """Return the next work; None if there is none for so long that the thread ends."""
        with self._changed:
            self._idle += 1
            found = self._changed.wait_for(lambda: self._waiting, IDLE)
            self._idle -= 1
            if not found:
                self._threads -= 1
                return None
            return self._waiting.popitem(last=False)[0]


def _caused_by(error: StopIteration) -> RuntimeError:
    made = RuntimeError("a function raised StopIteration")
    made.__cause__ = error
    return made
