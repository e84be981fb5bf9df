"""The leader's work up to the factory's return: who computes a key, from which state of the store, and for how long.

Order matters. The lease is taken first, then entry and stamps are read again: another process may just have stored, and
what is read now is what the answer will be swapped from and stamped with. A tag invalidated while the factory runs
makes its answer be born dead.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cachecore.contract.errors import BackendError
from cachecore.contract.options import Policy
from cachecore.contract.results import UNSET, Unset
from cachecore.engine import read as reading
from cachecore.engine.flights.flight import Flight, Retry, computing
from cachecore.engine.flights.lease import Lease, ended
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.publish import FlightAnswer, finish, land_found, longest_life
from cachecore.engine.read import StoreRead, read
from cachecore.engine.scope import Scope
from cachecore.invalidation.stamps import sound

Factory = Callable[[], Awaitable[Any]]

_LONGEST_POLL: Final = 0.045
"""Seconds between two looks at another process's lease, a tenth more at most: who waits is never 50 ms late."""
_LONGEST_FED_POLL: Final = 0.09
"""The same while the feed is live: it wakes who waits for an entry, so that looking only finds holders that ended
without one."""


@dataclass(slots=True)
class Computation:
    """One key, its factory and the flight whose callers wait for it."""

    scope: Scope
    state: LoopState
    flight: Flight
    found: StoreRead
    """What was read of the key: by the caller at first, read again before the factory runs."""
    factory: Factory
    policy: Policy
    ttl: float | Unset | None = UNSET
    behind: bool = False
    """Whether it runs behind an answer already given: then it waits for no other process."""
    newer_than: float = -math.inf
    """Only an entry created later than this (store's Unix seconds) spares the computation; infinity: none does."""

    async def run(self) -> None:
        """Compute, store, and answer the flight. An exception of the factory is the flight's answer."""
        lease: Lease | None = None
        stored = False
        try:
            lease, holder = await self.take_lease()
            landing: FlightAnswer | None = None
            if holder is not None and lease is not None:
                if self.behind:
                    self.flight.answer(error=Retry())
                    return
                lease, landing = await self.wait_for(lease, holder)
            if lease is not None:
                self.flight.on_detach = partial(self.give_up, lease)
            if landing is None:
                landing = await self.reread()
            if landing is not None:
                stored = True
                self.flight.answer(landing, late_too=False)
                return
            value, seconds = await self._call()
            stored = await finish(
                self.scope, self.state, self.flight, self.found, self.policy, self.ttl, value, seconds
            )
        finally:
            if lease is not None:
                await lease.release(stored=stored)

    def give_up(self, lease: Lease) -> None:
        """Let others compute at once: what comes of this one is not for those who come after an invalidation."""
        loop = self.state.loop
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: self.state.spawn(lease.release(stored=False), "cachecore-lease"))

    async def take_lease(self) -> tuple[Lease | None, bytes | None]:
        """Return our lease, and who holds it if not we. No lease: nobody can be asked, so compute at once."""
        engine = self.scope.engine
        ttl = engine.store.lease_ttl
        if ttl is None or self.found.error is not None:
            return None, None
        lease = Lease(engine.backend, self.scope.keys.lease_key(self.found.key), ttl=ttl, token=engine.token)
        try:
            holder = await lease.acquire()
        except BackendError:
            return None, None
        if holder is None or self.behind:
            return lease, holder
        if self.newer_than == math.inf:
            return None, None  # who asks for a new answer does not wait for one that began before
        return lease, holder

    async def wait_for(
        self, lease: Lease, holder: bytes, *, succeed: bool = True
    ) -> tuple[Lease | None, FlightAnswer | None]:
        """Wait for the entry of another process's computation: for one holder, or its successor if it was killed.

        Who may not `succeed` a holder that has ended takes no lease, and waits for no successor either.
        """
        scope = self.scope
        engine, key = scope.engine, self.found.key
        scope.telemetry.counts.lease_waits += 1
        lease_key = scope.keys.lease_key(key)
        give_up = engine.monotonic() + self.policy.factory_timeout
        replaced = False
        wait = 0.01
        # Never while another key's factory waits for this one: it may hold a lease of its own, and two processes that
        # wait for each other's would wait for ever.
        while engine.monotonic() < give_up and not self.flight.urgent:
            # Polling with jitter: soon at first, since the entry may be on its way, then few enough commands.
            await self.state.wakeups.wait(key, wait * (0.8 + 0.3 * engine.chance.random()))
            wait = min(2 * wait, _LONGEST_FED_POLL if engine.feed_state.live else _LONGEST_POLL)
            self.flight.reading()
            found = self.found = await read(
                scope, self.state, key, self.found.tagset, stamps_too=True, extra=(lease_key,)
            )
            if found.error is not None or found.batch is None:
                return None, None
            landing = self._served()
            if landing is not None:
                return None, landing
            seen = found.batch.values.get(lease_key)
            if ended(seen, holder) or (seen != holder and (replaced or not succeed)):
                return None, None
            if seen != holder:
                replaced = True
                try:
                    successor = await lease.acquire()
                except BackendError:
                    return None, None
                if successor is None:
                    return lease, None
                holder = successor
        return None, None

    async def reread(self) -> FlightAnswer | None:
        """Read entry and stamps as they are now; return the entry if there is one to serve after all."""
        # Whoever joins from here on may have come after an invalidation that this read did not see.
        self.flight.reading()
        found = self.found
        if found.error is not None:
            return None
        self.found = await read(self.scope, self.state, found.key, found.tagset, stamps_too=True)
        return self._served()

    def _served(self) -> FlightAnswer | None:
        found = self.found
        if found.state != "fresh" or found.entry is None or not found.entry.created > self.newer_than:
            return None
        value = reading.load(self.scope, found)
        return None if value is UNSET else land_found(self.scope, found, value)

    async def _call(self) -> tuple[Any, float]:
        """Run the factory, within its time; return its value and the seconds it took."""
        engine, flight = self.scope.engine, self.flight
        await self.pin()
        limit = self.policy.factory_timeout
        flight.start_timer(limit, f"the factory did not answer within {limit:g} s")
        began = engine.monotonic()
        try:
            with computing(flight):
                value = await self.factory()
        except BaseException:
            self.scope.telemetry.factory(engine.monotonic() - began, failed=True)
            raise
        seconds = engine.monotonic() - began
        self.scope.telemetry.factory(seconds, failed=False)
        flight.land()
        return value, seconds

    async def pin(self) -> None:
        """Have a stamp for each tag before the factory reads what the tags stand for."""
        stamps = self.found.stamps()
        if stamps is None:
            return
        engine = self.scope.engine
        life = longest_life(self.policy, self.policy.ttl if isinstance(self.ttl, Unset) else self.ttl)
        try:
            self.flight.pins.update(await engine.create_stamps(stamps, self.scope.stamp_ttl(life)))
        except BackendError as error:
            self.found.error = error  # without stamps nothing is stored


async def pin_tag(scope: Scope, state: LoopState, flight: Flight, tag: str) -> None:
    """Make the answer of `flight` depend on `tag` (as entries store it) from now on.

    A tag that cannot be read stays unpinned, and the answer will not be stored.
    """
    engine = scope.engine
    name = scope.name(tag, scope.keys.shard_of(flight.key) if engine.shards else None)
    flight.pinned_tags.append(tag)
    flight.tags |= {name}
    flight.pins.setdefault(name, None)
    batch = await state.coalescer.read(None, (name,))
    if batch.error is not None or flight.pins[name] is not None:
        return
    try:
        created = await engine.create_stamps({name: sound(batch.values[name])}, scope.stamp_ttl(scope.policy.ttl))
    except BackendError:
        return
    if flight.pins[name] is None:  # the earliest counts
        flight.pins[name] = created[name]
