"""The end of a cache: closed, or no longer used; then its tasks and connections are closed in their event loops.

Tasks of an engine, such as the one that reads the feed, refer to it, so that it never becomes garbage while its loop
lives. Its views do not: they share an owner, and the owner's end is the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import warnings
import weakref
from contextvars import Context
from typing import Final

from cachecore.contract.errors import BackendError
from cachecore.contract.loop_local import LoopLocal, in_background
from cachecore.engine.engine import Engine


class Owner:
    """Referenced by all views of one cache, and by no task of its engine."""

    __slots__ = ("__weakref__", "outlived_by")

    def __init__(self) -> None:
        self.outlived_by: list[object] = []
        """What is kept until the cache has begun to close: the thread that it has for itself, if any."""


logger = logging.getLogger("cachecore")

_DRAIN_SECONDS: Final = 1.0
_dropped: Final = itertools.count(1)
"""Numbers the caches of this process that were dropped without being closed; safe to use from threads."""
_closing: Final[LoopLocal[set[asyncio.Task[None]]]] = LoopLocal()


async def close(engine: Engine) -> None:
    """Finish background work of this loop, within bounded time, and close the store if it is the engine's own."""
    engine.closed = True
    loop = asyncio.get_running_loop()
    state = next((state for state in engine.states() if state.loop is loop), None)
    if state is not None:
        ends = loop.time() + _DRAIN_SECONDS
        await state.flights.drain(_DRAIN_SECONDS)
        if state.tasks:
            _, late = await asyncio.wait(set(state.tasks), timeout=max(0.0, ends - loop.time()))
            for task in late:
                task.cancel()
    await engine.outbox.aclose()
    await engine.feed_state.stop()
    engine.l1.clear()
    if engine.owns_backend:
        try:
            await engine.backend.aclose()
        except BackendError:
            logger.warning("the store did not close in time; its connections are dropped")
    else:
        engine.backend.refuse()
    engine.end()


def owner_of(engine: Engine) -> Owner:
    """Return the owner of `engine`; the first caller makes it."""
    owner = engine.owner() if engine.owner is not None else None
    if not isinstance(owner, Owner):
        owner = Owner()
        engine.owner = weakref.ref(owner)
        weakref.finalize(owner, _abandoned, engine, owner.outlived_by).atexit = False
    return owner


def _abandoned(engine: Engine, _outlived_by: list[object]) -> None:
    """Close an engine without views. Called in any thread, in the middle of anything: only schedules.

    What outlives the owner is an argument because the arguments of a finalizer are kept until it has run: what is
    collected together with the owner would end in any order.

    The first one of a process is no leak: a script that makes one cache ends so. A second one may be one for each call.
    """
    loops = [state.loop for state in engine.states()]
    if engine.closed or engine.local is not None or not loops:
        return  # nothing is open: memory needs no closing, and a loop that has ended has closed its connections
    running = [loop for loop in loops if loop.is_running()]
    reader = engine.feed_state.loop
    loop = reader if reader is not None and reader in running else (running or loops)[0]
    with contextlib.suppress(RuntimeError):  # it was closed just now
        loop.call_soon_threadsafe(_close, loop, engine)
    if engine.owns_backend and (number := next(_dropped)) > 1:
        warnings.warn(
            f"unclosed cache on {engine.raw!r}, number {number} in this process: make one for the whole process, or "
            "close each with `async with` or `await cache.aclose()`",
            ResourceWarning,
            stacklevel=2,
            source=engine,
        )


async def closings() -> None:
    """Wait until the caches without views that are being closed in the running loop are closed."""
    tasks = _closing.get(asyncio.get_running_loop())
    if tasks:
        await asyncio.wait(set(tasks))


def _close(loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
    tasks = _closing.get(loop)
    if tasks is None:
        _closing.set(loop, tasks := set())
    task = in_background(loop.create_task(close(engine), name="cachecore-close", context=Context()))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
