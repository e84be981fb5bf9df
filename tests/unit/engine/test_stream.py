"""A stream is shared while it runs, replayed once it is stored, and stored whole or not at all."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cachecore import Cache, CacheError, Computed, FlightCycleError, OptionsError, UnkeyableError, bypass
from tests.unit.engine.stream_sources import WORDS, Source, ask, joined, read, split
from tests.unit.virtual_caches import Answer, Scene, virtual

TEXT = "".join(WORDS)


@virtual
async def test_a_stream_is_produced_once_and_replayed_afterwards(scene: Scene) -> None:
    cache, source = scene.cache(), Source()
    stream = ask(cache, source)
    assert stream.lookup is None
    assert source.begun == 0, "nothing is asked before the first chunk is"
    assert await read(stream) == list(WORDS)
    assert stream.lookup is not None
    assert (stream.lookup.outcome, stream.lookup.joined) == ("computed", False)
    assert await cache.get("q") == TEXT, "the end waits until the answer is stored"
    again = ask(cache, source)
    assert await read(again) == list(split(TEXT))
    assert again.lookup is not None
    assert (again.lookup.outcome, again.lookup.tier) == ("hit", "l1")
    other = ask(scene.cache(), source)
    assert await read(other) == list(split(TEXT))
    assert other.lookup is not None
    assert (other.lookup.outcome, other.lookup.tier) == ("hit", "l2")
    assert source.begun == source.ended == 1
    stats = cache.stats
    assert (stats.computed, stats.joined, stats.stored, stats.factory_calls) == (1, 0, 1, 1)


@virtual
async def test_late_readers_get_what_has_passed_and_then_follow(scene: Scene) -> None:
    cache, source = scene.cache(), Source(gap=1)
    seen: dict[str, list[tuple[float, str]]] = {}

    async def follow(name: str, after: float) -> None:
        await asyncio.sleep(after)
        stream = ask(cache, source)
        async for word in stream:
            seen.setdefault(name, []).append((round(scene.clock.monotonic() - began, 2), word))
        assert stream.lookup is not None
        assert stream.lookup.joined == (name != "first")

    began = scene.clock.monotonic()
    await asyncio.gather(follow("first", 0), follow("early", 0.5), follow("late", 2.5))
    assert seen["first"] == seen["early"] == [(number + 1.0, word) for number, word in enumerate(WORDS)]
    assert seen["late"] == [(2.5, WORDS[0]), (2.5, WORDS[1]), (3.0, WORDS[2]), (4.0, WORDS[3])]
    assert source.begun == 1
    assert cache.stats.joined == 2


@virtual
async def test_get_or_set_of_the_key_waits_for_the_end(scene: Scene) -> None:
    cache, source, factory = scene.cache(), Source(), Answer()
    reading = asyncio.ensure_future(read(ask(cache, source)))
    await asyncio.sleep(0.015)
    assert await cache.get_or_set("q", factory) == TEXT
    assert factory.calls == 0
    assert await reading == list(WORDS)


@virtual
async def test_a_stream_does_not_wait_for_a_whole_answer_under_way(scene: Scene) -> None:
    """Its first chunk would be as late as that answer. Whoever comes later waits for the stream."""
    cache, source, slow, never = scene.cache(), Source(), Answer(5.0), Answer()
    whole = asyncio.ensure_future(cache.get_or_set("q", slow))
    await asyncio.sleep(0.1)
    reading = asyncio.ensure_future(read(ask(cache, source)))
    await asyncio.sleep(0.02)
    later = asyncio.ensure_future(cache.get_or_set("q", never))
    assert await reading == list(WORDS)
    assert await later == TEXT
    assert never.calls == 0
    assert await whole == 1, "one factory each"
    assert await cache.get("q") == 1, "the claim was that of the first, so its answer was stored"


@virtual
async def test_a_stream_does_not_wait_for_another_process(scene: Scene) -> None:
    here, there, source = scene.cache(), scene.cache(), Source(gap=1)
    first = asyncio.ensure_future(read(ask(here, source)))
    await asyncio.sleep(1.5)
    began = scene.clock.monotonic()
    second = ask(there, source)
    assert await anext(second) == WORDS[0]
    assert scene.clock.monotonic() - began < 1.1
    assert await first == list(WORDS)
    assert await read(second) == list(WORDS[1:])
    assert source.begun == 2
    assert (here.stats.stored, there.stats.stored) == (1, 0), "the first to end is stored"
    assert there.stats.not_stored == {"changed": 1}


@virtual
async def test_a_holder_that_died_does_not_keep_streams_from_being_stored(scene: Scene) -> None:
    """Its claim may lie in the store as long as an entry would; it is taken over once it gives no sign of life."""
    dead, cache, source = scene.cache(), scene.cache(), Source()
    doomed = asyncio.ensure_future(dead.get_or_set("q", Answer(1000)))
    await asyncio.sleep(0.1)
    (claim,) = await scene.memory.get_many([cache.key("q")])
    doomed.cancel()
    await asyncio.sleep(0.1)
    await scene.memory.set_many({cache.key("q"): claim or b""}, ttl=1000)
    await asyncio.sleep(2)
    assert await read(ask(cache, source)) == list(WORDS)
    assert await cache.get("q") == TEXT


INVALIDATIONS: dict[str, Any] = {
    "tag": lambda cache: cache.invalidate_tags("t"),
    "all": lambda cache: cache.invalidate_all(),
    "delete": lambda cache: cache.delete("q"),
    "set": lambda cache: cache.set("q", "five six ", tags=["t"]),
}


@pytest.mark.parametrize("kind", INVALIDATIONS)
@pytest.mark.parametrize("here", [True, False], ids=["this process", "another process"])
def test_nobody_joins_after_an_invalidation(kind: str, here: bool) -> None:
    """Those who read go on; who comes later gets a stream that begins later. What began before is not stored."""

    @virtual
    async def body(scene: Scene) -> None:
        cache = scene.cache()
        other = cache if here else scene.cache()
        old, new = Source(gap=0.5), Source("new ")
        reading = asyncio.ensure_future(read(ask(cache, old, tags=["t"])))
        await asyncio.sleep(0.75)
        await INVALIDATIONS[kind](other)
        await asyncio.sleep(0.001)
        after = await read(ask(cache, new, tags=["t"]))
        assert after == (["five ", "six "] if kind == "set" else ["new "])
        assert await reading == list(WORDS)
        assert old.begun == 1
        await asyncio.sleep(0.1)
        assert await scene.cache().get("q", tags=["t"]) == "".join(after)

    body()


@pytest.mark.parametrize("here", [True, False], ids=["this process", "another process"])
def test_a_reader_without_the_tag_of_a_stream_does_not_join_it_after_an_invalidation(here: bool) -> None:
    """It reads no stamp of that tag, so it has no proof that the stream is valid."""

    @virtual
    async def body(scene: Scene) -> None:
        cache = scene.cache()
        reading = asyncio.ensure_future(read(ask(cache, Source(gap=0.5), tags=["t"])))
        await asyncio.sleep(0.75)
        await (cache if here else scene.cache()).invalidate_tags("t")
        assert await read(ask(cache, Source("new "))) == ["new "]
        assert await reading == list(WORDS)

    body()


@virtual
async def test_who_lacks_a_tag_does_not_share(scene: Scene) -> None:
    cache, source = scene.cache(), Source(gap=0.5)
    plain = asyncio.ensure_future(read(ask(cache, source)))
    await asyncio.sleep(0.75)
    tagged = asyncio.ensure_future(read(ask(cache, source, tags=["t"])))
    assert await plain == await tagged == list(WORDS)
    assert source.begun == 2


@virtual
async def test_late_readers_share_while_the_store_is_away(scene: Scene) -> None:
    """An outage costs one stream, not one for each caller."""
    cache, source = scene.cache(), Source(gap=0.5)
    scene.store.fail()
    first = asyncio.ensure_future(read(ask(cache, source)))
    await asyncio.sleep(0.75)
    assert await read(ask(cache, source)) == await first == list(WORDS)
    assert source.begun == 1


@virtual
async def test_assemble_decides_what_is_stored(scene: Scene) -> None:
    cache, source = scene.cache(), Source()

    def stream(request: str, assemble: Any) -> Any:
        return cache.stream(request, source, assemble=assemble, replay=split)

    await read(stream("no", lambda chunks: Computed("", store=False)))
    assert await cache.get("no") is None
    await read(stream("short", lambda chunks: Computed(joined(chunks), ttl=1)))
    assert await cache.get("short") == TEXT
    await asyncio.sleep(1.1)
    assert await cache.get("short") is None
    assert await read(stream("raises", lambda chunks: chunks[99])) == list(WORDS)
    assert await cache.get("raises") is None
    assert cache.stats.not_stored == {"admission": 1, "assemble_error": 1}


@virtual
async def test_no_object_is_handed_to_two_readers(scene: Scene) -> None:
    cache, same = scene.cache(), {"n": [0]}

    async def reuses() -> AsyncIterator[dict[str, list[int]]]:
        for number in range(3):
            await asyncio.sleep(0.01)
            same["n"][0] = number
            yield same

    def stream() -> Any:
        return cache.stream("q", reuses, assemble=list, replay=iter)

    async def spoil() -> list[int]:
        seen = []
        async for chunk in stream():
            seen.append(chunk["n"][0])
            chunk["n"][0] = 99
        return seen

    assert list(await asyncio.gather(spoil(), spoil(), spoil())) == [[0, 1, 2]] * 3
    assert await spoil() == [0, 1, 2]
    assert await spoil() == [0, 1, 2]


@virtual
async def test_a_chunk_without_copies_is_refused_by_name(scene: Scene) -> None:
    cache = scene.cache()

    async def locks() -> AsyncIterator[Any]:
        yield iter(())  # a generator of another kind, for one
        yield (_ for _ in ())

    with pytest.raises(TypeError, match=r"a chunk of a stream is a generator.*yield plain data"):
        await read(cache.stream("q", locks, assemble=list, replay=iter))


@virtual
async def test_the_factory_runs_in_a_copy_of_the_first_readers_context(scene: Scene) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    cache = scene.cache()

    async def tells() -> AsyncIterator[str]:
        yield who.get()
        who.set("changed")
        yield who.get()

    async def as_reader(name: str) -> list[str]:
        who.set(name)
        chunks = await read(ask(cache, tells))
        assert who.get() == name
        return chunks

    assert list(await asyncio.gather(as_reader("a"), as_reader("b"))) == [["a", "changed"]] * 2


@virtual
async def test_a_stream_that_reads_itself_is_a_cycle(scene: Scene) -> None:
    cache = scene.cache()

    async def inner(request: str) -> AsyncIterator[str]:
        yield "x "
        async for word in ask(cache, lambda: inner("b" if request == "a" else "a"), "b" if request == "a" else "a"):
            yield word

    async def own() -> AsyncIterator[str]:
        yield "x "
        async for word in ask(cache, own):
            yield word

    async def whole() -> AsyncIterator[str]:
        yield str(await cache.get_or_set("q", Answer()))

    for stream in (ask(cache, own), ask(cache, whole), ask(cache, lambda: inner("a"), "a")):
        with pytest.raises(FlightCycleError):
            await read(stream)


@virtual
async def test_bypass_runs_the_factory_alone(scene: Scene) -> None:
    cache, source = scene.cache(), Source()
    with bypass():
        stream = ask(cache, source)
        assert await anext(stream) == WORDS[0]
        await stream.aclose()
        assert source.broken == 1
        assert await read(ask(cache, source)) == list(WORDS)
    assert await cache.get("q") is None
    assert cache.stats.bypassed == 2


@virtual
async def test_a_client_may_be_awaited_first(scene: Scene) -> None:
    """As the SDKs do it: `await client.create(stream=True)` returns what is iterated."""
    cache, source = scene.cache(), Source()

    async def create() -> AsyncIterator[str]:
        return source()

    assert await read(ask(cache, create)) == list(WORDS)
    assert await cache.get("q") == TEXT


@virtual
async def test_wrong_use_says_what_is_right(scene: Scene) -> None:
    cache: Cache[Any] = scene.cache()
    with pytest.raises(OptionsError, match="replay must be a function, not a str"):
        cache.stream("q", Source(), assemble=joined, replay="no")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(UnkeyableError):
        cache.stream(object(), Source(), assemble=joined, replay=split)
    with pytest.raises(OptionsError, match="tags"):
        cache.stream("q", Source(), assemble=joined, replay=split, tags="t")
    with pytest.raises(TypeError, match=r"returned a int.*async def.*yield"):
        await read(cache.stream("q", lambda: 1, assemble=joined, replay=split))  # type: ignore[arg-type,return-value]  # on purpose
    with pytest.raises(TypeError, match=r"use cache\.stream"):
        await cache.get_or_set("q", Source().__call__)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(OptionsError, match=r"use cache\.stream"):
        cache.cached(Source().__call__)  # type: ignore[arg-type]  # on purpose
    stream = ask(cache, Source(gap=1))
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.1)
    with pytest.raises(CacheError, match="another task is reading this stream"):
        await anext(stream)
    assert await waiting == WORDS[0]
    await stream.aclose()
