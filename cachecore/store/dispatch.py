"""One call to the store: its admission, its start, and the evaluation of its outcome.

Here the parts meet: the bulkheads of the event loops, which hold the calls under way, and the partitions with their
breakers and round trips.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError, BackendUnavailable
from cachecore.contract.futures import InlineFuture
from cachecore.contract.loop_local import LoopLocal
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import CacheBackend, SupportsLinks
from cachecore.store.breaker import Breaker, State
from cachecore.store.bulkhead import Bulkhead
from cachecore.store.call import Call
from cachecore.store.partition import Partition
from cachecore.store.refusals import Refusals
from cachecore.store.round_trip import SMALL_BYTES
from cachecore.store.state_log import StateLog

_log = logging.getLogger("cachecore")

_READS: Final = frozenset({"get_many", "probe"})
_LOOK: Final = 0.02
"""Seconds between two looks whether the connection that a call waits for is open."""


class Observer(Protocol):
    """Receives the outcomes of calls. Called from any thread, often; must be quick and must not raise."""

    def recorder(self, operation: str) -> Callable[[float], object]:
        """Return the function that takes the seconds of each call of `operation` that ended, well or badly.

        `probe` is an operation, too.
        """

    def backend_error(self, operation: str, reason: str) -> None:
        """A call failed, missed its deadline or was refused; `reason` is one short word."""

    def breaker_state(self, partition: str, state: str) -> None:
        """The breaker of `partition` (the empty name: of the store) is now `closed`, `open` or `half_open`."""


class Dispatch:
    """Makes the calls of one guard. May be used from several loops and threads."""

    def __init__(
        self, backend: CacheBackend, options: StoreOptions, *, clock: Clock, chance: random.Random, observer: Observer
    ) -> None:
        self._backend = backend
        self._options = options
        self._now = clock.monotonic
        self._chance = chance
        self._observer = observer
        self._reported: set[tuple[str, type]] = set()
        self._took: dict[str, Callable[[float], object]] = {}
        """Operations, and the functions that take the seconds of their calls."""
        self._bulkheads: LoopLocal[Bulkhead] = LoopLocal()
        self._last: Callable[[], Bulkhead | None] = _no_bulkhead  # a weak reference to the one that was asked for last
        self._partitions: dict[str, Partition] = {}
        self.closed = False
        self.closing: asyncio.Task[None] | None = None
        self.not_closed: set[str] = set()
        """The names of the partitions with a breaker that is open or half open: only these refuse a call."""
        self._links = backend if isinstance(backend, SupportsLinks) else None
        if self._links is not None:
            self._links.limit_waits(connect=options.connect_timeout, silence=options.write_timeout)

    def reset(self) -> None:
        """Forget the parent process's state: its tasks, its loops, its breakers."""
        self._bulkheads.forget()  # not dropped: a pending task that is collected complains
        self._last = _no_bulkhead
        self._partitions = {}
        self.not_closed.clear()

    def start(self, call: Call) -> asyncio.Future[Any]:
        """Begin `call`; return its answer to be.

        An open breaker raises `BackendUnavailable` instead, and if it is time to, the call's key is read behind. It
        lets an explicit call through unless the store cannot be reached.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Any] = InlineFuture(loop=loop) if call.explicit else loop.create_future()
        call.waiter = waiter
        self.enter(call)
        return waiter

    def enter(self, call: Call) -> None:
        """Begin a call that has a waiter; otherwise as `start`."""
        if self.closed:
            raise closed_error(call.operation)
        loop = asyncio.get_running_loop()
        bulkhead = self._last()
        if bulkhead is None or bulkhead.loop is not loop:
            bulkhead = self.bulkhead(loop)
        breaker = call.partition.breaker
        ticket = breaker.ticket
        if ticket is None and (ticket := breaker.admit(call.explicit)) is None:
            raise self._refusal(call.operation, call.partition, call.budget, call.key)
        call.ticket = ticket
        if bulkhead.enter(call):
            self._begin(bulkhead, call)

    def refused(self, budget: Callable[[Partition, int], float], name: str, key: str) -> BackendUnavailable | None:
        """Return the error of a read of `key`, in the partition `name`, if an open breaker refuses it, else None.

        Counts and probes as `start` does and raises nothing: in an outage each lookup comes here.
        """
        partition = self._partitions.get(name)
        if partition is None or partition.breaker.state == "closed" or self.closed:
            return None
        return self._refusal("get_many", partition, budget(partition, 1), key)

    def _refusal(self, operation: str, partition: Partition, budget: float, key: str) -> BackendUnavailable:
        """Return the error of a call that is not made, counted; if it is time to, `key` is read behind."""
        ticket = partition.breaker.probe(self._now())
        if ticket is not None:
            # It may take longer than a read, since no caller waits for it: it connects, and it measures.
            read, bulkhead = partial(self._backend.get_many, [key]), self.bulkhead(asyncio.get_running_loop())
            probe = Call("probe", partition, max(budget, partition.cap), read, key, ticket=ticket)
            if bulkhead.enter(probe):
                self._begin(bulkhead, probe)
        self._observer.backend_error(operation, "breaker_open")
        return BackendUnavailable(operation, reason="breaker_open")

    def _begin(self, bulkhead: Bulkhead, call: Call) -> None:
        """Carry `call` out: in a task of its own, or without one where the backend hands out a future by itself."""
        try:
            started = call.start()
        except Exception as error:  # noqa: BLE001 - as in _raised
            self._raised(bulkhead, call, error)
            self._left(bulkhead, call)
            return
        if isinstance(started, asyncio.Future):
            call.task = started
            ended = partial(self._ended, bulkhead, call)
            if isinstance(started, InlineFuture):
                started.at_end(ended)
            else:
                started.add_done_callback(ended)
        else:
            call.task = bulkhead.loop.create_task(self._attend(bulkhead, call, started))
            if isinstance(started, Coroutine):
                # A loop that is shut down cancels tasks before they begin; then it would never be awaited.
                call.task.add_done_callback(lambda _: started.close())

    def _ended(self, bulkhead: Bulkhead, call: Call, future: asyncio.Future[Any]) -> None:
        """Evaluate the outcome of a call without a task, as `_attend` does in one. First its place is free."""
        bulkhead.under_way.discard(call)
        if bulkhead.waiting or call.abandoned:
            bulkhead.leave(call)
        try:
            self._answered(bulkhead, call, future.result())
        except asyncio.CancelledError:
            if not call.abandoned:
                self._failed(bulkhead, call, BackendError(call.operation, transient=True, reason="cancelled"))
        except Exception as error:  # noqa: BLE001 - as in _raised
            self._raised(bulkhead, call, error)

    async def _attend(self, bulkhead: Bulkhead, call: Call, started: Awaitable[Any]) -> None:
        """The task of `call`: wait for it and report its outcome to breaker, observer and caller."""
        try:
            answer = await started
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call.abandoned:
                return
            if task is not None and task.cancelling():  # the loop is being shut down
                call.partition.breaker.undecided(call.ticket, self._now())
                call.fail(BackendUnavailable(call.operation, reason="cancelled"))
                raise
            self._failed(bulkhead, call, BackendError(call.operation, transient=True, reason="cancelled"))
        except Exception as error:  # noqa: BLE001 - as in _raised
            self._raised(bulkhead, call, error)
        except (KeyboardInterrupt, SystemExit) as error:
            call.partition.breaker.undecided(call.ticket, self._now())
            failure = BackendError(call.operation, transient=True)
            failure.__cause__ = error
            call.fail(failure)
            raise
        else:
            self._answered(bulkhead, call, answer)
        finally:
            self._left(bulkhead, call)

    def _left(self, bulkhead: Bulkhead, call: Call) -> None:
        bulkhead.under_way.discard(call)
        if bulkhead.waiting or call.abandoned:
            bulkhead.leave(call)

    def _answered(self, bulkhead: Bulkhead, call: Call, answer: Any) -> None:
        now = bulkhead.now()
        seconds = now - call.begun
        (self._took.get(call.operation) or self._recorder(call.operation))(seconds)
        if call.abandoned:
            return
        partition = call.partition
        trip = partition.trip
        if seconds < trip.least or now >= trip.ends:
            self._measured(bulkhead, call, answer, now)
        bulkhead.heard.setdefault(partition, now)
        if partition.refusals.held:
            partition.refusals.succeeded(call.operation)
        breaker = partition.breaker
        if call.waiter is None or (call.explicit and not (breaker.calm and seconds <= partition.patience)):
            self._answered_in_time(bulkhead, call)
        elif not breaker.calm:
            breaker.succeeded(call.ticket)
        waiter = call.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def took(self, operation: str, seconds: float) -> None:
        """Report a call of `operation` that was made and answered without a place."""
        (self._took.get(operation) or self._recorder(operation))(seconds)

    def _recorder(self, operation: str) -> Callable[[float], object]:
        """Return the function that takes the seconds of each ended call of `operation`."""
        took = self._took[operation] = self._observer.recorder(operation)
        return took

    def _measured(self, bulkhead: Bulkhead, call: Call, answer: Any, now: float) -> None:
        """Take the time of a small call for the round trip; of a large one only while there is no better."""
        partition, begun = call.partition, call.begun
        if partition not in bulkhead.heard and self._links is not None:
            link = self._links.link(call.key)
            if link is not None:
                partition.moved(link.address)
                begun = max(begun, link.since)
        size = call.size
        if call.operation in _READS and type(answer) is list:
            size = sum(len(value) for value in answer if type(value) is bytes)
        if size < SMALL_BYTES or not partition.known:
            partition.measured(now - begun, now)

    def _answered_in_time(self, bulkhead: Bulkhead, call: Call) -> None:
        """Tell the breaker of an answered probe or explicit call, which may take longer than a read.

        Only an answer within a read's time says that the store is well; a late one fails a probe.
        """
        breaker, now = call.partition.breaker, bulkhead.loop.time()
        seconds = bulkhead.time.own(now) - call.entered
        link = None if self._links is None else self._links.link(call.key)
        if link is not None and link.since > call.begun:
            seconds = now - link.since
        if seconds <= call.partition.patience:
            breaker.succeeded(call.ticket)
            if call.waiter is None:
                bulkhead.forget(call.partition)
        elif call.explicit:
            breaker.undecided(call.ticket, self._now())
        else:
            breaker.failed(call.ticket, self._now())

    def _more(self, bulkhead: Bulkhead, call: Call) -> float:
        """Return how many seconds more a call has that is past its deadline: it may have had to connect first.

        Counted in its loop's own time. Nothing for explicit calls, which have their whole time from the beginning.
        """
        partition, links = call.partition, self._links
        link = None if links is None else links.link(call.key)
        call.connecting = links is not None and link is None
        if call.explicit or call.told:
            return 0.0
        if call.connecting:
            return min(_LOOK, self._options.connect_timeout - (bulkhead.time.now - call.entered))
        if link is not None:
            partition.moved(link.address)
            if link.since == -math.inf:
                return 0.0
        if link is not None and link.since >= call.begun:
            call.told = True
            if not partition.known:
                return max(call.budget, partition.cap)
            if bulkhead.heard.get(partition, math.inf) > call.begun:
                return call.budget  # it began with the first calls, all of which waited for the connection
            # It gets back what the connection took, no more: one opened beside others is no reason to wait twice.
            return min(call.budget, link.since - call.begun)
        if partition not in bulkhead.heard and (links is None or not partition.known):
            call.told = True
            return partition.cap - call.budget
        return 0.0

    def _raised(self, bulkhead: Bulkhead, call: Call, error: Exception) -> None:
        """Count an exception of the backend. A driver's bug costs a computation like any failure; it is logged."""
        if not isinstance(error, BackendError):
            self.report(call.operation, error)
            failure = BackendError(call.operation, transient=True)
            failure.__cause__ = error
            error = failure
        self._failed(bulkhead, call, error)

    def _failed(self, bulkhead: Bulkhead, call: Call, error: BackendError) -> None:
        self._recorder(call.operation)(bulkhead.loop.time() - call.begun)
        if call.abandoned:
            return  # counted when it missed its deadline
        bulkhead.heard.setdefault(call.partition, bulkhead.now())
        if error.transient:
            call.partition.breaker.failed(call.ticket, self._now(), error.reason)
        else:
            call.partition.breaker.undecided(call.ticket, self._now())
        call.partition.refusals.failed(call.operation, error)
        self._observer.backend_error(call.operation, error.reason)
        call.fail(error)

    def _missed(self, call: Call, error: BackendError, blame: bool) -> None:
        if blame:
            call.partition.breaker.failed(call.ticket, self._now(), error.reason)
        else:
            call.partition.breaker.undecided(call.ticket, self._now())
        self._observer.backend_error(call.operation, error.reason)
        call.fail(error)

    def report(self, operation: str, error: Exception) -> None:
        """Log a driver's bug (no BackendError) once, without the error's text: it may hold a key or a value."""
        if isinstance(error, BackendError) or (operation, type(error)) in self._reported:
            return
        self._reported.add((operation, type(error)))
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        kind = type(error).__name__
        _log.error(
            "%s.%s raised %s at %s, which is no BackendError", type(self._backend).__name__, operation, kind, where
        )

    def bulkhead(self, loop: asyncio.AbstractEventLoop) -> Bulkhead:
        """Return the bulkhead of `loop`, which is the caller's."""
        bulkhead = self._last()
        if bulkhead is not None and bulkhead.loop is loop:
            return bulkhead
        bulkhead = self._bulkheads.get(loop)
        if bulkhead is None:
            bulkhead = Bulkhead(loop, self._options.max_in_flight, self._begin, self._more, self._missed)
            self._bulkheads.set(loop, bulkhead)
        self._last = weakref.ref(bulkhead)
        return bulkhead

    def bulkheads(self) -> list[Bulkhead]:
        """Return the bulkheads of all loops; only their own loops may do more than count in them."""
        return [bulkhead for _, bulkhead in self._bulkheads.items()]

    def partition(self, name: str) -> Partition:
        """Return the partition of that name."""
        partition = self._partitions.get(name)
        if partition is None:
            kind = type(self._backend)
            known_as = kind.__name__ if kind.__repr__ is object.__repr__ else repr(self._backend)
            said_of = f"{known_as} {name}".rstrip()
            log = StateLog(said_of, self._now)

            def changed(state: State, reason: str) -> None:
                (self.not_closed.discard if state == "closed" else self.not_closed.add)(name)
                self._observer.breaker_state(name, state)
                log.changed(state, reason)

            breaker = Breaker(self._options, self._chance, changed)
            made = Partition(name, breaker, self._options, Refusals(said_of, self._now))
            partition = self._partitions.setdefault(name, made)  # atomic: of two threads, one partition wins
        return partition

    def states(self) -> dict[str, State]:
        """Return the state of each partition's breaker."""
        return {name: partition.breaker.state for name, partition in list(self._partitions.items())}

    def sign_of_life(self) -> None:
        """Let the next call of each open breaker probe the store."""
        for partition in list(self._partitions.values()):
            partition.breaker.hint(self._now())


def _no_bulkhead() -> Bulkhead | None:
    return None


def closed_error(operation: str) -> BackendUnavailable:
    """Return the error of a call to a closed guard."""
    return BackendUnavailable(operation, transient=False, reason="closed")
