"""One computation for all callers of a key: they share its outcome, but no exception object and no cancellation.

A flight belongs to one event loop. The first caller starts it and its context is the one the factory runs in. A caller
that is cancelled leaves; when the last one leaves, the flight is taken out of the map and then cancelled, unless it is
landing (the factory has returned and the answer is being stored) or held (a background computation).

States: joinable (callers may join) -> detached (an invalidation came: present callers stay, later ones start anew) or
landing (new callers wait until it has landed and look again) -> done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Protocol

from cachecore.contract.errors import FlightCycleError
from cachecore.engine.flights.broadcast import Broadcast
from cachecore.engine.flights.own_error import own_error
from cachecore.invalidation.stamps import Pins

_NOTHING: Final = object()
_RESOLUTION: Final = 0.001  # seconds by which a timer may strike early: loops round
LATER: Final = object()
"""Returned by `Flight.join` if the caller's patience ended first."""
CYCLE: Final = (
    "a factory asks for the key it is computing: it would wait for itself for ever. A function that tries again by "
    "calling itself does so within `with bypass():`"
)


class Retry(Exception):  # noqa: N818 - a message to the caller of `join`, not an error
    """The flight's answer may be older than an invalidation that the caller came after; look again."""


class Registry(Protocol):
    """Where a flight is found by its key."""

    def release(self, flight: Flight) -> None:
        """Free the key of `flight`, if it still has it."""

    def abandoned(self, flight: Flight) -> None:
        """Note that the last caller of `flight` has left."""


class Flight:
    """One computation under way; made by `flights.Flights.open`."""

    __slots__ = (
        "_done",
        "_due",
        "_error",
        "_handed",
        "_held",
        "_late_too",
        "_limit",
        "_timer",
        "_traceback",
        "_value",
        "_waiters",
        "answered",
        "claimed",
        "depends_on",
        "deserted",
        "doubted",
        "failed",
        "finish",
        "flights",
        "following",
        "group",
        "handed_out",
        "join_keys",
        "joinable",
        "joins",
        "key",
        "landing",
        "late",
        "on_detach",
        "pins",
        "stored",
        "stream",
        "superseded",
        "task",
        "urgent",
    )

    def __init__(self, flights: Registry, key: str, join_keys: frozenset[str]) -> None:
        self.flights = flights
        self.key = key
        self.join_keys = join_keys
        """Stamp keys, and the kind of value; a caller that joins may ask for no others."""
        self.task: asyncio.Task[Any] | None = None
        self.group: Collection[Flight] = ()
        """The flights that `task` computes together."""
        self.joinable = True
        self.landing = False
        self.claimed = False
        """Whether its claim lies under the key: nothing was written there since."""
        self.following = False
        """Whether it waits for another process's computation; each look at the store is news for all its callers."""
        self.late = False
        """Whether the store is being or was read: later callers may come after an invalidation it missed."""
        self.depends_on: set[Flight] = set()
        """Flights that this one's factory waits for, for finding cycles."""
        self.on_detach: Callable[[], None] | None = None
        """Called once, in any thread, when the flight is detached."""
        self.pins = Pins()
        self.finish = False  # whether it goes on when its last caller has left
        self.doubted = False
        """Whether the store has said that a stamp of this stream changed; it may be the creation of that stamp."""
        self.superseded = False
        """Whether its answer is not to be stored: a newer one was asked for on purpose, or it would be dead at once."""
        self.stored = False  # whether its answer was stored
        self.deserted = False  # whether it was given up because its last caller left
        self.urgent = False  # whether another flight's factory waits for this one
        self.stream: Broadcast | None = None
        """The chunks of its answer, if that is a stream; its readers are callers too."""
        self.joins = 0  # callers that have joined so far
        self._waiters: dict[asyncio.Future[Any], bool] = {}  # future -> came late
        self._held = False
        self.answered = False  # whether its callers have their answer, or are all gone
        self._value: Any = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None  # of _error, as the factory left it
        self._handed = False  # _error itself has been given to a caller
        self._late_too = True
        self.failed = False  # whether the answer is an exception of the factory's own
        self.handed_out = False
        """Whether callers have an answer that the store has not acknowledged yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._limit = (0.0, "")
        self._due = 0.0
        self._done: list[asyncio.Future[None]] = []

    @property
    def called(self) -> bool:
        """Whether its factory has been called."""
        return self._limit[0] > 0

    @property
    def timed(self) -> bool:
        """Whether its factory is running, within a time."""
        return self._timer is not None

    @property
    def waiters(self) -> int:
        """How many callers wait for the answer, or read its stream."""
        return len(self._waiters) + (0 if self.stream is None else len(self.stream.readers))

    @property
    def joined_late(self) -> bool:
        """Whether a caller joined after the store was read."""
        return any(self._waiters.values())

    def reading(self) -> None:
        """Mark the start of a store read. Its result is valid for the present waiters; later callers are late."""
        self._waiters = dict.fromkeys(self._waiters, False)
        self.late = True

    def refuse_cycle(self) -> Flight | None:
        """Return the flight of the running factory, if any. Raises FlightCycleError if this flight waits for it."""
        running = working_flight()
        if running is not None and (self is running or self.reaches(running)):
            raise FlightCycleError(CYCLE)
        return running

    async def join(self, patience: float | None = None) -> Any:
        """Wait for the answer. Raises the factory's own exception, or `Retry`.

        A caller that has to wait longer than `patience` seconds gets `LATER`, and the flight goes on without callers.
        """
        running = self.refuse_cycle()
        if running is not None:
            running.depends_on.add(self)
            self.urgent = True
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        timer: asyncio.TimerHandle | None = None
        self.joins += 1
        if self.answered:  # before the first caller joined, as under an eager task factory, or while one was away
            self._settle(future, retry=self.deserted or (self._held and not self._late_too))
        else:
            self._waiters[future] = self.late
            if patience is not None:
                timer = loop.call_later(patience, self._part, future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.exception()  # answered and cancelled in one tick: marks the error as retrieved
            self._leave(future)
            raise
        except Exception as error:
            if not isinstance(error, Retry):  # callers may share it: without the frames of those that raised it before
                error.__traceback__ = self._traceback
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if running is not None:
                running.depends_on.discard(self)

    def _part(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            self._held = True
            del self._waiters[future]
            future.set_result(LATER)

    async def landed(self) -> None:
        """Wait until a landing flight is done; its answer is then found in the cache, if anywhere."""
        if self.answered:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.append(future)
        await future

    def reaches(self, other: Flight) -> bool:
        """Return whether this flight waits for `other`, directly or through others."""
        seen: set[Flight] = set()
        ahead = [self]
        while ahead:
            flight = ahead.pop()
            if flight is other or other in flight.group:
                return True
            if flight not in seen:
                seen.add(flight)
                ahead.extend(flight.depends_on)
        return False

    def hold(self) -> None:
        """Go on without callers."""
        self._held = True

    def detach(self) -> None:
        """Refuse new callers: the answer of this flight may be older than an invalidation."""
        self.joinable = False
        self.flights.release(self)
        self._tell_detached()

    def _tell_detached(self) -> None:
        told, self.on_detach = self.on_detach, None
        if told is not None:
            told()

    def hold_claim(self, give_up: Callable[[], None], *, in_place: bool) -> None:
        """Note our claim, `in_place` under the key itself; `give_up` releases it when the flight is detached."""
        self.claimed, self.on_detach = in_place, give_up

    def depend_on(self, tag: str, stamp_key: str) -> None:
        """Depend on a tag that the factory pins."""
        self.pins.expect(tag, stamp_key)
        self.join_keys |= {stamp_key}

    def lose_claim(self) -> None:
        """Refuse new callers and send late ones away: the key was written since the claim was put."""
        if not self.claimed or self.landing:
            return
        self.claimed = False
        self.on_detach = None
        self.detach()
        self._send_away(late_only=True)
        self.give_up_alone()

    def refuse(self) -> None:
        """Refuse new callers and send away those of the whole answer; readers of the stream go on."""
        self.detach()
        self._send_away(late_only=False)

    def _send_away(self, *, late_only: bool) -> None:
        for future in [future for future, late in self._waiters.items() if late or not late_only]:
            del self._waiters[future]
            self._settle(future, retry=True)

    def land(self) -> None:
        """Note that the factory has returned: no caller can join any more, and leaving cancels nothing."""
        self.landing = True
        self.joinable = False
        self.stop_timer()

    def start_timer(self, seconds: float, message: str) -> None:
        """Answer with TimeoutError after `seconds`, free the key and cancel the task, even if it ignores that."""
        self.stop_timer()
        self._limit = seconds, message
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        self._timer = loop.call_at(self._due, self._expire, message)

    def postpone(self, due: float) -> None:
        """Let the timer that runs strike at `due`, a later second of the loop; it is set anew when it strikes."""
        self._due = due

    def restart_timer(self) -> None:
        """Count the time of the factory from now: it has only begun to work."""
        for flight in self.group:
            if flight._timer is not None and not flight.answered:  # noqa: SLF001 - of this class
                flight.start_timer(*flight._limit)  # noqa: SLF001 - as above

    def stop_timer(self) -> None:
        """Let the flight take as long as it takes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self, message: str) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._due - _RESOLUTION:
            self._timer = loop.call_at(self._due, self._expire, message)
            return
        self.answer(error=TimeoutError(message))
        self._tell_detached()  # a factory that ignores its cancellation must not keep the key from other processes
        for other in self.group:
            if not other.timed:  # its turn in the batch has not come: another caller may compute it
                other.answer(error=Retry())
        if self.task is not None:
            self.task.cancel()

    def answer(self, value: Any = _NOTHING, *, error: BaseException | None = None, late_too: bool = True) -> None:
        """Give every waiter the value or the error; late ones `Retry` unless `late_too`. The first answer counts."""
        if self.answered:
            return
        self.answered = True
        self.failed = isinstance(error, Exception) and not isinstance(error, Retry)
        self.joinable = False
        self.stop_timer()
        self.flights.release(self)
        self._value, self._error, self._late_too = value, error, late_too
        self._traceback = None if error is None else error.__traceback__
        for future, late in self._waiters.items():
            self._settle(future, retry=late and not late_too)
        self._waiters.clear()
        for done in self._done:
            if not done.done():
                done.set_result(None)
        self._done.clear()
        stream, self.stream = self.stream, None  # readers hold it; the flight would keep its chunks
        if stream is not None:
            stream.end(error)

    def hand_out(self, value: Any) -> None:
        """Give the value to callers that came in time; late and new callers wait for `answer`."""
        self.handed_out, self._value = True, value
        for future in [future for future, late in self._waiters.items() if not late]:
            del self._waiters[future]
            self._settle(future, retry=False)

    def _settle(self, future: asyncio.Future[Any], *, retry: bool) -> None:
        error = self._error
        if future.done():
            return
        if retry:
            future.set_exception(Retry())
        elif error is None:
            future.set_result(self._value)
        elif isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(own_error(error) or error if self._handed else error)
            self._handed = True

    def _leave(self, future: asyncio.Future[Any]) -> None:
        self._waiters.pop(future, None)
        self.give_up_alone()

    def give_up_alone(self) -> None:
        """Cancel this flight if it has no waiters. Do not call while a caller may still join."""
        if self.waiters or self.landing or self._held or self.finish or self.answered:
            return
        # Out of the map first: a caller that comes before the task has noticed must not join a dying flight.
        self.detach()
        self.flights.abandoned(self)


_current: ContextVar[Flight | None] = ContextVar("cachecore_flight", default=None)
current_flight: Final[Callable[[], Flight | None]] = _current.get
"""Return the flight of the factory that runs in this context; the C function itself, since every miss asks."""


@contextmanager
def computing(flight: Flight) -> Iterator[None]:
    """Mark the code inside as the factory of `flight`."""
    token = _current.set(flight)
    try:
        yield
    finally:
        _current.reset(token)


def enter(flight: Flight | None) -> None:
    """Mark later calls of this context as calls of the factory of `flight`, or of none."""
    _current.set(flight)


def working_flight() -> Flight | None:
    """Return the flight of the running factory; None in a task that a factory left behind: no flight waits for it."""
    running = _current.get()
    return None if running is None or running.landing or running.answered else running
