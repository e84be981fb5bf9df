"""The stamps of a computation are kept in the store while its factory runs.

A stamp lives about as long as the entries that carry it, and a factory may take longer: without this, its answer would
not be stored, because a stamp from before it ran is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cachecore.contract.errors import BackendError
from cachecore.engine.flights.flight import Flight
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.scope import Scope


class StampKeeper:
    """Keeps the pins of some flights alive. Belongs to one event loop.

    Args:
        flights: those with a running factory; they may pin further stamps meanwhile.
        life: seconds that their entries will live at most; None: for ever.
    """

    def __init__(self, scope: Scope, state: LoopState, flights: Sequence[Flight], life: float | None) -> None:
        self._scope = scope
        self._state = state
        self._flights = flights
        self._life = life
        self._timer: asyncio.TimerHandle | None = None
        self.renewals: set[asyncio.Task[None]] = set()
        """Those that `settle` waits for."""

    def start(self) -> None:
        """Prolong stamps that are not known to live long enough, now and whenever half of `life` is over."""
        engine, permanent = self._scope.engine, self._scope.permanent
        if not engine.extends:
            return  # there, stamps live for a day at least
        if not any(flight.pins.stamps for flight in self._flights):
            return  # the store could not tell the stamps, as while it is away: nothing will be stored
        if self._life is not None:
            self._timer = self._state.loop.call_later(self._life / 2, self.start)
        under_way = self._state.prolonging
        ours: dict[str, bytes] = {}
        for flight in self._flights:
            for key, stamp in engine.book.wanting(flight.pins.stamps, self._life, permanent).items():
                if (key, stamp) in under_way:
                    self.renewals.add(under_way[key, stamp])
                else:
                    ours[key] = stamp
        if ours:
            task = self._state.spawn(self._prolong(ours), "cachecore-stamps")
            self.renewals.add(task)
            under_way.update(dict.fromkeys(ours.items(), task))

    async def _prolong(self, stamps: dict[str, bytes]) -> None:
        scope, life = self._scope, self._life
        try:
            await scope.engine.book.prolong(scope.engine.backend, stamps, life=life, permanent=scope.permanent)
        except BackendError:
            pass  # counted where it happened; tried again before the answer is stored
        finally:
            for one in stamps.items():
                self._state.prolonging.pop(one, None)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def settle(self) -> None:
        """Wait for the renewals under way, so that storing the answer need not ask for them again."""
        tasks = [task for task in self.renewals if not task.done()]
        if tasks:
            await asyncio.wait(tasks)
