"""Laws of streams: each reader gets what a reader without a cache would, and what is stored is what was streamed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachecore import Cache, StreamLagged
from cachecore.engine.flights.broadcast import NOTHING, Broadcast, Chunk
from cachecore.testing.virtual import VirtualClock

texts = st.text(max_size=5)
chunks_of_any_kind = st.one_of(
    texts, st.binary(max_size=5), st.dictionaries(texts, st.lists(st.integers(), max_size=3), max_size=3)
)


@given(
    st.lists(texts, max_size=8),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_every_reader_gets_the_stream_of_its_own(words: list[str], readers: list[tuple[float, int]], seed: int) -> None:
    """Whenever they come, and however many chunks each of them reads before it leaves.

    Afterwards the assembled answer is there, if anybody saw the end of the stream; and what it is replayed as is
    assembled to the same answer again.
    """
    clock, chance = VirtualClock(), random.Random(seed)

    async def main() -> None:
        cache: Cache[Any] = Cache("memory://", ttl=60, clock=clock, chance=random.Random(seed))
        begun = 0

        async def source() -> AsyncIterator[str]:
            nonlocal begun
            begun += 1
            for word in words:
                await asyncio.sleep(chance.random() * 0.4)
                yield word

        def stream() -> Any:
            return cache.stream("q", source, assemble=list, replay=iter)

        async def reader(after: float, most: int) -> list[str]:
            await asyncio.sleep(after)
            chunks: list[str] = []
            async with stream() as mine:
                async for word in mine:
                    chunks.append(word)
                    if len(chunks) > most:
                        break
            return chunks

        outcomes = await asyncio.gather(*(reader(*one) for one in readers))
        for (_, most), got in zip(readers, outcomes, strict=True):
            assert got == words[: most + 1]
        await asyncio.sleep(0.01)
        stored = await cache.get("q")
        if any(most >= len(words) for _, most in readers):
            assert stored == words
        assert stored in (None, words)
        if stored is not None:
            before = begun
            assert [word async for word in stream()] == words
            assert await cache.get_or_set("q", source) == words  # type: ignore[arg-type]  # is not called
            assert begun == before
        await cache.aclose()

    clock.run(main())


@given(
    st.lists(chunks_of_any_kind, max_size=12),
    st.integers(1, 6),
    st.integers(50, 600),
    st.lists(st.integers(0, 3), min_size=1, max_size=200),
)
@settings(max_examples=200, deadline=None)
def test_the_buffer_against_a_model(chunks: list[Any], most: int, most_bytes: int, steps: list[int]) -> None:
    """Each reader gets all chunks in order, as an object of its own, or learns how many it has lost.

    Steps: 0 appends, 1 to 3 are readers that take.
    """
    left: list[int] = []
    broadcast = Broadcast(max_chunks=most, max_bytes=most_bytes, left=lambda: left.append(1))
    readers = [broadcast.open() for _ in range(3)]
    positions = [0, 0, 0]
    given_out = 0

    def take(number: int) -> None:
        position, first = positions[number], broadcast.first
        if position < first:
            with pytest.raises(StreamLagged) as lagged:
                readers[number].take()
            assert lagged.value.behind == first - position
            return
        got = readers[number].take()
        if got is NOTHING:
            assert position == given_out
            return
        assert got == chunks[position]
        if isinstance(got, dict):
            assert got is not chunks[position]
            got["spoiled"] = [1]
        positions[number] += 1

    for step in steps:
        if step:
            take(step - 1)
        elif given_out < len(chunks):
            chunk = Chunk(chunks[given_out])
            held, before = broadcast.holds(chunk), broadcast.first
            broadcast.append(chunk)
            given_out += 1
            assert (broadcast.first == before) if held else True
            assert broadcast.next == given_out
            assert given_out - broadcast.first <= most
            if not broadcast.overflown:
                assert broadcast.whole() == chunks[:given_out]
    broadcast.end()
    for reader in readers:
        reader.leave()
        reader.leave()
    assert len(left) == 3
