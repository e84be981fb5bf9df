"""A computation up to the factory's return: its claim on the key, or the wait for the process that has it.

Order matters. The caller's read of entry and stamps comes first, then the claim, then the factory. The claim proves
that nothing was written in between, and the stamps are those from before the factory ran, so that a tag invalidated
while it runs makes its answer be born dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from cachecore.contract.errors import BackendError, BackendTimeout
from cachecore.contract.results import UNSET, Lookup
from cachecore.encoding.claim import ClaimMark, read_claim
from cachecore.engine import read as reading
from cachecore.engine.apart import computes_apart
from cachecore.engine.computation import ABSENT, Computation, Factory
from cachecore.engine.factories import awaited
from cachecore.engine.flights.claim import Claim, HolderWatch
from cachecore.engine.flights.flight import Flight, Retry, computing
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.publish import FlightAnswer, answer_found, publish, unstored_answer
from cachecore.engine.read import read
from cachecore.engine.scope import Scope
from cachecore.engine.stamp_keeper import StampKeeper
from cachecore.invalidation.rewind import REWOUND
from cachecore.invalidation.stamps import sound

_LONGEST_POLL: Final = 0.045
"""Seconds between two looks at another process's claim, a tenth more at most: no caller is 50 ms late."""
_LONGEST_FED_POLL: Final = 0.09
"""The same while the feed is live: it wakes the waiting callers when there is an entry, so looking only finds holders
that ended without one."""
_TRIES: Final = 3
_CLAIM_LIFE: Final = 86_400.0
"""Seconds for which a claim lies in the store, if its entry would lie there for ever."""


async def run(computation: Computation) -> None:
    """Compute, store, and answer the flight. An exception of the factory is the flight's answer."""
    flight = computation.flight
    if computation.alone:
        value, _ = await _value(computation)
        flight.answer(_left_out(computation) if value is ABSENT else unstored_answer(computation, value))
        return
    if not flight.late:
        # Callers that join from here on may have come after an invalidation that the first caller's read did not see.
        flight.reading()
    stored = False
    try:
        holder = await take_claim(computation)
        answer = served(computation)
        if holder is not None and answer is None:
            if computation.behind:
                flight.answer(error=Retry())
                return
            if not computes_apart():
                answer = await _outwait(computation, holder)
        if answer is not None:
            flight.answer(answer, late_too=False)
            return
        value, seconds = await _value(computation)
        if value is ABSENT:
            flight.answer(_left_out(computation))
        else:
            stored = flight.stored = await publish(computation, value, seconds)
    finally:
        await end_claim(computation, stored=stored)


async def end_claim(computation: Computation, *, stored: bool) -> None:
    """Give the claim up, if there is one: silently after an answer was `stored`, else with a mark."""
    claim = computation.claim
    if claim is not None:
        await (claim.done() if stored else claim.release())


async def take_claim(computation: Computation) -> ClaimMark | None:
    """Claim the key; return the claim of another process that is to be waited for, if there is one.

    Afterwards `computation.claim` is ours, or there is none: then the answer may be returned but not stored, unless
    there are bytes under the key to swap it from. `computation.snapshot` may be newer than before.
    """
    if computation.snapshot.batch is None:  # known from a copy in memory only
        await read_again(computation)
    try:
        for _ in range(_TRIES):
            snapshot = computation.snapshot
            # As a rule the next look is trusted again.
            if snapshot.error is not None and snapshot.error.reason == REWOUND:
                await read_again(computation)
                snapshot = computation.snapshot
            if snapshot.error is not None or served(computation) is not None:
                return None
            if not snapshot.claimable:
                holder = await _claim_beside(computation)
                if holder is not None or not computation.snapshot.claimable:
                    return holder
                await end_claim(computation, stored=True)  # the bytes went meanwhile: the key itself is to be claimed
                computation.claim = None
                continue
            mark = snapshot.claim
            if mark is not None and not mark.ended and computation.waits and snapshot.raw != computation.abandoned:
                return None if computation.unshared else mark
            # Stamps from the table of the feed may be out of date. They are read beside the claim, not after it: all
            # that counts is that both are there before the factory begins, and a round trip is saved.
            stamps = None
            if snapshot.known is not None:
                stamps = computation.state.coalescer.read(None, snapshot.tagset.stamp_keys)
            claim = _new_claim(computation, snapshot.key, in_place=True)
            try:
                won = await claim.acquire(snapshot.raw, guards=snapshot.reason in ("deleted", "claimed"))
                if won:
                    _hold(computation, claim)
                    if stamps is not None and (batch := await stamps).error is None:
                        # The earlier read of the key with the present stamps; the claim's swap has checked its bytes.
                        computation.snapshot = replace(snapshot, batch=batch, known=None)
                    return None
            finally:
                if stamps is not None:
                    stamps.cancel()
            await read_again(computation)
    except BackendError:
        pass
    return None


async def _claim_beside(computation: Computation) -> ClaimMark | None:
    """Put the claim under the lease key, because the bytes under the entry's key must stay."""
    engine = computation.scope.engine
    if engine.store.lease_ttl is None:
        return None
    place = computation.scope.keys.lease_key(computation.snapshot.key)
    base: bytes | None = None
    for _ in range(_TRIES):  # the holder may change between the two calls
        claim = _new_claim(computation, place, in_place=False)
        if await claim.acquire(base):
            _hold(computation, claim)
            # Another process may have stored its answer since the caller's read.
            await read_again(computation)
            return None
        (base,) = await engine.backend.get_many([place])
        mark = read_claim(base, place)
        if mark is not None and not mark.ended and base != computation.abandoned:
            return mark if computation.waits and not computation.unshared else None
    return None


def _new_claim(computation: Computation, place: str, *, in_place: bool) -> Claim:
    engine = computation.scope.engine
    life = engine.protection
    if in_place:
        life = max(life, _CLAIM_LIFE if computation.life is None else computation.life)
    return Claim(engine.claim_rules, place, in_place=in_place, life=life)


def _hold(computation: Computation, claim: Claim) -> None:
    flight = computation.flight
    computation.claim = claim
    claim.on_lost = flight.lose_claim
    flight.hold_claim(partial(_give_up, computation, claim), in_place=claim.in_place)


def _give_up(computation: Computation, claim: Claim) -> None:
    """Let others compute at once: this answer is not for callers that come after the invalidation of a tag."""
    loop = computation.state.loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(lambda: computation.state.spawn(claim.release(), "cachecore-claim"))


async def _outwait(computation: Computation, holder: ClaimMark) -> FlightAnswer | None:
    """Return the answer of another process; None if this one has to compute, with a claim if one could be had."""
    batch = computation.batch
    if batch is None:
        return await _wait_for(computation, holder)
    answer = await batch.outwait(computation, _wait_for(computation, holder, succeed=False))
    if answer is None:
        await take_claim(computation)
        answer = served(computation)
    return answer


async def _wait_for(computation: Computation, holder: ClaimMark, *, succeed: bool = True) -> FlightAnswer | None:
    """Wait for the answer of another process; return None if this one has to compute.

    Waits for one holder, or for its successor if it fell silent. Unless `succeed`, nothing is claimed, however the
    holder ended: other keys of a batch may still be waited for.
    """
    scope, flight = computation.scope, computation.flight
    engine, key = scope.engine, computation.snapshot.key
    scope.telemetry.counts.lease_waits += 1
    place = None if computation.snapshot.claimable else scope.keys.lease_key(key)
    watch = HolderWatch(
        holder,
        interval=engine.store.lease_ttl or 0.0,
        now=engine.monotonic(),
        age=engine.store_clock.now() - holder.time,
    )
    give_up = engine.monotonic() + computation.policy.factory_timeout
    wait = 0.01
    flight.following = True
    try:
        # Never while another key's factory waits for this one: it may hold a claim of its own, and two processes that
        # wait for each other's would wait for ever.
        while engine.monotonic() < give_up and not flight.urgent:
            # Polling with jitter: soon at first, since the entry may be on its way, then few enough commands.
            await computation.state.wakeups.wait(key, wait * (0.8 + 0.3 * engine.chance.random()))
            wait = min(2 * wait, _LONGEST_FED_POLL if engine.feed_state.live else _LONGEST_POLL)
            await read_again(computation, extra=() if place is None else (place,))
            snapshot = computation.snapshot
            answer = _waited_for(computation)
            if answer is not None or snapshot.batch is None:
                return answer
            if snapshot.error is not None:
                # A late look, and one that is not trusted, say as little as a holder that is silent; a store that
                # refuses will not have its answer.
                vague = isinstance(snapshot.error, BackendTimeout) or snapshot.error.reason == REWOUND
                if vague and watch.silence(engine.monotonic()) == "wait":
                    continue
                return None
            raw = snapshot.raw if place is None else snapshot.batch.values.get(place)
            mark = snapshot.claim if place is None else read_claim(raw, place)
            verdict = watch.judge(mark, present=raw is not None, now=engine.monotonic())
            if verdict == "wait":
                continue
            if verdict == "silent":
                computation.abandoned = raw
            if not succeed:
                return None
            # The first of the waiting processes gets the claim. After an end without an answer the others compute as
            # well, rather than in a row; after a silence they wait for the successor.
            successor = await take_claim(computation)
            if successor is None or verdict == "over":
                return _waited_for(computation)
    finally:
        flight.following = False
    return None


def _waited_for(computation: Computation) -> FlightAnswer | None:
    """Return the entry that another process has computed while this one waited, if it is there."""
    answer = served(computation)
    if answer is not None:
        answer.lookup = replace(answer.lookup, outcome="computed", tier=None, joined=True)
    return answer


async def read_again(computation: Computation, *, extra: tuple[str, ...] = ()) -> None:
    """Read entry and stamps as they are now, from the store."""
    computation.flight.reading()
    computation.snapshot = await read(computation.question, stamps_too=True, extra=extra)


def served(computation: Computation) -> FlightAnswer | None:
    """Return the stored answer that the latest read found, if it is fresh and new enough that none is computed."""
    snapshot = computation.snapshot
    if snapshot.state != "fresh" or snapshot.entry is None or not snapshot.entry.created > computation.newer_than:
        return None
    value = reading.load(computation.scope, snapshot)
    return None if value is UNSET else answer_found(computation.scope, snapshot, value)


async def _value(computation: Computation) -> tuple[Any, float]:
    """Return the value of the factory, alone or as one of a batch, and the seconds it took."""
    batch = computation.batch
    if batch is not None:
        return await batch.value(computation)
    await pin(computation)
    return await call([computation], partial(awaited, computation.factory))


async def call(computations: Sequence[Computation], factory: Factory) -> tuple[Any, float]:
    """Call `factory` once for these computations, within its time; return its value and the seconds it took.

    All of them have one view, one policy and one ttl, and have their pins.
    """
    first = computations[0]
    scope, flights = first.scope, [computation.flight for computation in computations]
    monotonic, limit = scope.engine.monotonic, first.policy.factory_timeout
    scope.telemetry.counts.factory_calls += 1
    keeper = StampKeeper(scope, first.state, flights, first.life)
    keeper.start()
    for flight in flights:
        flight.start_timer(limit, f"the factory did not answer within {limit:g} s")
    began = monotonic()
    try:
        with computing(first.flight):
            value = await factory()
        for flight in flights:
            flight.land()
    except BaseException as error:
        scope.telemetry.factory(monotonic() - began, failed=True)
        if first.behind and isinstance(error, Exception):  # no caller is there to be told
            scope.engine.unstored_log.warn_behind(scope.keys.namespace, first.factory, error)
        raise
    finally:
        keeper.stop()
    seconds = monotonic() - began
    scope.telemetry.factory(seconds, failed=False)
    if keeper.renewals:
        await keeper.settle()
    return value, seconds


def _left_out(computation: Computation) -> FlightAnswer:
    return FlightAnswer(computation.scope, Lookup(value=None, outcome="miss", key=computation.snapshot.key))


async def pin(computation: Computation) -> None:
    """Have a stamp for each tag before the factory reads the data that the tags stand for."""
    stamps = computation.snapshot.stamps()
    if stamps is None or computation.alone:
        return
    scope = computation.scope
    try:
        created = await scope.engine.create_stamps(stamps, computation.life, scope.permanent)
        computation.flight.pins.put(created)
    except BackendError as error:
        computation.snapshot = replace(computation.snapshot, error=error)  # without stamps nothing is stored


async def pin_tag(scope: Scope, state: LoopState, flight: Flight, tag: str) -> None:
    """Make the answer of `flight` depend on `tag` (as entries store it) from now on.

    A tag that cannot be read stays unpinned, and the answer will not be stored.
    """
    engine = scope.engine
    name = scope.name(tag, scope.keys.shard_of(flight.key) if engine.shards else None)
    flight.depend_on(tag, name)
    batch = await state.coalescer.read(None, (name,))
    if batch.error is not None or flight.pins.stamps[name] is not None:
        return
    try:
        read = {name: sound(batch.values[name])}
        created = await engine.create_stamps(read, scope.policy.ttl, scope.permanent)
    except BackendError:
        return
    flight.pins.settle(name, created[name])
