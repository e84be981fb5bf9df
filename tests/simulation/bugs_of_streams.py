"""Bugs of streams, each put back by a patch: those of peers that stream, and the mistakes next to ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cachecore import Cache, Stream
from cachecore.engine import produce, stream
from cachecore.engine.flights.broadcast import Broadcast, Chunk, Reader
from cachecore.engine.flights.flight import Flight
from cachecore.engine.flights.flights import Flights
from cachecore.engine.produce import LiveStream
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.simulation.calls import FactoryFailed
from cachecore.testing.virtual import VirtualClock
from tests.simulation.bugs import bug


@bug("khazad and others: a stream that was cut is stored as far as it came")
def half_a_stream_stored(patch: pytest.MonkeyPatch) -> None:
    pump = produce._pump

    async def lenient(live: LiveStream, limit: float) -> None:
        try:
            await pump(live, limit)
        except FactoryFailed:
            if live.next == 0:
                raise

    patch.setattr(produce, "_pump", lenient)


@bug("every cache that wraps the caller's own generator: its last reader leaves, and what came so far is kept")
def abandoned_half_stored(patch: pytest.MonkeyPatch) -> None:
    pump = produce._pump

    async def lenient(live: LiveStream, limit: float) -> None:
        try:
            await pump(live, limit)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if live.next == 0 or task is None or live.overflown:
                raise
            task.uncancel()

    patch.setattr(produce, "_pump", lenient)


def joining_needs_proof() -> None:
    """Who asks after another process has invalidated does not follow a stream that began before; there is no feed."""
    clock = VirtualClock()

    async def main() -> None:
        store = MemoryBackend(clock=clock)
        here, there = (Cache[Any](store, ttl=60, clock=clock) for _ in range(2))
        version = 1

        async def words() -> AsyncIterator[str]:
            for made in [str(version)] * 10:
                await asyncio.sleep(1)
                yield made

        def stream() -> Stream[str]:
            return here.stream("q", words, assemble="".join, replay=list)

        async with stream() as first:
            assert await anext(first) == "1"
            version = 2
            await there.invalidate_all()
            async with stream() as second:
                assert await anext(second) == "2"
        await here.aclose()
        await there.aclose()

    clock.run(main())


@bug(
    "every single-flight: who comes after another process's invalidation follows what began before", joining_needs_proof
)
def late_reader_needs_no_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LiveStream, "admits", lambda self, found, asked_at: True)


@bug("every cache that wraps the caller's own generator: each reader has a stream of its own")
def streams_are_not_shared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LiveStream, "admits", lambda self, found, asked_at: False)


@bug("the same in one process: an invalidation leaves the stream where later callers find it")
def stream_stays_joinable(patch: pytest.MonkeyPatch) -> None:
    detach = Flight.detach

    def stay(self: Flight) -> None:
        if self.stream is None or self.answered or not self.waiters:
            detach(self)

    patch.setattr(Flight, "detach", stay)
    patch.setattr(LiveStream, "admits", lambda self, found, asked_at: True)


@bug("a tee of one iterator: the stream belongs to its first reader and ends with it")
def first_reader_owns_the_stream(patch: pytest.MonkeyPatch) -> None:
    leave = Broadcast.leave
    opened = Broadcast.open

    def open_one(self: Broadcast) -> Reader:
        reader = opened(self)
        if len(self.readers) == 1 and self.next == 0:
            first[id(self)] = id(reader)
        return reader

    def leave_all(self: Broadcast, reader: Reader) -> None:
        if first.get(id(self)) == id(reader) and not self.complete:
            self.end(asyncio.CancelledError())
        leave(self, reader)

    first: dict[int, int] = {}
    patch.setattr(Broadcast, "open", open_one)
    patch.setattr(Broadcast, "leave", leave_all)


@bug("broadcast channels: a late reader begins where the stream is just now")
def late_reader_misses_the_beginning(patch: pytest.MonkeyPatch) -> None:
    opened = Broadcast.open

    def late(self: Broadcast) -> Reader:
        reader = opened(self)
        reader.position = self.next
        return reader

    patch.setattr(Broadcast, "open", late)


@bug("asyncio queues of a fixed size: what a slow reader did not take is dropped, and nothing says so")
def lag_is_silent(patch: pytest.MonkeyPatch) -> None:
    take = Reader.take

    def skip(self: Reader) -> Any:
        self.position = max(self.position, self.broadcast.first)
        return take(self)

    patch.setattr(Reader, "take", skip)


@bug("DSPy: one object for all readers")
def chunks_by_reference(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Chunk, "own", lambda self: self._value)


@bug("a ladder without a commit point: the old answer goes on where the new one broke off")
def stale_after_the_first_chunk(patch: pytest.MonkeyPatch) -> None:
    following = stream.Live.next

    async def patched(self: stream.Live) -> Any:
        try:
            return await following(self)
        except FactoryFailed:
            raise StopAsyncIteration from None

    patch.setattr(stream.Live, "next", patched)


@bug("a cut stream looks like a short one, as with both SDKs")
def cut_is_an_end(patch: pytest.MonkeyPatch) -> None:
    end = Broadcast.end

    def quiet(self: Broadcast, error: BaseException | None = None) -> None:
        end(self, error if self.next == 0 else None)

    patch.setattr(Broadcast, "end", quiet)


def leaving_ends_the_stream() -> None:
    """The generator of a stream that nobody reads is closed at once."""
    clock = VirtualClock()

    async def main() -> None:
        cache: Cache[Any] = Cache("memory://", ttl=60, clock=clock)
        closed = []

        async def words() -> AsyncIterator[str]:
            try:
                for number in range(100):
                    await asyncio.sleep(1)
                    yield str(number)
            finally:
                closed.append(clock.monotonic())

        left = clock.monotonic()
        async with cache.stream("q", words, assemble="".join, replay=list) as stream:
            await anext(stream)
        await asyncio.sleep(200)
        await cache.aclose()
        assert closed[0] < left + 1.5

    clock.run(main())


@bug("what nobody reads runs on: the provider is paid for a reader that has left", leaving_ends_the_stream)
def abandoned_stream_runs_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flights, "abandoned", lambda self, flight: None)


@bug("a buffer without a bound, or one that is taken for whole after it has dropped chunks")
def dropped_chunks_are_stored_over(patch: pytest.MonkeyPatch) -> None:
    async def ignore(live: LiveStream) -> None:
        return None

    patch.setattr(produce, "_overflow", ignore)
