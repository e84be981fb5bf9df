"""One call to the store, and the receivers of its answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
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

    def set_exception(self, error: BaseException, /) -> None:
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

    def fail(self, error: BaseException) -> None:
        """Give the caller an error, if it still waits."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
            waiter.exception()  # counts as retrieved: of several partitions' errors a caller sees one


class InlineRead:
    """The waiter of a read whose answer goes straight to a function, in the very turn it comes: no task, no turn.

    `fitting` returns values that can be those of the keys, or raises `BackendError`.
    """

    __slots__ = ("_answered", "_done", "_fitting", "_keys")

    def __init__(
        self, fitting: Callable[[Sequence[str], Values], Values], keys: Sequence[str], answered: Answered
    ) -> None:
        self._fitting = fitting
        self._keys = keys
        self._answered = answered
        self._done = False

    def done(self) -> bool:
        """Return whether the answer was given."""
        return self._done

    def set_result(self, answer: Values, /) -> None:
        """Take the values."""
        try:
            values = self._fitting(self._keys, answer)
        except BackendError as error:
            self.set_exception(error)
            return
        self._done = True
        self._answered(values, None)

    def set_exception(self, error: BaseException, /) -> None:
        """Take the error."""
        self._done = True
        if not isinstance(error, BackendError):
            failure = BackendError("get_many", transient=True)
            failure.__cause__ = error
            error = failure
        self._answered([], error)

    def exception(self) -> None:
        """Do nothing: the error was handed on."""
        return
