"""One call to the store, from the question whether it may be made to what its outcome teaches.

Here the parts meet: the bulkheads of the event loops, which hold the calls under way, and the breakers of the
partitions.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError, BackendUnavailable
from cachecore.contract.futures import InlineFuture
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import CacheBackend
from cachecore.store.breaker import Breaker, State
from cachecore.store.bulkhead import Bulkhead, Call, Waiter

_log = logging.getLogger("cachecore")


class Observer(Protocol):
    """Who is told how the store does. Called from any thread, often; must be quick and must not raise."""

    def backend_call(self, operation: str, seconds: float) -> None:
        """A call ended after `seconds`, well or badly; `probe` is an operation, too."""

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
        self._bulkheads: dict[int, Bulkhead] = {}
        self._breakers: dict[str, Breaker] = {}
        self._inherited: object = None
        self.closed = False

    def reset(self) -> None:
        """Forget what belongs to the parent process: its tasks, its loops, its opinion of the store."""
        self._inherited = self._bulkheads  # kept: a pending task that is collected complains
        self._bulkheads = {}  # by id of the loop, which the bulkhead keeps alive
        self._breakers = {}

    def start(
        self,
        operation: str,
        breaker: Breaker,
        budget: float,
        start: Callable[[], Awaitable[Any]],
        key: str,
    ) -> asyncio.Future[Any]:
        """Begin a call that may take `budget` seconds, and return its answer to be.

        An open breaker raises `BackendUnavailable` instead, and if it is time to, `key` is read behind.
        """
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.start_for(waiter, operation, breaker, budget, start, key)
        return waiter

    def start_for(
        self,
        waiter: Waiter,
        operation: str,
        breaker: Breaker,
        budget: float,
        start: Callable[[], Awaitable[Any]],
        key: str,
    ) -> None:
        """Begin a call whose answer goes to `waiter`; otherwise as `start`."""
        if self.closed:
            raise closed_error(operation)
        loop = asyncio.get_running_loop()
        bulkhead = self._bulkheads.get(id(loop)) or self.bulkhead(loop)
        ticket = breaker.admit()
        if ticket is None:
            ticket = breaker.probe(self._now())
            if ticket is not None:
                bulkhead.enter(Call("probe", breaker, ticket, budget, partial(self._backend.get_many, [key]), None))
            self._observer.backend_error(operation, "breaker_open")
            raise BackendUnavailable(operation, reason="breaker_open")
        bulkhead.enter(Call(operation, breaker, ticket, budget, start, waiter))

    def _begin(self, bulkhead: Bulkhead, call: Call) -> None:
        """Carry `call` out: in a task of its own, or without one where the backend hands out a future by itself."""
        try:
            started = call.start()
        except Exception as error:  # noqa: BLE001 - as in _raised
            self._raised(bulkhead, call, error)
            bulkhead.leave(call)
            return
        if isinstance(started, asyncio.Future):
            call.task = started
            call.deadline = bulkhead.loop.time() + call.budget
            ended = partial(self._ended, bulkhead, call)
            if isinstance(started, InlineFuture):
                started.at_end(ended)
            else:
                started.add_done_callback(ended)
        else:
            call.task = bulkhead.loop.create_task(self._attend(bulkhead, call, started))
            if isinstance(started, Coroutine):
                # A loop that is shut down cancels tasks before they begin; nobody would have awaited it then.
                call.task.add_done_callback(lambda _: started.close())

    def _ended(self, bulkhead: Bulkhead, call: Call, future: asyncio.Future[Any]) -> None:
        """Do for a call without a task what `_attend` does in one."""
        try:
            self._answered(bulkhead, call, future.result())
        except asyncio.CancelledError:
            if not call.abandoned:
                self._failed(bulkhead, call, BackendError(call.operation, transient=True, reason="cancelled"))
        except Exception as error:  # noqa: BLE001 - as in _raised
            self._raised(bulkhead, call, error)
        finally:
            bulkhead.leave(call)

    async def _attend(self, bulkhead: Bulkhead, call: Call, started: Awaitable[Any]) -> None:
        """Be the task of `call`: wait for it and tell everyone who has to know how it went."""
        call.deadline = bulkhead.loop.time() + call.budget  # counted from here: a busy loop is not the store's fault
        try:
            answer = await started
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if call.abandoned:
                return
            if task is not None and task.cancelling():  # the loop is being shut down
                call.breaker.undecided(call.ticket, self._now())
                call.fail(BackendUnavailable(call.operation, reason="cancelled"))
                raise
            self._failed(bulkhead, call, BackendError(call.operation, transient=True, reason="cancelled"))
        except Exception as error:  # noqa: BLE001 - as in _raised
            self._raised(bulkhead, call, error)
        except (KeyboardInterrupt, SystemExit) as error:
            call.breaker.undecided(call.ticket, self._now())
            failure = BackendError(call.operation, transient=True)
            failure.__cause__ = error
            call.fail(failure)
            raise
        else:
            self._answered(bulkhead, call, answer)
        finally:
            bulkhead.leave(call)

    def _answered(self, bulkhead: Bulkhead, call: Call, answer: Any) -> None:
        self._observer.backend_call(call.operation, bulkhead.loop.time() - call.begun)
        if not call.abandoned:
            call.breaker.succeeded(call.ticket)
            if call.waiter is None:
                bulkhead.forget(call.breaker)
            call.settle(answer)

    def _raised(self, bulkhead: Bulkhead, call: Call, error: Exception) -> None:
        """Count what a backend raised. A driver's bug costs a computation like any failure; it is logged."""
        if not isinstance(error, BackendError):
            self.report(call.operation, error)
            failure = BackendError(call.operation, transient=True)
            failure.__cause__ = error
            error = failure
        self._failed(bulkhead, call, error)

    def _failed(self, bulkhead: Bulkhead, call: Call, error: BackendError) -> None:
        self._observer.backend_call(call.operation, bulkhead.loop.time() - call.begun)
        if call.abandoned:
            return  # counted when it missed its deadline
        if error.transient:
            call.breaker.failed(call.ticket, self._now())
        else:
            call.breaker.undecided(call.ticket, self._now())
        self._observer.backend_error(call.operation, error.reason)
        call.fail(error)

    def _missed(self, call: Call, error: BackendError, blame: bool) -> None:
        if blame:
            call.breaker.failed(call.ticket, self._now())
        else:
            call.breaker.undecided(call.ticket, self._now())
        self._observer.backend_error(call.operation, error.reason)
        call.fail(error)

    def report(self, operation: str, error: Exception) -> None:
        """Log a driver's bug once, without the error's text: it may hold a key or a value."""
        if (operation, type(error)) in self._reported:
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
        bulkhead = self._bulkheads.get(id(loop))
        if bulkhead is None:
            for other in [other for other, bulkhead in list(self._bulkheads.items()) if bulkhead.loop.is_closed()]:
                self._bulkheads.pop(other, None)
            bulkhead = self._bulkheads[id(loop)] = Bulkhead(
                loop, self._options.max_in_flight, self._begin, self._missed
            )
        return bulkhead

    def bulkheads(self) -> list[Bulkhead]:
        """Return the bulkheads of all loops; only their own loops may do more than count in them."""
        return list(self._bulkheads.values())

    def breaker(self, partition: str) -> Breaker:
        """Return the breaker of `partition`."""
        breaker = self._breakers.get(partition)
        if breaker is None:
            made = Breaker(self._options, self._chance, partial(self._observer.breaker_state, partition))
            breaker = self._breakers.setdefault(partition, made)  # atomic: of two threads, one breaker wins
        return breaker

    def states(self) -> dict[str, State]:
        """Return the state of each breaker by partition."""
        return {name: breaker.state for name, breaker in list(self._breakers.items())}

    def sign_of_life(self) -> None:
        """Let the next call of each open breaker probe the store."""
        for breaker in list(self._breakers.values()):
            breaker.hint(self._now())


def closed_error(operation: str) -> BackendUnavailable:
    """Return what a call gets once the guard is closed."""
    return BackendUnavailable(operation, transient=False, reason="closed")
