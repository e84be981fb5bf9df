"""The state of one event loop; it is never touched from another."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Hashable
from contextvars import Context
from typing import Any

from cachecore.contract.errors import CacheError
from cachecore.contract.loop_local import in_background
from cachecore.engine.flights.coalesce import Coalescer
from cachecore.engine.flights.flights import Flights, Wakeups
from cachecore.engine.flights.rounds import Rounds


def no_loop_error() -> CacheError:
    """Return the error of a call where no event loop of asyncio is running, with the way out."""
    trio: Any = sys.modules.get("trio")
    under_trio = trio is not None and trio.lowlevel.in_trio_run()
    here = "this code runs under trio" if under_trio else "none is running here"
    way_out = "trio.to_thread.run_sync and SyncCache" if under_trio else "SyncCache in code that is not async"
    return CacheError(f"Cache needs an event loop of asyncio, and {here}: run it with asyncio.run, or use {way_out}")


class LoopState:
    """The state of one event loop."""

    __slots__ = (
        "__weakref__",
        "background",
        "coalescer",
        "explicit",
        "flights",
        "loop",
        "measuring",
        "prolonging",
        "rounds",
        "tasks",
        "waiting_sets",
        "waits",
        "wakeups",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, coalescer: Coalescer, explicit: Coalescer) -> None:
        self.loop = loop
        self.coalescer = coalescer
        self.explicit = explicit
        """Collects the reads of explicit writes, which have more time."""
        self.flights = Flights()
        self.rounds = Rounds()
        self.wakeups = Wakeups(loop)
        self.waits = True
        """Whether calls of the store may wait; not those of a store in this process."""
        self.tasks: set[asyncio.Future[Any]] = set()
        self.waiting_sets: dict[Hashable, list[Any]] = {}
        """The calls of `set` of this turn that are to be written together, by what they have in common."""
        self.prolonging: dict[tuple[str, bytes], asyncio.Task[None]] = {}
        """Stamps (stamp key, stamp) that are being prolonged, and the tasks that do it."""
        self.background = 0
        """Refreshes under way behind answers already given."""
        self.measuring: asyncio.Task[None] | None = None
        """The measurement of the store's clock that is under way, or the last one."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` behind; closing waits for it. It knows nothing of the request during which it was found due."""
        task = in_background(self.loop.create_task(work, name=name, context=Context()))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task
