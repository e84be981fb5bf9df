"""One call to the store, and the receivers of its answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cachecore.contract.errors import BackendError
from cachecore.store.partition import Partition

Values = list[bytes | None]

Answered = Callable[[Values, BackendError | None], None]
"""Takes the values in the order of the keys, or none and the error."""


class Waiter(Protocol):
    """The receiver of a call's answer: a future, or an object with these four of its methods."""

    def done(self) -> bool:
        """Return whether no caller waits any more."""

    def set_result(self, answer: Any, /) -> None:
        """Take the answer."""

    def set_exception(self, error: BackendError, /) -> None:
        """Take the error."""

    def exception(self) -> object:
        """Note that the error was seen."""


@dataclass(slots=True, eq=False)
class Call:
    """One call to the store. Belongs to one loop; nothing in it is shared between threads."""

    operation: str
    partition: Partition
    budget: float
    """Own seconds of the loop that it may take; see `LoopTime`."""
    start: Callable[[], Awaitable[Any]]
    """Carries it out."""
    key: str
    """One of its keys."""
    size: int = 0
    """Bytes of the values that are sent."""
    explicit: bool = False
    """Whether a caller asked for it, and has time."""
    waiter: Waiter | None = None
    """None: no caller waits, as for a probe."""
    ticket: int = 0
    """The breaker's, from the admission."""
    task: asyncio.Future[Any] | None = None
    """None: it waits for a place."""
    begun: float = 0.0
    """The loop's time."""
    entered: float = 0.0
    """The loop's own time, as is `deadline`."""
    deadline: float = math.inf
    abandoned: bool = False
    connecting: bool = False
    """Whether it waited for a connection at the last look."""
    told: bool = False
    """Whether it was given its whole time after its connection was opened."""

    def waited_for(self) -> bool:
        """Return whether a caller still waits for the answer."""
        return self.waiter is not None and not self.waiter.done()

    def fail(self, error: BackendError) -> None:
        """Give the caller an error, if it still waits."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
            waiter.exception()  # counts as retrieved: of several partitions' errors a caller sees one
