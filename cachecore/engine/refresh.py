"""`refresh`: an answer computed anew, even if one is stored or under way."""

from __future__ import annotations

import math
from typing import Any

from cachecore.engine.apart import computes_apart
from cachecore.engine.computation import Factory
from cachecore.engine.flights.flight import Flight, Retry
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.flights.rounds import Round
from cachecore.engine.lookup import Ttl, start
from cachecore.engine.publish import FlightAnswer
from cachecore.engine.read import read
from cachecore.engine.scope import Scope, TagSet
from cachecore.engine.store_read import StoreRead


async def refresh(scope: Scope, key: str, tagset: TagSet, factory: Factory, ttl: Ttl) -> Any:
    """Return a new answer, of a computation that begins now or later. Raises the factory's own exception."""
    state, counts = scope.engine.state(), scope.telemetry.counts
    if computes_apart():
        answer: FlightAnswer = await (await _started(scope, state, key, tagset, factory, ttl)).join()
        counts.computed += 1
        return answer.lookup.value
    place = (key, scope.concerns(tagset))
    while True:
        shared = state.rounds.to_join(place)
        if shared is None:
            flight = await _begun(scope, state, state.rounds.new(place), tagset, factory, ttl)
            answer = await flight.join()
            counts.computed += 1
            return answer.lookup.value
        joined = await shared.flight()
        if joined is None:
            continue
        try:
            answer = await joined.join()
        except Retry:  # its first caller has left
            continue
        copy = answer.for_joiner()
        if copy is None:
            break
        counts.computed += 1
        counts.joined += 1
        return copy.value
    # Its value cannot be copied: each caller computes for itself.
    flight = start(scope, state, StoreRead(key, tagset, None), factory, ttl, newer_than=math.inf, alone=True)
    answer = await flight.join()
    counts.computed += 1
    return answer.lookup.value


async def _begun(scope: Scope, state: LoopState, mine: Round, tagset: TagSet, factory: Factory, ttl: Ttl) -> Flight:
    """Return the computation of a round, of which this caller is the first. It must join at once."""
    try:
        await mine.begin()
        flight = await _started(scope, state, mine.place[0], tagset, factory, ttl)
    except BaseException:  # a cancellation too: others of the round begin one of their own
        mine.give_up()
        raise
    mine.start(flight)
    return flight


async def _started(scope: Scope, state: LoopState, key: str, tagset: TagSet, factory: Factory, ttl: Ttl) -> Flight:
    """Return a computation that begins now. The caller must join it at once."""
    engine = scope.engine
    engine.detach_keys([key], supersede=True)
    under_way = state.flights.get(key)
    if under_way is not None and not computes_apart():  # landing: our answer is stored over its entry
        await under_way.landed()
    found = await read(scope, state, key, tagset, stamps_too=True)
    engine.detach_keys([key], supersede=True)  # a computation that began while we read began before us
    return start(scope, state, found, factory, ttl, newer_than=math.inf)
