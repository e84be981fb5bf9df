"""How a stream is answered: from memory, from the store, or live; stale only as long as no chunk has come.

A reader that finds the key's stream under way joins it if it may, and gets the chunks that have passed first. A reader
that finds a computation of the whole answer does not wait for it: its stream takes the key over, for later callers.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

from cachecore.contract.errors import FlightCycleError
from cachecore.contract.results import UNSET, Lookup
from cachecore.engine import read as reading
from cachecore.engine.bypass import bypassed
from cachecore.engine.computation import Computation
from cachecore.engine.factories import streamed
from cachecore.engine.flights.broadcast import NOTHING, Reader
from cachecore.engine.flights.flight import Flight, Retry
from cachecore.engine.lookup import MOST_RETRIES, may_refresh, old_answer, rescue, run_behind, serve_stale
from cachecore.engine.produce import Assemble, LiveStream, produce
from cachecore.engine.publish import lookup_of, lookup_of_entry
from cachecore.engine.read import read, take
from cachecore.engine.scope import Question, Scope, Ttl, question, stored_tags
from cachecore.engine.store_read import StoreRead

_END: Final = object()

Replay = Callable[[Any], Iterable[Any]]


@dataclass(slots=True)
class StreamCall:
    """The arguments of a stream's caller."""

    scope: Scope
    key: str
    tags: Sequence[str]
    factory: Callable[[], Any]
    assemble: Assemble
    replay: Replay
    ttl: Ttl


class Source(Protocol):
    """Where the chunks of one reader come from."""

    @property
    def lookup(self) -> Lookup[None]:
        """How the reader is answered; without the value."""

    async def next(self) -> Any:
        """Return the next chunk. Raises StopAsyncIteration."""

    def leave(self) -> None:
        """Give up the rest. Idempotent."""

    async def aclose(self) -> None:
        """Do the same, and wait for its end."""


class Replayed:
    """The chunks of an answer that was there."""

    __slots__ = ("_chunks", "_lookup")

    def __init__(self, lookup: Lookup[Any], replay: Replay) -> None:
        self._chunks: Iterator[Any] = iter(replay(lookup.value))
        self._lookup: Lookup[None] = replace(lookup, value=None, version=None)

    @property
    def lookup(self) -> Lookup[None]:
        """How the reader is answered."""
        return self._lookup

    async def next(self) -> Any:
        """Return the next chunk."""
        chunk = next(self._chunks, _END)
        if chunk is _END:
            raise StopAsyncIteration
        return chunk

    def leave(self) -> None:
        """Give up the rest."""
        self._chunks = iter(())

    async def aclose(self) -> None:
        """Do the same."""
        self.leave()


class Direct:
    """The chunks of a factory that runs beside the cache, for its caller alone."""

    __slots__ = ("_chunks", "_key")

    def __init__(self, chunks: AsyncIterator[Any], key: str) -> None:
        self._chunks = chunks
        self._key = key

    @property
    def lookup(self) -> Lookup[None]:
        """How the reader is answered."""
        return Lookup(value=None, outcome="bypass", key=self._key)

    async def next(self) -> Any:
        """Return the next chunk."""
        return await anext(self._chunks)

    def leave(self) -> None:
        """Leave the generator to the loop, which closes those that are dropped."""

    async def aclose(self) -> None:
        """Close the generator."""
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


class Live:
    """The chunks of a stream under way, shared with its other readers."""

    __slots__ = ("_flight", "_loop", "_reader", "_why", "joined")

    def __init__(self, flight: Flight, reader: Reader, why: str | None, *, joined: bool) -> None:
        self._flight = flight
        self._why = why
        self._reader = reader
        self._loop = asyncio.get_running_loop()
        self.joined = joined
        """Whether the stream was under way before."""

    @property
    def lookup(self) -> Lookup[None]:
        """How the reader is answered."""
        key, why = self._flight.key, self._why
        return Lookup(value=None, outcome="computed", age=0.0, key=key, joined=self.joined, reason=why)

    async def next(self) -> Any:
        """Return the next chunk."""
        while True:
            chunk = self._reader.take()
            if chunk is not NOTHING:
                return chunk
            await self.wait()

    async def wait(self, patience: float | None = None) -> bool:
        """Wait for news of the stream; return whether there was any within `patience` seconds."""
        flight = self._flight
        running = flight.refuse_cycle()
        if running is None:
            return await self._reader.wait(patience)
        running.depends_on.add(flight)
        flight.urgent = True
        try:
            return await self._reader.wait(patience)
        finally:
            running.depends_on.discard(flight)

    async def first(self, patience: float | None) -> bool:
        """Wait for the first chunk or the end; return whether it came within `patience`. Raises the stream's error."""
        while not self._reader.broadcast.ended and self._reader.broadcast.next == 0:
            if not await self.wait(patience) and patience is not None:
                return False
        self._reader.broadcast.check_begun()
        return True

    def hold(self) -> None:
        """Let the stream go on although it has no reader."""
        self._flight.hold()

    def leave(self) -> None:
        """Leave the stream, which ends if this was the last caller."""
        if not self._loop.is_closed():
            self._reader.leave()

    async def aclose(self) -> None:
        """Do the same."""
        self.leave()


async def begin(call: StreamCall) -> Source:
    """Return where the chunks of `call` come from, once that is certain: with the first chunk of a live one."""
    scope, key = call.scope, call.key
    engine, counts = scope.engine, scope.telemetry.counts
    if bypassed():
        counts.bypassed += 1
        return Direct(await streamed(call.factory), key)
    asked_at = engine.monotonic()
    asked = question(scope, engine.state(), key, call.tags, call.ttl)
    copy = scope.find_copy(key, stored_tags(call.tags) if call.tags else ())
    if copy is not None:
        value = scope.reader.value_of(copy)
        if value is not UNSET:
            counts.hits_l1 += 1
            if copy.claim_refresh(asked_at):
                _refresh_behind(call, asked, StoreRead(key, asked.tagset, None), copy.entry.created)
            return Replayed(lookup_of_entry(scope, copy.entry, value, "hit", "l1"), call.replay)
    snapshot = await read(asked)
    value = take(scope, snapshot)
    if value is not UNSET:
        return Replayed(lookup_of(scope, snapshot, value, "hit"), call.replay)
    if snapshot.state == "fresh":  # so its payload could not be decoded
        snapshot = snapshot.without_entry()
    if snapshot.state == "stale":
        value = reading.load(scope, snapshot)
        if value is not UNSET:
            _refresh_behind(call, asked, snapshot, -math.inf)
            return Replayed(serve_stale(scope, snapshot, value, "stale"), call.replay)
    return await _live(call, asked, snapshot, asked_at)


async def _live(call: StreamCall, question: Question, snapshot: StoreRead, asked_at: float) -> Source:
    """Return the key's stream, joined or started here; or an old answer, if it does not come to a first chunk."""
    scope, counts = call.scope, call.scope.telemetry.counts
    if snapshot.entry is not None and scope.engine.recently_failed(call.key):
        value = reading.load(scope, snapshot)
        if value is not UNSET:
            return Replayed(serve_stale(scope, snapshot, value, "rescued"), call.replay)
    for turn in itertools.count():
        flight = question.state.flights.to_join(call.key, question.tagset.concerns) if turn < MOST_RETRIES else None
        if flight is not None:
            flight.refuse_cycle()
        if flight is not None and flight.landing:
            await flight.landed()
        else:
            live = _join(call, question, snapshot, asked_at, flight)
            source = await _begun(call, question, snapshot, live)
            if source is live:
                counts.computed += 1
                counts.joined += live.joined
            if source is not None:
                return source
        snapshot = await read(question)
        value = take(scope, snapshot)
        if value is not UNSET:
            return Replayed(lookup_of(scope, snapshot, value, "hit"), call.replay)
    raise AssertionError  # a count has no end


def _join(call: StreamCall, question: Question, snapshot: StoreRead, asked_at: float, flight: Flight | None) -> Live:
    """Return a reader of the stream under way, or of one that is started here."""
    takes_over: bytes | None = None
    if flight is not None and isinstance(flight.stream, LiveStream):
        if flight.stream.admits(snapshot, asked_at):
            return Live(flight, flight.stream.open(), snapshot.reason, joined=True)
        # Something was invalidated or written: it is of no use to later callers either.
        takes_over = flight.stream.token
        flight.detach()
    flight, stream = _new_flight(call, question, snapshot, takes_over=takes_over)
    # Opened before the first step of the producer, which ends if there is no reader.
    live = Live(flight, stream.open(), snapshot.reason, joined=False)
    question.state.flights.run([flight], partial(produce, stream))
    return live


async def _begun(call: StreamCall, question: Question, snapshot: StoreRead, live: Live) -> Source | None:
    """Return `live` once its first chunk has come, or an old answer instead; None: look again.

    Raises the factory's own exception, if there is no old answer.
    """
    scope = call.scope
    try:
        if not await live.first(None if snapshot.entry is None else scope.policy.soft_timeout):
            old = await old_answer(question, snapshot, "stale")
            if old is not None:
                live.hold()
                live.leave()
                return Replayed(old, call.replay)
            await live.first(None)
    except Retry:
        live.leave()
        return None
    except FlightCycleError:
        live.leave()
        raise
    except Exception as error:
        live.leave()
        frames = error.__traceback__
        rescued = await rescue(question, snapshot, error)
        if rescued is None:
            scope.telemetry.counts.failed += 1
            error.__traceback__ = frames
            raise
        return Replayed(rescued, call.replay)
    except BaseException:  # a cancelled reader has left the stream
        live.leave()
        raise
    return live


def _new_flight(
    call: StreamCall,
    question: Question,
    snapshot: StoreRead,
    *,
    behind: bool = False,
    newer_than: float = -math.inf,
    takes_over: bytes | None = None,
) -> tuple[Flight, LiveStream]:
    flight = question.state.flights.open(question.key, question.tagset.concerns)
    flight.finish = question.scope.policy.finish
    computation = Computation(question, flight, snapshot, call.factory, behind, newer_than)
    stream = flight.stream = LiveStream(computation, call.assemble, takes_over)
    return flight, stream


def _refresh_behind(call: StreamCall, question: Question, snapshot: StoreRead, newer_than: float) -> None:
    """Start a stream without a reader, unless a computation is under way or there are too many."""
    if not may_refresh(question):
        return
    flight, stream = _new_flight(call, question, snapshot, behind=True, newer_than=newer_than)
    question.state.flights.run([flight], partial(produce, stream))
    run_behind(question, flight)
