"""How a request that memory cannot answer is answered: store, stale, computation, rescue, in this order.

Functions over a `Scope`; `Cache` is the face. Nothing here raises because the store is sick: a read that fails is a
miss, and the factory's own exception is the only one that comes out of a computation no old answer can cover.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

from cachecore.contract.errors import FlightCycleError
from cachecore.contract.results import UNSET, Lookup, Unset
from cachecore.engine import read as reading
from cachecore.engine.apart import computes_apart
from cachecore.engine.computation import Computation, Factory
from cachecore.engine.compute import run
from cachecore.engine.flights.flight import LATER, Flight, Retry
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.publish import lookup_of, lookup_of_entry
from cachecore.engine.read import read, take
from cachecore.engine.scope import Scope, TagSet
from cachecore.engine.store_read import StoreRead
from cachecore.memory.copies import Copy

Ttl = float | Unset | None

MOST_RETRIES: Final = 3
"""After so many flights that a caller came too late for, it starts its own."""


async def lookup(
    scope: Scope,
    key: str,
    tagset: TagSet,
    copy: Copy | None,
    factory: Factory | None,
    ttl: Ttl,
    *,
    stale: bool = False,
    behind: Factory | None = None,
) -> Lookup[Any]:
    """Return the answer under `key`; `copy` is the copy in memory that may be served, if there is one.

    `behind` computes instead of `factory` where the caller is answered already.
    """
    engine = scope.engine
    state = engine.state()
    if copy is not None:
        known = lookup_copy(scope, key, tagset, copy)
        if known is not None:
            if factory is not None and copy.claim_refresh(engine.monotonic()):
                nothing = StoreRead(key, tagset, None)
                _refresh_behind(scope, state, nothing, behind or factory, ttl, copy.entry.created)
            return known
    found = await read(scope, state, key, tagset)
    hit = take(scope, found)
    if hit is not UNSET:
        return lookup_of(scope, found, hit, "hit")
    return await on_miss(scope, state, found, factory, ttl, stale=stale, behind=behind)


def lookup_copy(scope: Scope, key: str, tagset: TagSet, copy: Copy) -> Lookup[Any] | None:
    """Return the answer in a copy that may be served, counted as a hit; None if it cannot be decoded. Any thread."""
    value = scope.reader.value_of(copy)
    if value is UNSET:
        return None
    scope.telemetry.counts.hits_l1 += 1
    seen = StoreRead(key, tagset, None, copy.raw(), copy.entry, state="fresh", reason=None)
    return lookup_of_entry(scope, copy.entry, value, "hit", "l1", version=seen)


async def on_miss(
    scope: Scope,
    state: LoopState,
    found: StoreRead,
    factory: Factory | None,
    ttl: Ttl,
    *,
    stale: bool = False,
    behind: Factory | None = None,
) -> Lookup[Any]:
    """Return an answer where the store has `found` no fresh one; `behind` as for `lookup`."""
    if found.state == "fresh":  # so its payload could not be decoded
        found = found.without_entry()
    key, counts = found.key, scope.telemetry.counts
    if found.state == "stale" or (stale and found.entry is not None):
        value = reading.load(scope, found)
        if value is not UNSET:
            if factory is not None:
                _refresh_behind(scope, state, found, behind or factory, ttl, -math.inf)
            return serve_stale(scope, found, value, "stale")
    if factory is None:
        counts.misses += 1
        return Lookup(value=None, outcome="miss", key=key, reason=found.reason or "expired", version=found)
    return await compute(scope, state, found, factory, ttl)


def start(
    scope: Scope,
    state: LoopState,
    found: StoreRead,
    factory: Factory,
    ttl: Ttl,
    *,
    behind: bool = False,
    newer_than: float = -math.inf,
    alone: bool = False,
) -> Flight:
    """Start the flight of a key; its first caller must join it at once.

    One that is `alone` no other caller joins and nothing of it is stored; one of a caller that computes apart is only
    not joined.
    """
    concerns = scope.concerns(found.tagset)
    beside = alone or (computes_apart() and not behind)
    flight = state.flights.open_alone(found.key, concerns) if beside else state.flights.open(found.key, concerns)
    flight.finish = scope.policy.finish
    computation = Computation(scope, state, flight, found, factory, scope.policy, ttl, behind, newer_than, alone)
    state.flights.run([flight], partial(run, computation))
    return flight


async def compute(scope: Scope, state: LoopState, found: StoreRead, factory: Factory, ttl: Ttl) -> Lookup[Any]:
    """Return the answer of the key's flight: one under way, or one started here."""
    key, counts = found.key, scope.telemetry.counts
    state.flights.refuse_cycle(key, scope.concerns(found.tagset))
    if found.entry is not None and scope.engine.recently_failed(key):
        value = reading.load(scope, found)
        if value is not UNSET:
            return serve_stale(scope, found, value, "rescued")
    retries = 0
    alone = waited = False
    while True:
        share = retries < MOST_RETRIES and not alone and not computes_apart()
        flight = state.flights.to_join(key, scope.concerns(found.tagset)) if share else None
        if flight is not None and scope.engine.unshared.lately(scope.keys.namespace, factory):
            flight, alone = None, True
        mine = flight is None
        try:
            if flight is None:
                flight = start(scope, state, found, factory, ttl, alone=alone)
            elif flight.landing:
                await flight.landed()
                raise Retry
            answer = await flight.join(None if found.entry is None else scope.policy.soft_timeout)
            if answer is LATER:
                old = await old_answer(scope, state, found, "stale")
                if old is not None:
                    return old
                answer = await flight.join()
        except Retry:
            retries += 1
            waited |= flight is not None and flight.called
            found = await read(scope, state, key, found.tagset)
            value = take(scope, found, counted=not waited)
            if value is not UNSET:
                return joined_late(scope, found, value) if waited else lookup_of(scope, found, value, "hit")
            continue
        except FlightCycleError:
            raise
        except Exception as error:
            frames = error.__traceback__
            rescued = await rescue(scope, state, found, error)
            if rescued is None:
                counts.failed += 1
                error.__traceback__ = frames  # callers that share it have raised it meanwhile
                raise
            return rescued
        lookup: Lookup[Any] | None = answer.lookup if mine else answer.for_joiner()
        if lookup is None:
            alone = True
            continue
        if lookup.outcome == "miss":
            continue  # a batch's factory left this key out, which says nothing about ours
        if lookup.outcome == "hit":
            oldest = scope.policy.max_age
            if oldest is not None and (lookup.age or 0.0) > oldest:
                alone = True  # found by a flight whose callers take an older one
                continue
        return _counted(scope, lookup)


def _counted(scope: Scope, lookup: Lookup[Any]) -> Lookup[Any]:
    counts = scope.telemetry.counts
    if lookup.outcome == "hit":
        counts.hits_l2 += 1
    else:
        counts.computed += 1
        counts.joined += lookup.joined
    return lookup


def joined_late(scope: Scope, found: StoreRead, value: Any) -> Lookup[Any]:
    """Return the stored answer of a computation that this caller has waited for, counted as what it is."""
    scope.telemetry.counts.computed += 1
    scope.telemetry.counts.joined += 1
    return replace(lookup_of(scope, found, value, "computed"), tier=None, joined=True)


async def rescue(scope: Scope, state: LoopState, found: StoreRead, error: Exception) -> Lookup[Any] | None:
    """Return the old answer, its stamps verified again now, because computing a new one failed with `error`.

    None if there is none, or if `error` is one that no old answer may cover.
    """
    if not _may_rescue(scope, error):
        return None
    old = await old_answer(scope, state, found, "rescued")
    if old is not None and old.outcome == "rescued":
        scope.engine.note_failure(found.key, scope.policy.retry_after)
    return old


def _may_rescue(scope: Scope, error: Exception) -> bool:
    try:
        return scope.rescue_if is None or bool(scope.rescue_if(error))
    except Exception:  # noqa: BLE001 - the application's own code: one that raises has allowed nothing
        return False


async def old_answer(
    scope: Scope, state: LoopState, found: StoreRead, outcome: Literal["stale", "rescued"]
) -> Lookup[Any] | None:
    """Return what is in the store now, fresh or as `outcome`; None if that cannot be served, or not be verified."""
    again = await read(scope, state, found.key, found.tagset)
    if again.error is not None and scope.policy.rescue_unverified:
        again = found
    hit = take(scope, again)  # somebody may have stored one meanwhile
    if hit is not UNSET:
        return lookup_of(scope, again, hit, "hit")
    value = reading.load(scope, again)
    return None if value is UNSET else serve_stale(scope, again, value, outcome)


def _refresh_behind(
    scope: Scope, state: LoopState, found: StoreRead, factory: Factory, ttl: Ttl, newer_than: float
) -> None:
    """Start a computation that nobody waits for, unless one is under way or there are too many."""
    if not may_refresh(scope, state, found.key):
        return
    run_behind(scope, state, start(scope, state, found, factory, ttl, behind=True, newer_than=newer_than))


def may_refresh(scope: Scope, state: LoopState, key: str) -> bool:
    """Return whether a refresh behind may start: none is under way, there are not too many, and none failed lately."""
    engine = scope.engine
    return state.background < engine.store.max_background and not (
        state.flights.get(key) or engine.recently_failed(key)
    )


def run_behind(scope: Scope, state: LoopState, flight: Flight) -> None:
    """Let `flight` go on although nobody waits, counted as a refresh behind."""
    engine = scope.engine
    flight.hold()
    state.background += 1
    if flight.task is None:
        return

    def ended(_: object) -> None:
        state.background -= 1
        if flight.failed:
            engine.note_failure(flight.key, scope.policy.retry_after)

    flight.task.add_done_callback(ended)


def serve_stale(scope: Scope, found: StoreRead, value: Any, outcome: Literal["stale", "rescued"]) -> Lookup[Any]:
    """Return a stale answer, counted as what it is."""
    counts = scope.telemetry.counts
    if outcome == "stale":
        counts.stale += 1
    else:
        counts.rescued += 1
    lookup = lookup_of(scope, found, value, outcome)
    if lookup.fresh_for is not None:
        scope.telemetry.stale_served(-lookup.fresh_for)
    return lookup
