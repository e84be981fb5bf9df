"""The calls to the store that one event loop has under way: their places, their deadlines, and those that missed one.

Each call runs in a task of its own, so that nothing that happens to its caller reaches the driver, and nothing that the
driver does with a cancellation (redis-py swallows them on Python 3.11) keeps the caller waiting: at the deadline the
task is cancelled and left to itself. One timer serves all calls of a loop.

Deadlines are counted in the loop's own time (see `LoopTime`): a call is never late because this process was busy.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType
from typing import Any, Final, Self

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore.contract.futures import InlineRun
from cachecore.store.call import Call
from cachecore.store.partition import Partition

GRACE_TURNS: Final = 4
"""Turns of the loop that a call gets past its deadline: an answer sent in time may still be on its way up."""
STALL: Final = 0.01
"""Seconds by which a timer must be late before the loop, not the store, is held to have been slow."""
INSIST_AFTER: Final = 1.0
"""Seconds after which a task that did not end when cancelled is cancelled again."""
FORGET_AFTER: Final = 60.0
"""Seconds after which a call whose task never ends gives its place back all the same."""

WAITING_PER_PLACE: Final = 16
"""Waiting calls for each that may be under way: the calls to a store are bounded, however many callers there are."""
LEAST_WAITING: Final = 4096
"""Calls that may wait however few may be under way."""

TICK: Final = 0.005
"""Seconds between two looks at the clock while a call is under way."""
_LATE: Final = 0.002
"""Seconds by which a timer of an idle loop may be late: its clock has steps of a millisecond."""
_LATE_TICK: Final = TICK / 2
"""The most that a tick counts when its timer was late."""


class LoopTime:
    """The time of one loop less the time in which it could not turn. Stands still while nothing asks to be woken.

    A loop that is busy with other tasks, a thread that waits for the interpreter's lock and a process that waits for a
    processor all see the timer fire late. Such a tick counts for little, however long it took.
    """

    __slots__ = ("_context", "_due", "_loop", "_ticked", "_timer", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = Context()  # that of a request would live as long as there are calls
        self.now = 0.0
        """Own seconds as of the last tick."""
        self._ticked = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def own(self, now: float) -> float:
        """Return the own seconds at `now`, the loop's time."""
        if self._timer is None:
            return self.now
        passed = now - self._ticked
        return self.now + (passed if passed < TICK else TICK)  # noqa: FURB136 - min() costs each call more

    def wake_in(self, seconds: float, tick: Callable[[], object]) -> None:
        """Call `tick`, which calls `self.tick`, after so many seconds (at most a tick) or before."""
        due = self._loop.time() + seconds
        if self._timer is None:
            self._ticked = due - seconds
        elif due >= self._due:
            return
        else:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, tick, context=self._context)

    def tick(self) -> float:
        """Count the time since the last tick; return the seconds by which this one is late."""
        now = self._loop.time()
        passed, late = now - self._ticked, now - self._due
        self.now += passed if late <= _LATE else min(passed, _LATE_TICK)
        self._ticked, self._timer = now, None
        return late


class Within:
    """The deadline of work that makes several calls, counted from here in the loop's own time (see `LoopTime`).

    Work that is still in this context then is cancelled and raises `BackendTimeout`. May be entered again, for another
    part of the work. Work that is no task, but an `InlineRun`, is interrupted with that error instead: see `of`.
    """

    def __init__(self, bulkhead: Bulkhead, operation: str, seconds: float) -> None:
        self._bulkhead = bulkhead
        self._operation = operation
        self._deadline = bulkhead.time.own(bulkhead.loop.time()) + seconds
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._limit: _Limit | None = None
        self._run: InlineRun[Any] | None = None

    def of(self, run: InlineRun[Any]) -> None:
        """Take note that the work is done by `run`, and by no task."""
        self._run = run

    def another(self) -> Within:
        """Return a context with the same deadline, for work in a task at the same time."""
        other = Within(self._bulkhead, self._operation, 0.0)
        other._deadline = self._deadline
        return other

    @property
    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self._bulkhead.time.own(self._bulkhead.loop.time()) >= self._deadline

    def lengthen(self, seconds: float) -> Self:
        """Move the deadline, before the context is entered (again)."""
        self._deadline += seconds
        return self

    async def __aenter__(self) -> Self:
        if self._run is not None:
            self._limit = self._bulkhead.limit(_Interruption(self._run, self._operation), self._deadline)
            return self
        self._task = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asynchronous code runs in a task
        self._cancelling = task.cancelling()
        self._limit = self._bulkhead.limit(task, self._deadline)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (task, self._task), (limit, self._limit) = (self._task, None), (self._limit, None)
        if limit is not None:
            limit.task = None
        if limit is None or task is None:
            return
        # As `asyncio.timeout` tells it: whether only this deadline has cancelled the task.
        ours = limit.expired and task.uncancel() <= self._cancelling
        if ours and isinstance(error, asyncio.CancelledError):
            # It would become the context of the other error, and keep all that the frames of its traceback know.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            raise BackendTimeout(self._operation) from None


@dataclass(slots=True)
class _Interruption:
    """What a deadline cancels of work that is no task."""

    run: InlineRun[Any]
    operation: str

    def cancel(self) -> None:
        self.run.interrupt(BackendTimeout(self.operation))


@dataclass(slots=True, order=True)
class _Limit:
    """The deadline of a task, in its loop's own time."""

    deadline: float
    task: asyncio.Task[object] | _Interruption | None = field(compare=False)
    """None: its work is done."""
    expired: bool = field(default=False, compare=False)


class Bulkhead:
    """The calls of one event loop. Only ever touched from that loop's thread, hence no locks.

    `begin` carries a call out; when that is done, it takes the call from `under_way` and calls `leave` if need be.
    `more` is asked, for a call past its deadline, how many seconds more it has because it had to be connected first.
    `missed` is told of each call that missed its deadline, and whether the store is to blame for it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        places: int,
        begin: Callable[[Bulkhead, Call], None],
        more: Callable[[Bulkhead, Call], float],
        missed: Callable[[Call, BackendError, bool], None],
    ) -> None:
        self.loop = loop
        self.now: Callable[[], float] = _clock_of(loop)
        """The loop's time."""
        self.time = LoopTime(loop)
        self.under_way: set[Call] = set()
        self.abandoned: dict[Call, float] = {}  # since when; oldest first
        self.heard: dict[Partition, float] = {}
        """When each partition first answered a call of this loop, or failed it: monotonic second."""
        self.waiting: deque[Call] = deque()
        """Calls that wait for a place."""
        self._limits: list[_Limit] = []  # a heap
        self._admitting = False
        self._places = places
        self._most_waiting = max(LEAST_WAITING, WAITING_PER_PLACE * places)
        self._carry_out = begin
        self._more = more
        self._missed = missed
        self._soonest = math.inf  # own time of the loop; no deadline is earlier

    def enter(self, call: Call) -> bool:
        """Give `call` a place, or let it wait for one; return whether it is to begin now.

        A probe never waits. A call is failed at once if too many wait already.
        """
        call.begun = now = self.now()
        own = self.time.own(now)
        call.entered = own
        call.deadline = deadline = own + call.budget
        under_way = self.under_way
        begins = len(under_way) + len(self.abandoned) < self._places or call.waiter is None or self._has_place(now)
        if begins:
            under_way.add(call)
        elif call.explicit or len(self.waiting) < self._most_waiting:
            self.waiting.append(call)
        else:
            self._missed(call, BackendTimeout(call.operation, reason="busy"), False)
            return False
        if deadline < self._soonest:
            self._soonest = deadline
            self._arm(own)
        return begins

    def limit(self, task: asyncio.Task[object] | _Interruption, deadline: float) -> _Limit:
        """Cancel `task` at `deadline` (the loop's own time), unless its work is done before."""
        limit = _Limit(deadline, task)
        heapq.heappush(self._limits, limit)
        if deadline < self._soonest:
            self._soonest = deadline
            self._arm(self.time.own(self.loop.time()))
        return limit

    def leave(self, call: Call) -> None:
        """Give the place of a call that has ended, and is not `under_way` any more, to the next that waits."""
        self.abandoned.pop(call, None)
        if self.waiting:
            self._admit_waiting()

    def forget(self, partition: Partition) -> None:
        """Take back the places of calls given up on while `partition` was ill: it is well again."""
        for call in [call for call in self.abandoned if call.partition is partition]:
            del self.abandoned[call]
        self._admit_waiting()

    def tasks(self) -> list[asyncio.Future[Any]]:
        """Return the tasks of the calls under way, those given up on included."""
        return [call.task for call in chain(self.under_way, self.abandoned) if call.task is not None]

    def drop_waiting(self, error: Callable[[str], BackendError]) -> None:
        """Fail the calls that wait for a place, each with `error(operation)`."""
        while self.waiting:
            call = self.waiting.popleft()
            call.fail(error(call.operation))

    def _has_place(self, now: float) -> bool:
        """Return whether a call may begin where all places are taken: the long abandoned give theirs back."""
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
            while self.waiting and len(self.under_way) + len(self.abandoned) < self._places:
                self._admit(self.waiting.popleft())
        finally:
            self._admitting = False

    def _admit(self, call: Call) -> None:
        if not call.waited_for():
            return
        if call.partition.breaker.admit(call.explicit) is None:  # since it began to wait
            self._missed(call, BackendUnavailable(call.operation, reason="breaker_open"), False)
            return
        # It waited for other calls, not for the store, which has a whole deadline from here.
        call.entered = own = self.time.own(self.loop.time())
        call.deadline = deadline = own + call.budget
        self.under_way.add(call)
        self._carry_out(self, call)
        if deadline < self._soonest:
            self._soonest = deadline
            self._arm(own)

    def _arm(self, own: float) -> None:
        """See that the loop's own time goes on, and that the deadlines are looked at when the next one is due."""
        self.time.wake_in(min(TICK, max(0.0, self._soonest - own)), self._tick)

    def _tick(self) -> None:
        late = self.time.tick()
        self._expire_limits(self.time.now)
        if self._soonest <= self.time.now:
            self._sweep(late > STALL)
        if self.under_way or self.waiting or self._limits:
            self._arm(self.time.now)
        else:
            self._soonest = math.inf

    def _sweep(self, stalled: bool) -> None:
        """Find the calls that are past their deadlines, and when the next one is."""
        own = self.time.now
        overdue = [call for call in self.under_way if call.deadline <= own]
        if overdue:
            for call in overdue:
                call.deadline = math.inf  # seen
            overdue = [call for call in overdue if not self._prolong(call)]
        if overdue:
            self.loop.call_soon(self._grant, overdue, GRACE_TURNS, stalled)
        if self.waiting:
            self._expire_waiting(own)
        soonest = min((call.deadline for call in chain(self.under_way, self.waiting)), default=math.inf)
        self._soonest = min(soonest, self._limits[0].deadline) if self._limits else soonest

    def _prolong(self, call: Call) -> bool:
        more = self._more(self, call)
        if more <= 0:
            return False
        call.deadline = self.time.now + more
        return True

    def _expire_waiting(self, own: float) -> None:
        waiting, self.waiting = self.waiting, deque()
        for call in waiting:
            if call.waited_for() and call.deadline > own:
                self.waiting.append(call)
            elif call.waited_for():
                self._missed(call, BackendTimeout(call.operation, reason="busy"), False)

    def _expire_limits(self, own: float) -> None:
        limits = self._limits
        while limits and (limits[0].task is None or limits[0].deadline <= own):
            limit = heapq.heappop(limits)
            if limit.task is not None:
                limit.expired = True
                limit.task.cancel()

    def _grant(self, overdue: list[Call], turns: int, stalled: bool) -> None:
        left = [call for call in overdue if call in self.under_way]
        if left and turns:
            self.loop.call_soon(self._grant, left, turns - 1, stalled)
            return
        blamed: set[Partition] = set()
        for call in left:
            # A stall of this loop cuts many calls short: together they are held against the store once, since a store
            # that hangs must be noticed on a busy loop too.
            blame = not stalled or call.partition not in blamed
            blamed.add(call.partition)
            self.heard.setdefault(call.partition, self.now())
            error: BackendError = BackendTimeout(call.operation)
            if call.connecting:
                error = BackendUnavailable(call.operation, reason="connect_timeout")
            self._missed(call, error, blame)  # first: its place may go to the next at once
            self._abandon(call)

    def _abandon(self, call: Call) -> None:
        self.under_way.discard(call)
        call.abandoned = True
        if call.task is None or call.task.done():  # cancelled by someone else before it began
            if self.waiting:
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


def _clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return the clock that `loop.time` reads, without the call around it where that is asyncio's own."""
    own = type(loop).time is asyncio.BaseEventLoop.time and "time" not in vars(loop)
    return time.monotonic if own else loop.time
