"""A claim for programs that have only a get and a put: the answer, or the right to compute it until it is stored.

A claim is a computation whose factory waits until its holder stores an answer. So it has the parts of every
computation: one flight, one claim among processes, stamps from before. Its holder is the task or thread that took it.
Calls of the holder count as calls of the factory: for the claim's own key they raise FlightCycleError.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from cachecore.contract.results import UNSET, Computed, Lookup
from cachecore.engine.apart import apart, computes_apart
from cachecore.engine.bypass import bypassed
from cachecore.engine.flights.flight import Flight, Retry, current_flight, enter, working_flight
from cachecore.engine.lookup import compute
from cachecore.engine.publish import lookup_of, lookup_of_entry
from cachecore.engine.read import read, take
from cachecore.engine.scope import Scope, Ttl, question, stored_tags

_GRACE = 1.0
"""Seconds for which the flight outlives its claim: its callers are sent on, and not told of a timeout."""


_LOOK = 0.25
"""Seconds between two looks whether the thread that holds a claim is alive."""

Owner = asyncio.Task[Any] | threading.Thread | None
"""The task or thread that holds a claim; its end ends the claim."""


class TwoPhase:
    """One claim of one request. Belongs to one event loop; `end` alone may be called again and again."""

    def __init__(self, scope: Scope, key: str, tags: Sequence[str], ttl: Ttl) -> None:
        self.scope = scope
        self.key = key
        self.tags = tags
        self.ttl = ttl
        self.hit: Lookup[Any] | None = None
        """The answer, if there is one."""
        self.flight: Flight | None = None
        """The computation, from when it is granted until it ends."""
        self._outer: Flight | None = None
        self._asker: asyncio.Task[Lookup[Any]] | None = None
        self._granted: asyncio.Future[None] | None = None
        self._value: asyncio.Future[Any] | None = None
        self._owner: Owner = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether the right to compute is still this one's."""
        value = self._value
        return value is not None and not value.done() and not value.get_loop().is_closed()

    async def acquire(self, owner: Owner) -> None:
        """Find the answer or get the right to compute it; it ends with the task or thread `owner`, if there is one.

        Waits for a computation under way unless this context holds another one. Raises its exception, as any caller.
        """
        copy = self.scope.find_copy(self.key, stored_tags(self.tags) if self.tags else ())
        if bypassed():
            return
        if copy is not None:
            value = self.scope.reader.value_of(copy)
            if value is not UNSET:
                self.scope.telemetry.counts.hits_l1 += 1
                self.hit = lookup_of_entry(self.scope, copy.entry, value, "hit", "l1")
                return
        loop = asyncio.get_running_loop()
        self._granted, self._value, self._owner = loop.create_future(), loop.create_future(), owner
        with apart(computes_apart() or working_flight() is not None):
            asker = self._asker = loop.create_task(self._ask(), name="cachecore-claim")
        try:
            both: list[asyncio.Future[Any]] = [asker, self._granted]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.end()
            raise
        if not self._granted.done():
            self._value.cancel()
            self.hit = asker.result()
            return
        if isinstance(owner, asyncio.Task):
            owner.add_done_callback(self._owner_ended)
        elif owner is not None:
            self._watcher = loop.create_task(self._watch(owner), name="cachecore-claim")

    async def store(self, value: Any) -> bool:
        """Store the answer, hand it to waiting callers; return whether it was stored, False if the claim has ended."""
        flight, holding = self.flight, self._value
        if flight is None or holding is None or holding.done():
            return False
        holding.set_result(value if isinstance(value, Computed) else Computed(value))
        self.leave()
        await flight.landed()
        await self._finished()
        return flight.stored

    async def release(self) -> None:
        """Give the right back; waiting callers go on at once. Does nothing if the claim has ended."""
        self.leave()
        self.end()
        await self._finished()

    def end(self) -> None:
        """Let waiting callers go on, unless the answer is there. Leaves the context of the caller as it is."""
        asker, holding = self._asker, self._value
        if holding is not None and holding.done() and not holding.cancelled():
            return  # it is being stored; the task that holds the claim may end before that
        if holding is not None and not holding.done():
            holding.cancel()
        if asker is not None:
            asker.cancel()

    def end_from_anywhere(self) -> None:
        """End the claim: at once in its own event loop, and as soon as that one can elsewhere."""
        if self._value is None:
            return
        loop = self._value.get_loop()
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            self.end()
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self.end)

    def enter(self) -> None:
        """Count later calls of this context as calls of the factory."""
        if self.flight is not None:
            self._outer = current_flight()
            enter(self.flight)

    def leave(self) -> None:
        """Count later calls of this context as its own again."""
        if self.flight is not None and current_flight() is self.flight:
            enter(self._outer)

    async def _ask(self) -> Lookup[Any]:
        scope = self.scope
        asked = question(scope, scope.engine.state(), self.key, self.tags, self.ttl)
        snapshot = await read(asked)
        value = take(scope, snapshot)
        if value is not UNSET:
            return lookup_of(scope, snapshot, value, "hit")
        if snapshot.state == "fresh":  # its payload could not be decoded
            snapshot = snapshot.without_entry()
        return await compute(asked, snapshot, self._held)

    async def _held(self) -> Any:
        """Return the answer that the holder stores: the factory of the computation."""
        holding, granted, flight = self._value, self._granted, current_flight()
        if holding is None or granted is None or flight is None or holding.done():
            raise Retry
        limit = self.scope.policy.claim_timeout
        flight.start_timer(limit + _GRACE, f"the claim was held for more than {limit:g} s")
        self.flight = flight
        if not granted.done():
            granted.set_result(None)
        await asyncio.wait([holding], timeout=limit)
        if holding.done() and not holding.cancelled():
            return holding.result()
        self.end()
        raise Retry  # waiting callers look again, and one of them computes

    def _owner_ended(self, _: object) -> None:
        self.end()

    async def _finished(self) -> None:
        if isinstance(self._owner, asyncio.Task):
            self._owner.remove_done_callback(self._owner_ended)
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        if self._asker is not None:
            self._asker.cancel()
            await asyncio.wait([self._asker])
            if not self._asker.cancelled():
                self._asker.exception()  # the holder has the value, or gave it up

    async def _watch(self, thread: threading.Thread) -> None:
        """End the claim of a thread that has ended: nothing else tells of that."""
        while self._value is not None and not self._value.done():
            if not thread.is_alive():
                self.end()
                return
            await asyncio.wait([self._value], timeout=_LOOK)
