"""How a stream ends: at its end, with an error, at a bound, when its readers leave; and what is stored then."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from cachecore import CacheError, StreamLagged
from cachecore.encoding.claim import read_claim
from tests.unit.engine.stream_sources import WORDS, Source, ask, read
from tests.unit.virtual_caches import Answer, Scene, virtual

TEXT = "".join(WORDS)


@virtual
async def test_only_a_whole_stream_is_stored(scene: Scene) -> None:
    """A stream that its provider cuts gives what it gave, then its error, to each reader; nothing is stored."""
    cache, source = scene.cache(), Source(fails_at=2)
    got: list[list[str]] = [[], []]

    async def follow(mine: list[str]) -> BaseException:
        with pytest.raises(ConnectionError, match="cut") as caught:
            async for word in ask(cache, source):
                mine.append(word)  # noqa: PERF401 - what came before the error is kept
        return caught.value

    one, other = await asyncio.gather(*map(follow, got))
    assert got == [list(WORDS[:2])] * 2
    assert one is not other
    assert source.begun == 1
    assert await cache.get("q") is None
    whole = Source()
    assert await read(ask(cache, whole)) == list(WORDS), "the next caller starts anew"
    assert whole.begun == 1


@virtual
async def test_whole_callers_get_the_error_of_a_stream(scene: Scene) -> None:
    cache, source, factory = scene.cache(), Source(fails_at=3), Answer()
    reading = asyncio.ensure_future(read(ask(cache, source)))
    await asyncio.sleep(0.015)
    with pytest.raises(ConnectionError):
        await cache.get_or_set("q", factory)
    with pytest.raises(ConnectionError):
        await reading
    assert factory.calls == 0


@virtual
async def test_it_ends_when_its_last_reader_leaves(scene: Scene) -> None:
    cache, source = scene.cache(), Source()
    first, second = ask(cache, source), ask(cache, source)
    assert [await anext(first), await anext(second)] == [WORDS[0]] * 2
    await first.aclose()
    assert await anext(second) == WORDS[1], "the first reader's leaving is none of the second's business"
    assert source.broken == 0
    await second.aclose()
    await asyncio.sleep(0.001)
    assert source.broken == 1
    assert await cache.get("q") is None
    with pytest.raises(StopAsyncIteration):
        await anext(second)
    assert await read(ask(cache, source)) == list(WORDS)
    assert source.begun == 2


@virtual
async def test_leaving_the_loop_leaves_the_stream(scene: Scene) -> None:
    cache, source = scene.cache(), Source()
    async for _ in ask(cache, source):
        break
    gc.collect()
    await asyncio.sleep(0.001)
    assert source.broken == 1


@virtual
async def test_a_whole_caller_keeps_it_running(scene: Scene) -> None:
    cache, source = scene.cache(), Source()
    stream = ask(cache, source)
    await anext(stream)
    whole = asyncio.ensure_future(cache.get_or_set("q", Answer()))
    await asyncio.sleep(0.001)
    await stream.aclose()
    assert await whole == TEXT
    assert source.ended == 1


@virtual
async def test_it_is_finished_behind_if_that_is_asked_for(scene: Scene) -> None:
    cache, source = scene.cache(finish=True), Source()
    assert await read(ask(cache, source), many=1) == [WORDS[0]]
    await asyncio.sleep(1)
    assert source.ended == 1
    assert await cache.get("q") == TEXT


@virtual
async def test_leaving_after_the_end_of_the_generator_stores_it(scene: Scene) -> None:
    """A reader that leaves with the last chunk, as SDKs do, does not take the answer away from those to come."""
    cache, source = scene.cache(), Source()
    assert await read(ask(cache, source), many=len(WORDS)) == list(WORDS)
    await asyncio.sleep(0.1)
    assert await cache.get("q") == TEXT


@virtual
async def test_the_deadline_bounds_the_first_chunk_and_each_gap(scene: Scene) -> None:
    cache = scene.cache(factory_timeout=2)
    slow = Source(gap=1.5)
    assert await read(ask(cache, slow)) == list(WORDS), "six seconds, but never two without a chunk"
    for hangs_at in (0, 2):
        source, began = Source(gap=0.5, hangs_at=hangs_at), scene.clock.monotonic()
        got: list[str] = []
        with pytest.raises(TimeoutError, match="no chunk within 2 s"):
            async for word in ask(cache, source, hangs_at):
                got.append(word)  # noqa: PERF401 - what came before the error is kept
        assert got == list(WORDS[:hangs_at])
        assert scene.clock.monotonic() - began == pytest.approx(0.5 * hangs_at + 2, abs=0.01)
        await asyncio.sleep(0.01)
        assert source.broken == 1
        assert await cache.get(hangs_at) is None


@pytest.mark.usefixtures("default_deadlines")
@virtual
async def test_a_store_that_dies_before_the_end_costs_no_chunk(scene: Scene) -> None:
    cache, source = scene.cache(), Source()
    stream = ask(cache, source)
    await anext(stream)
    scene.store.hang()
    began = scene.clock.monotonic()
    assert await read(stream) == list(WORDS[1:])
    assert scene.clock.monotonic() - began < 5
    assert cache.stats.not_stored == {"store": 1}


@virtual
async def test_stale_is_served_before_the_first_chunk_only(scene: Scene) -> None:
    cache = scene.cache(stale_if_error=60, retry_after=0.1)
    for fails_at in (0, 1):
        await cache.set("q", "old words ")
        await cache.expire("q")
        stream = ask(cache, Source(fails_at=fails_at))
        if fails_at:
            with pytest.raises(ConnectionError):
                await read(stream)
        else:
            assert await read(stream) == ["old ", "words "]
            assert stream.lookup is not None
            assert stream.lookup.outcome == "rescued"
            again = Source()
            assert await read(ask(cache, again)) == ["old ", "words "], "not tried again at once"
            assert again.begun == 0
        await asyncio.sleep(1)


@virtual
async def test_a_slow_stream_is_finished_behind_a_stale_answer(scene: Scene) -> None:
    cache, source = scene.cache(stale_if_error=60, soft_timeout=0.05), Source(gap=0.1)
    await cache.set("q", "old words ")
    await cache.expire("q")
    stream = ask(cache, source)
    assert await read(stream) == ["old ", "words "]
    assert stream.lookup is not None
    assert stream.lookup.outcome == "stale"
    await asyncio.sleep(1)
    assert source.ended == 1
    assert await cache.get("q") == TEXT


@virtual
async def test_a_stale_answer_is_refreshed_behind_by_a_stream(scene: Scene) -> None:
    cache, source = scene.cache(stale_while_revalidate=60), Source()
    await cache.set("q", "old words ")
    await cache.expire("q")
    assert await read(ask(cache, source)) == await read(ask(cache, source)) == ["old ", "words "]
    await asyncio.sleep(1)
    assert source.begun == source.ended == 1
    assert await cache.get("q") == TEXT


@virtual
async def test_past_the_bound_nothing_is_stored_and_nobody_joins(scene: Scene) -> None:
    cache = scene.cache(stream_max_chunks=10)
    source, factory = Source(*map(str, range(30))), Answer()
    fast = asyncio.ensure_future(read(ask(cache, source)))
    await asyncio.sleep(0.055)
    slow = ask(cache, source)
    assert await anext(slow) == "0"
    whole = asyncio.ensure_future(cache.get_or_set("q", factory))
    await asyncio.sleep(0.1)
    assert await whole == 1, "there will be nothing whole, so that caller computes for itself"
    await cache.delete("q")
    late = ask(cache, Source("late"))
    assert await read(late) == ["late"]
    assert await fast == [str(number) for number in range(30)]
    with pytest.raises(StreamLagged) as caught:
        await anext(slow)
    assert caught.value.behind == 19
    with pytest.raises(CacheError, match="broke off with StreamLagged"):
        await anext(slow)
    assert source.begun == source.ended == 1
    assert cache.stats.not_stored["size"] == 1


@virtual
async def test_one_slow_reader_slows_the_stream_and_loses_nothing(scene: Scene) -> None:
    """As without a cache. The deadline of the gaps is not that of the readers."""
    cache = scene.cache(stream_max_bytes=2000, factory_timeout=2)
    source = Source(*(f"{number:200}" for number in range(30)), gap=0)
    chunks = await read(ask(cache, source), pause=5)
    assert [int(chunk) for chunk in chunks] == list(range(30))


@virtual
async def test_a_stream_too_long_to_store_is_not_finished_behind(scene: Scene) -> None:
    cache, source = scene.cache(stream_max_chunks=10, finish=True), Source(*map(str, range(100_000)))
    assert await read(ask(cache, source), many=2) == ["0", "1"]
    await asyncio.sleep(1)
    assert source.broken == 1


@virtual
async def test_an_empty_stream_is_an_answer(scene: Scene) -> None:
    cache = scene.cache()

    async def nothing() -> AsyncIterator[str]:
        return
        yield ""

    assert await read(ask(cache, nothing)) == []
    assert await cache.get("q") == ""


@virtual
async def test_a_generator_that_swallows_its_cancellation_is_not_taken_for_whole(scene: Scene) -> None:
    cache, sources = scene.cache(factory_timeout=1), []

    async def stubborn() -> AsyncIterator[str]:
        yield "half "
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            sources.append("cancelled")
        if len(sources) > 1:
            yield "more "

    assert await read(ask(cache, stubborn), many=1) == ["half "]
    await asyncio.sleep(0.1)
    with pytest.raises(TimeoutError):
        await read(ask(cache, stubborn))
    await asyncio.sleep(0.1)
    assert len(sources) == 2
    assert await cache.get("q") is None
    (raw,) = await scene.memory.get_many([cache.key("q")])
    mark = read_claim(raw, cache.key("q"))
    assert mark is None or mark.ended, "and the key is free"


@virtual
async def test_a_cancelled_read_is_no_end(scene: Scene) -> None:
    cache, source = scene.cache(), Source(gap=1)
    stream = ask(cache, source)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.5)
    await asyncio.sleep(0.01)
    assert source.broken == 1, "the only reader has left"
    with pytest.raises(CacheError, match="broke off with CancelledError: ask for a new one"):
        await anext(stream)
