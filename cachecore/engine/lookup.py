"""How a request that memory cannot answer is answered: store, stale, computation, rescue, in this order.

Functions over a `Scope`; `Cache` is the face. Nothing here raises because the store is sick: a read that fails is a
miss, and the factory's own exception is the only one that comes out of a computation no old answer can cover.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

from cachecore.contract.errors import FlightCycleError
from cachecore.contract.results import UNSET, Lookup
from cachecore.engine import read as reading
from cachecore.engine.apart import computes_apart
from cachecore.engine.computation import Computation, Factory
from cachecore.engine.compute import run
from cachecore.engine.flights.flight import LATER, Flight, Retry
from cachecore.engine.publish import lookup_of, lookup_of_entry
from cachecore.engine.read import read, read_own, take
from cachecore.engine.scope import Question, Scope, TagSet
from cachecore.engine.store_read import StoreRead
from cachecore.memory.copies import Copy

OldOutcome = Literal["stale", "rescued"]

MOST_RETRIES: Final = 3
"""After so many flights that a caller came too late for, it starts its own."""


async def lookup(
    question: Question,
    copy: Copy | None,
    factory: Factory | None,
    *,
    stale: bool = False,
    behind: Factory | None = None,
) -> Lookup[Any]:
    """Return the answer to `question`; `copy` is the copy in memory that may be served, if there is one.

    `behind` computes instead of `factory` where the caller is answered already.
    """
    scope = question.scope
    if copy is not None:
        known = lookup_copy(scope, question.key, question.tagset, copy)
        if known is not None:
            if factory is not None and copy.claim_refresh(scope.engine.monotonic()):
                nothing = StoreRead(question.key, question.tagset, None)
                _refresh_behind(question, nothing, behind or factory, copy.entry.created)
            return known
    snapshot = await read_own(question)
    hit = take(scope, snapshot)
    if hit is not UNSET:
        return lookup_of(scope, snapshot, hit, "hit")
    return await on_miss(question, snapshot, factory, stale=stale, behind=behind)


def lookup_copy(scope: Scope, key: str, tagset: TagSet, copy: Copy) -> Lookup[Any] | None:
    """Return the answer in a copy that may be served, counted as a hit; None if it cannot be decoded. Any thread."""
    value = scope.reader.value_of(copy)
    if value is UNSET:
        return None
    scope.telemetry.counts.hits_l1 += 1
    seen = StoreRead(key, tagset, None, copy.raw(), copy.entry, state="fresh", reason=None)
    return lookup_of_entry(scope, copy.entry, value, "hit", "l1", version=seen)


async def on_miss(
    question: Question,
    snapshot: StoreRead,
    factory: Factory | None,
    *,
    stale: bool = False,
    behind: Factory | None = None,
) -> Lookup[Any]:
    """Return an answer where `snapshot`, a read of the store, is no fresh one; `behind` as for `lookup`."""
    if snapshot.state == "fresh":  # so its payload could not be decoded
        snapshot = snapshot.without_entry()
    scope = question.scope
    if snapshot.error is not None:
        # While the store was late, a flight of this key may have ended, and left its answer in memory.
        copy = scope.find_copy(question.key, question.tagset.tags)
        known = None if copy is None else lookup_copy(scope, question.key, question.tagset, copy)
        if known is not None:
            return known
    if snapshot.state == "stale" or (stale and snapshot.entry is not None):
        value = reading.load(scope, snapshot)
        if value is not UNSET:
            if factory is not None:
                _refresh_behind(question, snapshot, behind or factory, -math.inf)
            return serve_stale(scope, snapshot, value, "stale")
    if factory is None:
        scope.telemetry.counts.misses += 1
        reason = snapshot.reason or "expired"
        return Lookup(value=None, outcome="miss", key=question.key, reason=reason, version=snapshot)
    return await compute(question, snapshot, factory)


Begin = Callable[[Computation], None]
"""Begins a computation, now or in the next turn of the loop, in a task of its own or together with others."""


def by_itself(computation: Computation) -> None:
    """Begin a computation in a task of its own."""
    computation.state.flights.run([computation.flight], partial(run, computation))


def start(
    question: Question,
    snapshot: StoreRead,
    factory: Callable[..., Awaitable[Any]],
    *,
    newer_than: float = -math.inf,
    alone: bool = False,
    begin: Begin = by_itself,
) -> Flight:
    """Start the flight of a key; its first caller must join it at once.

    One that is `alone` no other caller joins and nothing of it is stored; one of a caller that computes apart is only
    not joined.
    """
    beside = alone or computes_apart()
    flights = question.state.flights
    flight = (flights.open_alone if beside else flights.open)(question.key, question.tagset.concerns)
    flight.finish = question.scope.policy.finish
    begin(Computation(question, flight, snapshot, factory, newer_than=newer_than, alone=alone))
    return flight


async def compute(
    question: Question, snapshot: StoreRead, factory: Callable[..., Awaitable[Any]], begin: Begin = by_itself
) -> Lookup[Any]:
    """Return the answer of the key's flight: one under way, or one started here, which `begin` begins."""
    scope, key, flights = question.scope, question.key, question.state.flights
    flights.refuse_cycle(key, question.tagset.concerns)
    if snapshot.entry is not None and scope.engine.recently_failed(key):
        value = reading.load(scope, snapshot)
        if value is not UNSET:
            return serve_stale(scope, snapshot, value, "rescued")
    retries = 0
    alone = waited = False
    while True:
        share = retries < MOST_RETRIES and not alone and not computes_apart()
        flight = flights.to_join(key, question.tagset.concerns) if share else None
        if flight is not None and scope.engine.unshared.lately(scope.keys.namespace, factory):
            flight, alone = None, True
        mine = flight is None
        try:
            if flight is None:
                flight = start(question, snapshot, factory, alone=alone, begin=begin)
            elif flight.landing:
                await flight.landed()
                raise Retry
            answer = await flight.join(None if snapshot.entry is None else scope.policy.soft_timeout)
            if answer is LATER:
                old = await old_answer(question, snapshot, "stale")
                if old is not None:
                    return old
                answer = await flight.join()
        except Retry:
            retries += 1
            waited |= flight is not None and flight.called
            snapshot = await read(question)
            value = take(scope, snapshot, counted=not waited)
            if value is not UNSET:
                return joined_late(scope, snapshot, value) if waited else lookup_of(scope, snapshot, value, "hit")
            continue
        except FlightCycleError:
            raise
        except Exception as error:
            frames = error.__traceback__
            rescued = await rescue(question, snapshot, error)
            if rescued is None:
                scope.telemetry.counts.failed += 1
                error.__traceback__ = frames  # callers that share it have raised it meanwhile
                raise
            return rescued
        lookup: Lookup[Any] | None = answer.lookup if mine else answer.for_joiner()
        if lookup is None:
            alone = True
            continue
        if lookup.outcome == "miss" and not mine:
            continue  # the factory of another caller's batch left this key out, which says nothing about ours
        if lookup.outcome == "hit":
            oldest = scope.policy.max_age
            if oldest is not None and (lookup.age or 0.0) > oldest:
                alone = True  # found by a flight that serves callers of an older one
                continue
        return _counted(scope, lookup)


def _counted(scope: Scope, lookup: Lookup[Any]) -> Lookup[Any]:
    counts = scope.telemetry.counts
    if lookup.outcome == "hit":
        counts.hits_l2 += 1
    elif lookup.outcome == "miss":
        counts.misses += 1
    else:
        counts.computed += 1
        counts.joined += lookup.joined
    return lookup


def joined_late(scope: Scope, snapshot: StoreRead, value: Any) -> Lookup[Any]:
    """Return the stored answer of a computation that this caller has waited for, counted by its outcome."""
    scope.telemetry.counts.computed += 1
    scope.telemetry.counts.joined += 1
    return replace(lookup_of(scope, snapshot, value, "computed"), tier=None, joined=True)


async def rescue(question: Question, snapshot: StoreRead, error: Exception) -> Lookup[Any] | None:
    """Return the old answer, its stamps verified again now, because computing a new one failed with `error`.

    None if there is none, or if `error` is one that no old answer may cover.
    """
    scope = question.scope
    if not _may_rescue(scope, error):
        return None
    old = await old_answer(question, snapshot, "rescued")
    if old is not None and old.outcome == "rescued":
        scope.engine.note_failure(question.key, scope.policy.retry_after)
    return old


def _may_rescue(scope: Scope, error: Exception) -> bool:
    try:
        return scope.rescue_if is None or bool(scope.rescue_if(error))
    except Exception:  # noqa: BLE001 - the application's own code: one that raises has allowed nothing
        return False


async def old_answer(
    question: Question, snapshot: StoreRead, outcome: Literal["stale", "rescued"]
) -> Lookup[Any] | None:
    """Return the stored answer, fresh or as `outcome`; None if it cannot be served, or not be verified."""
    scope = question.scope
    again = await read(question)
    if again.error is not None and scope.policy.rescue_unverified:
        again = snapshot
    hit = take(scope, again)  # another process may have stored one meanwhile
    if hit is not UNSET:
        return lookup_of(scope, again, hit, "hit")
    value = reading.load(scope, again)
    return None if value is UNSET else serve_stale(scope, again, value, outcome)


def _refresh_behind(question: Question, snapshot: StoreRead, factory: Factory, newer_than: float) -> None:
    """Start a background computation, unless one is under way or there are too many."""
    if may_refresh(question):
        computation = background(question, snapshot, factory, newer_than)
        by_itself(computation)
        run_behind(question, computation.flight)


def background(
    question: Question, snapshot: StoreRead, factory: Callable[..., Awaitable[Any]], newer_than: float
) -> Computation:
    """Return a computation behind an answer already given, with a flight that callers can join; it is to be begun."""
    flight = question.state.flights.open(question.key, question.tagset.concerns)
    return Computation(question, flight, snapshot, factory, behind=True, newer_than=newer_than)


def may_refresh(question: Question) -> bool:
    """Return whether a refresh behind may start: none is under way, there are not too many, and none failed lately."""
    engine, state, key = question.scope.engine, question.state, question.key
    return state.background < engine.store.max_background and not (
        state.flights.get(key) or engine.recently_failed(key)
    )


def run_behind(question: Question, *flights: Flight) -> None:
    """Let `flights`, which one task computes, go on without callers, counted as one background refresh."""
    scope, state = question.scope, question.state
    for flight in flights:
        flight.hold()
    task = flights[0].task
    if task is None:
        return
    state.background += 1

    def ended(_: object) -> None:
        state.background -= 1
        for flight in flights:
            if flight.failed:
                scope.engine.note_failure(flight.key, scope.policy.retry_after)

    task.add_done_callback(ended)


def serve_stale(scope: Scope, snapshot: StoreRead, value: Any, outcome: OldOutcome) -> Lookup[Any]:
    """Return a stale answer, counted by its outcome."""
    counts = scope.telemetry.counts
    if outcome == "stale":
        counts.stale += 1
    else:
        counts.rescued += 1
    lookup = lookup_of(scope, snapshot, value, outcome)
    if lookup.fresh_for is not None:
        scope.telemetry.stale_served(-lookup.fresh_for)
    return lookup
