"""A factory that runs in its caller's thread, for a call that runs on the loop of another."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from cachecore.api.loop_thread import LoopThread, in_event_loop
from cachecore.api.naming import name_of
from cachecore.contract.errors import OptionsError
from cachecore.engine.apart import apart
from cachecore.engine.factories import called
from cachecore.engine.flights.flight import current_flight

T = TypeVar("T")


def run_with_factory(
    thread: LoopThread, factory: Callable[..., Any], call: Callable[[Callable[..., Any]], Coroutine[Any, Any, T]]
) -> T:
    """Run `call` on the loop with a factory that runs here; return its result."""
    # Requests of the loop to this thread: a factory call to make, or None as the end.
    wanted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    answered = False  # read and written on the loop's thread only

    async def carried(*args: Any) -> Any:
        loop, flight = asyncio.get_running_loop(), current_flight()

        def work() -> Any:
            if flight is not None:  # the thread may have been busy until now
                with suppress(RuntimeError):  # the loop is gone
                    loop.call_soon_threadsafe(flight.restart_timer)
            return called(factory, *args)

        if answered:  # a refresh behind a stale answer: this thread has gone on with it
            try:
                refreshing = loop.run_in_executor(None, contextvars.copy_context().run, work)
            except RuntimeError:  # the program is ending and takes no more work: not a failure of the factory
                raise asyncio.CancelledError from None
            return await refreshing
        answer: asyncio.Future[Any] = loop.create_future()
        with apart(False):  # for calls that the factory itself makes
            context = contextvars.copy_context()

        def compute() -> None:
            value: Any = None
            failure: BaseException | None = None
            try:
                value = context.run(work)
            except BaseException as error:  # noqa: BLE001 - carried to where it is awaited; raised here below
                failure = error
            with suppress(RuntimeError):  # the loop is gone, and with it all that waited
                loop.call_soon_threadsafe(_settle, answer, value, failure)
            if failure is not None and not isinstance(failure, Exception):
                raise failure  # KeyboardInterrupt and SystemExit are this thread's first of all

        wanted.put(compute)
        return await answer

    carried.__wrapped__ = factory  # type: ignore[attr-defined]  # tells which function it is that computes

    def end(_: object) -> None:
        nonlocal answered
        answered = True
        wanted.put(None)

    with apart(in_event_loop()):
        running = thread.submit(call(carried))
    running.add_done_callback(end)
    try:
        while (compute := wanted.get()) is not None:
            compute()
    except BaseException:  # Ctrl-C above all: the call in the loop's thread ends with its caller
        running.cancel()
        raise
    return running.result()


def behind_in_a_thread(factory: Any) -> Callable[[], Coroutine[Any, Any, Any]] | None:
    """Return an async factory that runs `factory` in a thread of its own; no caller's thread is at hand for it.

    Raises OptionsError if it is no function, or async.
    """
    if factory is None:
        return None
    if not callable(factory):
        raise OptionsError(f"refresh_factory must be a function, not a {type(factory).__name__}")
    if inspect.iscoroutinefunction(factory):
        raise OptionsError(f"refresh_factory {name_of(factory)} is async: SyncCache takes functions that are not")

    async def carried() -> Any:
        return await asyncio.to_thread(called, factory)

    carried.__wrapped__ = factory  # type: ignore[attr-defined]  # as in `run_with_factory`
    return carried


def _settle(answer: asyncio.Future[Any], value: Any, failure: BaseException | None) -> None:
    if answer.done():
        return  # timed out or cancelled meanwhile
    if failure is None:
        answer.set_result(value)
    elif isinstance(failure, StopIteration):  # a future cannot hold one
        answer.set_exception(RuntimeError("the factory raised StopIteration"))
    elif isinstance(failure, Exception):
        answer.set_exception(failure)
    else:
        answer.cancel()  # the loop's thread must not end because a caller's did
