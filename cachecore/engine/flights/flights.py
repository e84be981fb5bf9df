"""The flights of one event loop: at most one per key that can be joined, the tasks that compute them, and the callers
that wait for another process's answer instead, woken early by the feed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final

from cachecore.contract.errors import FlightCycleError
from cachecore.contract.loop_local import in_background
from cachecore.engine.flights.flight import CYCLE, Flight, current_flight, working_flight
from cachecore.engine.flights.own_error import own_error

_LAST_WAIT: Final = 0.2  # seconds for a cancelled computation to end


class Flights:
    """The flights of one event loop, at most one joinable per key."""

    def __init__(self) -> None:
        self._by_key: dict[str, Flight] = {}
        self._tasks: dict[asyncio.Task[Any], Collection[Flight]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def tasks(self) -> int:
        """Computations under way, detached ones included."""
        return len(self._tasks)

    def get(self, key: str) -> Flight | None:
        """Return the flight of `key` that can be joined or is landing."""
        return self._by_key.get(key)

    def to_join(self, key: str, tags: Iterable[str]) -> Flight | None:
        """Return the flight of `key` for a caller that depends on `tags`: to join, or to wait for if landing.

        A flight that lacks one of the tags may have begun before an invalidation of it, which did not concern the
        flight but concerns this caller: it is detached.
        """
        flight = self._by_key.get(key)
        if flight is None or flight.landing or flight.join_keys.issuperset(tags):
            return flight
        flight.detach()
        return None

    def refuse_cycle(self, key: str, tags: Iterable[str]) -> None:
        """Return unless the caller runs in the computation of `key`, joinable or not. Raises FlightCycleError."""
        if current_flight() is None or (running := working_flight()) is None or running.flights is not self:
            return
        for flight in (running, *running.group):
            if flight.key == key and flight.join_keys.issuperset(tags):
                raise FlightCycleError(CYCLE)

    def open(self, key: str, join_keys: Iterable[str]) -> Flight:
        """Return a new flight of `key` that callers can join; `run` starts its computation."""
        flight = self._by_key[key] = Flight(self, key, frozenset(join_keys))
        return flight

    def open_alone(self, key: str, join_keys: Iterable[str]) -> Flight:
        """Return a new flight of `key` beside any other, which its one caller joins. Raises FlightCycleError."""
        running = working_flight()
        if running is not None and any(
            flight.key == key and (flight is running or flight.reaches(running))
            for flights in self._tasks.values()
            for flight in flights
        ):
            raise FlightCycleError(CYCLE)
        flight = Flight(self, key, frozenset(join_keys))
        flight.joinable = False
        return flight

    def run(self, flights: Collection[Flight], compute: Callable[[], Awaitable[None]]) -> None:
        """Run `compute` for these flights in a task of its own; it answers each of them.

        The task inherits a copy of the caller's context. Its exception is answered to flights without an answer.
        """
        # A loop may be dropped while an answer that its caller has is still on its way to the store.
        task = in_background(asyncio.get_running_loop().create_task(_fly(flights, compute)))
        waits: set[Flight] = set()  # shared: a flight that one of them waits for, all of them wait for
        for flight in flights:
            flight.task, flight.group, flight.depends_on = task, flights, waits
        self._tasks[task] = flights
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        # A cancelled task keeps the exception, and its frames the flights. On Python 3.11 the garbage collector does
        # not see that reference: were the task known to its flights, they would all be there for ever.
        for flight in self._tasks.pop(task):
            flight.task, flight.group = None, ()
            flight.on_detach = None  # knows the computation, which knows the flight

    def release(self, flight: Flight) -> None:
        """Free the key of `flight`, if it is still the one that has it."""
        if self._by_key.get(flight.key) is flight:
            self._by_key.pop(flight.key, None)  # another thread may have been faster

    def abandoned(self, flight: Flight) -> None:
        """Cancel the task of `flight` once none of the flights it computes has callers left."""
        flight.deserted = True
        flight.answer(error=asyncio.CancelledError())
        if flight.task is not None and all(other.answered for other in flight.group):
            flight.task.cancel()

    def detach_keys(self, keys: Collection[str], *, supersede: bool = False, pushed: bool = False) -> None:
        """Detach the flights of these keys. May be called from another thread.

        With `supersede` their answers are not to be stored either. A change that the feed `pushed` may be a sign of
        life of the computation that a flight follows, or of its own claim: servers echo writes of our scripts.
        The claim itself finds out if it is gone.
        """
        for key in keys:
            flight = self._by_key.get(key)
            if flight is not None and not flight.landing:
                if pushed:
                    if flight.following or flight.claimed:
                        continue
                    flight.on_detach = None
                flight.superseded |= supersede
                flight.detach()

    def detach_tags(self, tags: Collection[str], *, pushed: bool = False) -> None:
        """Detach the flights that carry one of these tags.

        A change that the feed `pushed` may be a stamp's creation: the flight keeps its lease and stores its answer. A
        stream lets callers in that prove its stamps by a read of their own (`LiveStream.admits`): the first stream of
        a new tag creates that tag's stamp, and is told so.
        """
        for flight in list(self._by_key.values()):
            if not flight.landing and not flight.join_keys.isdisjoint(tags):
                if pushed:
                    flight.on_detach = None
                    if flight.stream is not None:
                        flight.doubted = True
                        continue
                else:
                    flight.superseded |= flight.late  # its stamps were read before: its entry would be dead
                flight.detach()

    def detach_all(self) -> None:
        """Detach all flights.

        The feed has begun, or has missed something: no tag is known to be invalid, and each flight keeps its claim.
        """
        for flight in list(self._by_key.values()):
            if not flight.landing:
                flight.on_detach = None
                if flight.stream is not None:
                    flight.doubted = True
                    continue
                flight.detach()

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for the flights under way, then cancel those without callers.

        A computation that has callers is theirs: it goes on, and its answer reaches them.
        """
        if not self._tasks:
            return
        _, late = await asyncio.wait(set(self._tasks), timeout=seconds)
        alone = [task for task in late if not any(flight.waiters for flight in self._tasks.get(task, ()))]
        for task in alone:
            task.cancel()
        if alone:
            await asyncio.wait(alone, timeout=_LAST_WAIT)


async def _fly(flights: Collection[Flight], compute: Callable[[], Awaitable[None]]) -> None:
    try:
        await compute()
    except asyncio.CancelledError as error:
        for flight in flights:
            flight.answer(error=error)
        raise
    except Exception as error:  # noqa: BLE001 - the factory's own: it goes to every caller
        for number, flight in enumerate(flights):
            # The keys of a batch fail together: to its own caller with one exception, to each that joined with another.
            flight.answer(error=own_error(error) or error if number and flight.joins > 1 else error)
    except BaseException as error:
        # KeyboardInterrupt and SystemExit: callers are told, and the loop sees it too.
        for flight in flights:
            flight.answer(error=error)
        raise
    finally:
        for flight in flights:  # a computation that ended without an answer is a bug; no caller may wait for ever
            if not flight.answered:
                flight.answer(error=RuntimeError("the computation ended without an answer"))


class Wakeups:
    """The waits of one event loop for the entries of keys."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[
            str, dict[asyncio.Future[None], None]
        ] = {}  # ordered: the first to wait is the first to go on

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, key: str, seconds: float) -> None:
        """Return after `seconds`, or as soon as `key` is said to have changed."""
        future: asyncio.Future[None] = self._loop.create_future()
        waiting = self._waiting.setdefault(key, {})
        waiting[future] = None
        timer = self._loop.call_later(seconds, _finish, future)
        try:
            await future
        finally:
            timer.cancel()
            waiting.pop(future, None)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def wake(self, keys: Iterable[str]) -> None:
        """End the waits for `keys`. May be called from another thread."""
        if not self._waiting:
            return
        for key in keys:
            if key in self._waiting:
                self._loop.call_soon_threadsafe(self._wake, key)

    def _wake(self, key: str) -> None:
        for future in self._waiting.get(key, ()):
            _finish(future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
