"""The calls to the store that one event loop has under way: their places, their deadlines, and who missed one.

Each call runs in a task of its own, so that nothing that happens to its caller reaches the driver, and nothing that the
driver does with a cancellation (redis-py swallows them on Python 3.11) keeps the caller waiting: at the deadline the
task is cancelled and left to itself. One timer serves all calls of a loop.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import chain
from typing import Any, Final, Protocol

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore.store.breaker import Breaker

GRACE_TURNS: Final = 4
"""Turns of the loop that a call gets past its deadline: what the store sent in time may still be on its way up."""
STALL: Final = 0.01
"""Seconds by which a timer must be late before the loop, not the store, is held to have been slow."""
INSIST_AFTER: Final = 1.0
"""Seconds after which a task that did not end when cancelled is cancelled again."""
FORGET_AFTER: Final = 60.0
"""Seconds after which a call whose task never ends gives its place back all the same."""

WAITING_PER_PLACE: Final = 16
"""Calls that may wait for each that may be under way: what is asked of a store is bounded, however many ask."""
LEAST_WAITING: Final = 4096
"""Calls that may wait however few may be under way."""


class Waiter(Protocol):
    """Who gets the answer of a call: a future, or whoever has these four of its methods."""

    def done(self) -> bool:
        """Return whether nobody waits any more."""

    def set_result(self, answer: Any, /) -> None:
        """Take the answer."""

    def set_exception(self, error: BaseException, /) -> None:
        """Take the error."""

    def exception(self) -> object:
        """Note that the error was seen."""


class Call:
    """One call to the store. Belongs to one loop; nothing in it is shared between threads."""

    __slots__ = (
        "abandoned",
        "begun",
        "breaker",
        "budget",
        "deadline",
        "excused",
        "operation",
        "start",
        "task",
        "ticket",
        "waiter",
    )

    def __init__(
        self,
        operation: str,
        breaker: Breaker,
        ticket: int,
        budget: float,
        start: Callable[[], Awaitable[Any]],
        waiter: Waiter | None,
    ) -> None:
        self.operation = operation
        self.breaker = breaker
        self.ticket = ticket
        self.budget = budget
        self.start = start
        self.waiter = waiter  # None: nobody waits, as for a probe
        self.task: asyncio.Future[Any] | None = None  # None: waits for a place
        self.begun = 0.0
        self.deadline = math.inf
        self.abandoned = False
        self.excused = False  # has been given a second deadline to wait for a place

    def waited_for(self) -> bool:
        """Return whether a caller still waits for the answer."""
        return self.waiter is not None and not self.waiter.done()

    def settle(self, answer: Any) -> None:
        """Give the caller its answer, if it still waits."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def fail(self, error: BaseException) -> None:
        """Give the caller an error, if it still waits."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
            waiter.exception()  # counts as retrieved: of several partitions' errors a caller sees one


class Bulkhead:
    """The calls of one event loop. Only ever touched from that loop's thread, hence no locks.

    `begin` carries a call out and calls `leave` when it is done. `missed` is told of each call
    that missed its deadline, and whether the store is to blame for it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        places: int,
        begin: Callable[[Bulkhead, Call], None],
        missed: Callable[[Call, BackendError, bool], None],
    ) -> None:
        self.loop = loop
        self.under_way: set[Call] = set()
        self.abandoned: dict[Call, float] = {}  # since when; oldest first
        self._queue: deque[Call] = deque()
        self._admitting = False
        self._places = places
        self._most_waiting = max(LEAST_WAITING, WAITING_PER_PLACE * places)
        self._carry_out = begin
        self._missed = missed
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def enter(self, call: Call) -> None:
        """Start `call`, or let it wait for a place; a probe never waits. Fails it at once if too many wait already."""
        now = self.loop.time()
        call.begun = now
        call.deadline = deadline = now + call.budget
        if call.waiter is None or self._has_place(now):
            self._begin(call)
        elif len(self._queue) < self._most_waiting:
            self._queue.append(call)
        else:
            self._missed(call, BackendTimeout(call.operation, reason="busy"), False)
            return
        if deadline < self._timer_at:
            self._arm(deadline)

    def leave(self, call: Call) -> None:
        """`call` has ended: its place goes to the next in the queue."""
        self.under_way.discard(call)
        self.abandoned.pop(call, None)
        if self._queue:
            self._admit_waiting()

    def forget(self, breaker: Breaker) -> None:
        """Take back the places of calls given up on while the store of `breaker` was ill: it is well again."""
        for call in [call for call in self.abandoned if call.breaker is breaker]:
            del self.abandoned[call]
        self._admit_waiting()

    def tasks(self) -> list[asyncio.Future[Any]]:
        """Return the tasks of the calls under way, those given up on included."""
        return [call.task for call in chain(self.under_way, self.abandoned) if call.task is not None]

    def drop_waiting(self, error: Callable[[str], BaseException]) -> None:
        """Fail the calls that wait for a place with what `error` makes of their operation."""
        while self._queue:
            call = self._queue.popleft()
            call.fail(error(call.operation))

    def _begin(self, call: Call) -> None:
        self.under_way.add(call)
        self._carry_out(self, call)

    def _has_place(self, now: float) -> bool:
        """Return whether a call may begin, if need be after taking back the places of the long abandoned."""
        if len(self.under_way) + len(self.abandoned) < self._places:
            return True
        for call, since in list(self.abandoned.items()):
            if now - since < FORGET_AFTER:
                break
            del self.abandoned[call]
        self._admit_waiting()  # first come, first served
        return len(self.under_way) + len(self.abandoned) < self._places

    def _admit_waiting(self) -> None:
        # A closed loop's tasks are being thrown away. And where tasks start eagerly, a call that begins here may end
        # here and come back to this line: a thousand of them would be as many frames deep.
        if self._admitting or self.loop.is_closed():
            return
        self._admitting = True
        try:
            while self._queue and len(self.under_way) + len(self.abandoned) < self._places:
                self._admit(self._queue.popleft())
        finally:
            self._admitting = False

    def _admit(self, call: Call) -> None:
        if not call.waited_for():
            return
        if call.breaker.state != "closed":  # since it began to wait
            self._missed(call, BackendUnavailable(call.operation, reason="breaker_open"), False)
            return
        # It waited for other calls, not for the store, which has a whole deadline from here.
        call.deadline = self.loop.time() + call.budget
        self._begin(call)
        if call.deadline < self._timer_at:
            self._arm(call.deadline)

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.loop.call_at(deadline, self._sweep)

    def _sweep(self) -> None:
        """Find the calls that are past their deadlines, and set the timer for the next one."""
        now = self.loop.time()
        stalled = now - self._timer_at > STALL
        self._timer, self._timer_at = None, math.inf
        overdue = [call for call in self.under_way if call.deadline <= now]
        for call in overdue:
            call.deadline = math.inf  # seen
        if overdue:
            self.loop.call_soon(self._grant, overdue, GRACE_TURNS, stalled)
        if self._queue:
            self._expire_waiting(now, stalled)
        soonest = min((call.deadline for call in chain(self.under_way, self._queue)), default=math.inf)
        if soonest < math.inf:
            self._arm(soonest)

    def _expire_waiting(self, now: float, stalled: bool) -> None:
        waiting, self._queue = self._queue, deque()
        for call in waiting:
            if stalled and call.deadline <= now and not call.excused:
                call.excused = True  # the loop stood still: nobody could have given its place away
                call.deadline = now + call.budget
            if call.waited_for() and call.deadline > now:
                self._queue.append(call)
            elif call.waited_for():
                self._missed(call, BackendTimeout(call.operation, reason="busy"), False)

    def _grant(self, overdue: list[Call], turns: int, stalled: bool) -> None:
        left = [call for call in overdue if call in self.under_way]
        if left and turns:
            self.loop.call_soon(self._grant, left, turns - 1, stalled)
            return
        blamed: set[Breaker] = set()
        for call in left:
            # A stall of this loop cuts many calls short: together they are held against the store once, since a store
            # that hangs must be noticed on a busy loop too.
            blame = not stalled or call.breaker not in blamed
            blamed.add(call.breaker)
            self._missed(call, BackendTimeout(call.operation), blame)  # first: its place may go to the next at once
            self._abandon(call)

    def _abandon(self, call: Call) -> None:
        self.under_way.discard(call)
        call.abandoned = True
        if call.task is None or call.task.done():  # cancelled by someone else before it began
            if self._queue:
                self._admit_waiting()
            return
        self.abandoned[call] = self.loop.time()
        call.task.cancel()
        if call in self.abandoned:
            self.loop.call_later(INSIST_AFTER, self._insist, call)

    def _insist(self, call: Call) -> None:
        if call in self.abandoned and call.task is not None:
            call.task.cancel()
            self.loop.call_later(INSIST_AFTER, self._insist, call)
