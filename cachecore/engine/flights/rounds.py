"""Refreshes of one key: those that come while one is under way share the next.

A refresh never joins a computation that began before it. But however many come at one moment, they need at most two:
the one under way, and the next, which begins when that has ended and which all later callers share.
"""

from __future__ import annotations

import asyncio

from cachecore.contract.errors import FlightCycleError
from cachecore.engine.flights.flight import CYCLE, Flight, working_flight

Place = tuple[str, tuple[str, ...]]
"""A key, and the stamp keys and kind of value that callers must have in common to share an answer."""


class Round:
    """One refresh that callers share until it begins."""

    __slots__ = ("_rounds", "_started", "place")

    def __init__(self, rounds: Rounds, place: Place) -> None:
        self.place = place
        self._rounds = rounds
        self._started: asyncio.Future[Flight | None] = asyncio.get_running_loop().create_future()

    async def flight(self) -> Flight | None:
        """Return its computation once that has begun; None if its first caller left before."""
        return await asyncio.shield(self._started)

    async def begin(self) -> None:
        """Wait until the earlier one has ended; from then on no caller can join."""
        await asyncio.sleep(0)  # all callers of this turn of the loop share one
        earlier = self._rounds.running.get(self.place)
        flight = None if earlier is None else await earlier.flight()
        if flight is not None:
            await flight.landed()
        del self._rounds.open[self.place]
        self._rounds.running[self.place] = self

    def start(self, flight: Flight) -> None:
        """Say which computation it is."""
        self._started.set_result(flight)
        if flight.task is None or flight.answered:
            self._end()
        else:
            flight.task.add_done_callback(lambda _: self._end())

    def give_up(self) -> None:
        """End before there was a computation: another caller takes it on."""
        if self._rounds.open.get(self.place) is self:
            del self._rounds.open[self.place]
        self._end()
        self._started.set_result(None)

    @property
    def known_flight(self) -> Flight | None:
        """Its computation, if that has begun."""
        return self._started.result() if self._started.done() else None

    def _end(self) -> None:
        if self._rounds.running.get(self.place) is self:
            del self._rounds.running[self.place]


class Rounds:
    """The refreshes of one event loop."""

    def __init__(self) -> None:
        self.open: dict[Place, Round] = {}
        """Those that can be joined."""
        self.running: dict[Place, Round] = {}

    def to_join(self, place: Place) -> Round | None:
        """Return the round that a caller may share; None: it opens one. Raises FlightCycleError."""
        running, earlier = working_flight(), self.running.get(place)
        flight = None if earlier is None else earlier.known_flight
        if running is not None and flight is not None and (flight is running or flight.reaches(running)):
            raise FlightCycleError(CYCLE)
        return self.open.get(place)

    def new(self, place: Place) -> Round:
        """Open a round."""
        made = self.open[place] = Round(self, place)
        return made
