"""The leader's work up to the factory's return: who computes a key, from which state of the store, and for how long.

Order matters. The lease is taken first, then entry and stamps are read again: another process may just have stored, and
what is read now is what the answer will be swapped from and stamped with. A tag invalidated while the factory runs
makes its answer be born dead.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Final

from cachecore.contract.errors import BackendError
from cachecore.contract.results import UNSET
from cachecore.engine import read as reading
from cachecore.engine.computation import Computation
from cachecore.engine.flights.flight import Flight, Retry, computing
from cachecore.engine.flights.lease import Lease, ended
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.publish import FlightAnswer, answer_found, longest_life, publish
from cachecore.engine.read import read
from cachecore.engine.scope import Scope
from cachecore.invalidation.stamps import sound

_LONGEST_POLL: Final = 0.045
"""Seconds between two looks at another process's lease, a tenth more at most: who waits is never 50 ms late."""
_LONGEST_FED_POLL: Final = 0.09
"""The same while the feed is live: it wakes who waits for an entry, so that looking only finds holders that ended
without one."""


async def run(computation: Computation) -> None:
    """Compute, store, and answer the flight. An exception of the factory is the flight's answer."""
    lease: Lease | None = None
    stored = False
    try:
        lease, holder = await take_lease(computation)
        answer: FlightAnswer | None = None
        if holder is not None and lease is not None:
            if computation.behind:
                computation.flight.answer(error=Retry())
                return
            lease, answer = await wait_for(computation, lease, holder)
        if lease is not None:
            computation.flight.on_detach = partial(give_up, computation, lease)
        if answer is None:
            answer = await reread(computation)
        if answer is not None:
            stored = True
            computation.flight.answer(answer, late_too=False)
            return
        value, seconds = await _call(computation)
        stored = await publish(computation, value, seconds)
    finally:
        if lease is not None:
            await lease.release(stored=stored)


def give_up(computation: Computation, lease: Lease) -> None:
    """Let others compute at once: what comes of this one is not for those who come after an invalidation."""
    loop = computation.state.loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(lambda: computation.state.spawn(lease.release(stored=False), "cachecore-lease"))


async def take_lease(computation: Computation) -> tuple[Lease | None, bytes | None]:
    """Return our lease, and who holds it if not we. No lease: nobody can be asked, so compute at once."""
    engine = computation.scope.engine
    ttl = engine.store.lease_ttl
    if ttl is None or computation.found.error is not None:
        return None, None
    lease = Lease(engine.backend, computation.scope.keys.lease_key(computation.found.key), ttl=ttl, token=engine.token)
    try:
        holder = await lease.acquire()
    except BackendError:
        return None, None
    if holder is None or computation.behind:
        return lease, holder
    if computation.newer_than == math.inf:
        return None, None  # who asks for a new answer does not wait for one that began before
    return lease, holder


async def wait_for(
    computation: Computation, lease: Lease, holder: bytes, *, succeed: bool = True
) -> tuple[Lease | None, FlightAnswer | None]:
    """Wait for the entry of another process's computation: for one holder, or its successor if it was killed.

    Who may not `succeed` a holder that has ended takes no lease, and waits for no successor either.
    """
    scope = computation.scope
    engine, key = scope.engine, computation.found.key
    scope.telemetry.counts.lease_waits += 1
    lease_key = scope.keys.lease_key(key)
    give_up = engine.monotonic() + computation.policy.factory_timeout
    replaced = False
    wait = 0.01
    # Never while another key's factory waits for this one: it may hold a lease of its own, and two processes that
    # wait for each other's would wait for ever.
    while engine.monotonic() < give_up and not computation.flight.urgent:
        # Polling with jitter: soon at first, since the entry may be on its way, then few enough commands.
        await computation.state.wakeups.wait(key, wait * (0.8 + 0.3 * engine.chance.random()))
        wait = min(2 * wait, _LONGEST_FED_POLL if engine.feed_state.live else _LONGEST_POLL)
        computation.flight.reading()
        found = computation.found = await read(
            scope, computation.state, key, computation.found.tagset, stamps_too=True, extra=(lease_key,)
        )
        if found.error is not None or found.batch is None:
            return None, None
        answer = _served(computation)
        if answer is not None:
            return None, answer
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


async def reread(computation: Computation) -> FlightAnswer | None:
    """Read entry and stamps as they are now; return the entry if there is one to serve after all."""
    # Whoever joins from here on may have come after an invalidation that this read did not see.
    computation.flight.reading()
    found = computation.found
    if found.error is not None:
        return None
    computation.found = await read(computation.scope, computation.state, found.key, found.tagset, stamps_too=True)
    return _served(computation)


def _served(computation: Computation) -> FlightAnswer | None:
    found = computation.found
    if found.state != "fresh" or found.entry is None or not found.entry.created > computation.newer_than:
        return None
    value = reading.load(computation.scope, found)
    return None if value is UNSET else answer_found(computation.scope, found, value)


async def _call(computation: Computation) -> tuple[Any, float]:
    """Run the factory, within its time; return its value and the seconds it took."""
    engine, flight = computation.scope.engine, computation.flight
    await pin(computation)
    limit = computation.policy.factory_timeout
    flight.start_timer(limit, f"the factory did not answer within {limit:g} s")
    began = engine.monotonic()
    try:
        with computing(flight):
            value = await computation.factory()
    except BaseException:
        computation.scope.telemetry.factory(engine.monotonic() - began, failed=True)
        raise
    seconds = engine.monotonic() - began
    computation.scope.telemetry.factory(seconds, failed=False)
    flight.land()
    return value, seconds


async def pin(computation: Computation) -> None:
    """Have a stamp for each tag before the factory reads what the tags stand for."""
    stamps = computation.found.stamps()
    if stamps is None:
        return
    engine = computation.scope.engine
    life = longest_life(computation.policy, computation.chosen_ttl)
    try:
        computation.flight.pins.update(await engine.create_stamps(stamps, computation.scope.stamp_ttl(life)))
    except BackendError as error:
        computation.found.error = error  # without stamps nothing is stored


async def pin_tag(scope: Scope, state: LoopState, flight: Flight, tag: str) -> None:
    """Make the answer of `flight` depend on `tag` (as entries store it) from now on.

    A tag that cannot be read stays unpinned, and the answer will not be stored.
    """
    engine = scope.engine
    name = scope.name(tag, scope.keys.shard_of(flight.key) if engine.shards else None)
    flight.pinned_tags.append(tag)
    flight.join_keys |= {name}
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
