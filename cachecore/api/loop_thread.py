"""A thread with an event loop: calls of other threads are carried to it, and its thread ends in order."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import Any, TypeVar

from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.forks import in_child
from cachecore.engine.ending import closings

T = TypeVar("T")

_CLOSE_SECONDS = 5.0
_ROUNDS = 5
"""How often the tasks of a loop that ends are cancelled."""


class LoopThread:
    """A thread with an event loop, started at the first call, and again in a forked child and after `stop`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # the collector may run a finalizer, which submits, within it
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ident: int | None = None
        self._finalizer: weakref.finalize[[asyncio.AbstractEventLoop], LoopThread] | None = None
        self._exiting = False
        refuse_green_threads()
        _threads.add(self)
        in_child(self.after_fork)

    def submit(self, call: Coroutine[Any, Any, T], *, waits: bool = True) -> concurrent.futures.Future[T]:
        """Run `call` on the loop; the caller then `waits` for the result.

        Raises CacheError in the loop's own thread, which would wait for itself: the collector may run finalizers there.
        """
        if waits and get_ident() == self._ident:
            call.close()
            raise CacheError(
                "the cache was called in its own thread, by a finalizer that the collector ran there or by another "
                "callback, and would wait for itself: call it before the object is dropped"
            )
        with self._lock:
            if self._exiting:
                call.close()
                raise _too_late()
            loop = self._loop or self._started()
        context = contextvars.copy_context()
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def begin() -> None:
            # In a copy of the caller's context, as a task made in its own thread would be.
            task = loop.create_task(call, context=context)
            task.add_done_callback(lambda ended: _report(ended, done, exiting=self._exiting))
            done.add_done_callback(lambda asked: _cancel(loop, task) if asked.cancelled() else None)

        loop.call_soon_threadsafe(begin)
        return done

    def _started(self) -> asyncio.AbstractEventLoop:
        """Return the loop of a new thread, or of one that a finalizer has started meanwhile."""
        loop = asyncio.new_event_loop()
        # A daemon, so that a program that forgets to close it ends all the same; `atexit` closes it in order.
        thread = threading.Thread(target=_serve, args=(loop,), name="cachecore", daemon=True)
        thread.start()
        if self._loop is not None:
            _stop(loop)
            return self._loop
        self._loop, self._thread, self._ident = loop, thread, thread.ident
        self._finalizer = weakref.finalize(self, _stop, loop)
        self._finalizer.atexit = False
        return loop

    def leave(self, call: Coroutine[Any, Any, None]) -> None:
        """Run `call` on the loop and wait for its end, except in the loop's own thread, which would wait for itself.

        The collector may end a generator, with the stream or the claim that is open in it, in any thread.
        """
        running = self.submit(call, waits=False)
        if get_ident() != self._ident:
            running.result()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `last` on the loop, then end it and its thread."""
        with self._lock:
            started = self._loop is not None
        if started:
            try:
                self.submit(last()).result(_CLOSE_SECONDS)
            except concurrent.futures.TimeoutError:
                pass  # every part of closing is bounded by itself; a thread that hangs beyond that is left to the exit
        self.stop()

    def stop(self) -> None:
        """End the loop and the thread, in order."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
            self._ident = None
        if loop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_CLOSE_SECONDS)

    def after_fork(self) -> None:
        """Forget the parent's thread, which does not exist here."""
        self._lock = threading.RLock()
        self._loop = None
        self._thread = self._ident = None
        if self._finalizer is not None:
            self._finalizer.detach()


def in_event_loop() -> bool:
    """Return whether an event loop is running in this thread, asyncio's or trio's: it stands still while we wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        trio: Any = sys.modules.get("trio")
        return trio is not None and bool(trio.lowlevel.in_trio_run())
    return True


def refuse_green_threads() -> None:
    """Return if threads and sockets are the system's. Raises OptionsError if gevent or eventlet has patched them.

    Threads alone do not tell: with patched sockets, a loop in a thread of its own now and then never wakes up.
    """
    gevent: Any = sys.modules.get("gevent.monkey")
    eventlet: Any = sys.modules.get("eventlet.patcher")
    parts = ("thread", "socket", "select")
    library = None
    if gevent is not None and any(map(gevent.is_module_patched, parts)):
        library = "gevent"
    elif eventlet is not None and any(map(eventlet.is_monkey_patched, parts)):
        library = "eventlet"
    if library is not None:
        raise OptionsError(
            f"SyncCache runs an event loop in a thread of its own, and {library} has replaced threads or sockets by "
            f"its own, among which that loop stands still: run this code in a process without {library}'s patches "
            "(gunicorn: worker class gthread), or use Cache under asyncio"
        )


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_close_unused())
        _cancel_tasks(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        _cancel_tasks(loop)  # a cache dropped by another thread meanwhile has begun to close: no task stays unstarted
        loop.close()


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks of a loop that does not run, also those that begin meanwhile."""
    for _ in range(_ROUNDS):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    """End a loop of which no caller is left; its thread ends with it."""
    with contextlib.suppress(RuntimeError):  # it is closed
        loop.call_soon_threadsafe(loop.stop)


async def _close_unused() -> None:
    """Close the caches that were dropped together with this thread, within bounded time."""
    await asyncio.sleep(0)  # they begin to close within this turn
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await closings()


def _too_late() -> BaseException:
    """Return what a call raises once the interpreter ends.

    Besides the main thread only daemons are left then. They are about to be stopped anyway, and end without a
    traceback, as they do without a cache.
    """
    if threading.current_thread() is threading.main_thread():
        return CacheError("the cache is closed: the interpreter ends")
    return SystemExit()


def _report(ended: asyncio.Task[T], done: concurrent.futures.Future[T], *, exiting: bool) -> None:
    if done.cancelled() or not done.set_running_or_notify_cancel():
        if not ended.cancelled():
            ended.exception()  # marks it as retrieved
        return
    if ended.cancelled():
        # The main thread, which ends the interpreter, waits for no call: these are daemons, as in `_too_late`.
        done.set_exception(SystemExit() if exiting else concurrent.futures.CancelledError())
    elif (error := ended.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(ended.result())


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)


_threads: weakref.WeakSet[LoopThread] = weakref.WeakSet()


def _at_exit() -> None:
    for thread in list(_threads):
        thread._exiting = True  # noqa: SLF001 - of a class in this module
        thread.stop()


atexit.register(_at_exit)
