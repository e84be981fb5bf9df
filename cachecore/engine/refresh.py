"""`refresh`: an answer computed anew, even if one is stored or under way."""

from __future__ import annotations

import math
from typing import Any

from cachecore.engine.apart import computes_apart
from cachecore.engine.computation import Factory
from cachecore.engine.flights.flight import Flight, Retry
from cachecore.engine.flights.rounds import Round
from cachecore.engine.lookup import start
from cachecore.engine.publish import FlightAnswer
from cachecore.engine.read import read
from cachecore.engine.scope import Question
from cachecore.engine.store_read import StoreRead


async def refresh(question: Question, factory: Factory) -> Any:
    """Return a new answer, of a computation that begins now or later. Raises the factory's own exception."""
    rounds, counts = question.state.rounds, question.scope.telemetry.counts
    if computes_apart():
        answer: FlightAnswer = await (await _started(question, factory)).join()
        counts.computed += 1
        return answer.lookup.value
    place = (question.key, question.tagset.concerns)
    while True:
        shared = rounds.to_join(place)
        if shared is None:
            flight = await _begun(question, rounds.new(place), factory)
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
    nothing = StoreRead(question.key, question.tagset, None)
    flight = start(question, nothing, factory, newer_than=math.inf, alone=True)
    answer = await flight.join()
    counts.computed += 1
    return answer.lookup.value


async def _begun(question: Question, mine: Round, factory: Factory) -> Flight:
    """Return the computation of a round, of which this caller is the first. It must join at once."""
    try:
        await mine.begin()
        flight = await _started(question, factory)
    except BaseException:  # a cancellation too: others of the round begin one of their own
        mine.give_up()
        raise
    mine.start(flight)
    return flight


async def _started(question: Question, factory: Factory) -> Flight:
    """Return a computation that begins now. The caller must join it at once."""
    engine, key = question.scope.engine, question.key
    engine.detach_keys([key], supersede=True)
    under_way = question.state.flights.get(key)
    if under_way is not None and not computes_apart():  # landing: our answer is stored over its entry
        await under_way.landed()
    snapshot = await read(question, stamps_too=True)
    engine.detach_keys([key], supersede=True)  # a computation that began while we read began before us
    return start(question, snapshot, factory, newer_than=math.inf)
