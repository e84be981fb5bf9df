"""`SyncCache.stream`: threads share one running stream, whose generator has a thread of its own."""

from __future__ import annotations

import contextvars
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cachecore import CacheError, FlightCycleError, OptionsError, StreamLagged, SyncCache, SyncStream
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend

WORDS = ("one ", "two ", "three ")
TEXT = "".join(WORDS)
LONG = 30.0
"""Seconds that nothing here takes."""


class Source:
    """A generator of words that can be held before any of them."""

    def __init__(self, *words: str, fails: bool = False) -> None:
        self.words = words or WORDS
        self.fails = fails
        self.begun = 0
        self.closed = threading.Event()
        self.gates = [threading.Event() for _ in self.words]
        self.threads: set[int] = set()

    def go(self, upto: int | None = None) -> Source:
        for gate in self.gates[:upto]:
            gate.set()
        return self

    def __call__(self) -> Iterator[str]:
        self.begun += 1
        self.threads.add(threading.get_ident())
        try:
            for word, gate in zip(self.words, self.gates, strict=True):
                assert gate.wait(LONG)
                yield word
            if self.fails:
                raise ConnectionError("the provider cut")
        finally:
            self.threads.add(threading.get_ident())
            self.closed.set()


@pytest.fixture
def cache() -> Iterator[SyncCache[Any]]:
    with SyncCache("memory://", ttl=60) as made:
        yield made


def ask(cache: SyncCache[Any], source: Callable[[], Any], request: Any = "q") -> SyncStream[str]:
    return cache.stream(request, source, assemble="".join, replay=lambda text: [word + " " for word in text.split()])


def test_a_stream_is_produced_once_and_replayed(cache: SyncCache[Any]) -> None:
    source = Source().go()
    stream = ask(cache, source)
    assert list(stream) == list(WORDS)
    assert stream.lookup is not None
    assert stream.lookup.outcome == "computed"
    assert list(stream) == []
    assert cache.get("q") == TEXT
    again = ask(cache, source)
    assert list(again) == list(WORDS)
    assert again.lookup is not None
    assert again.lookup.outcome == "hit"
    assert source.begun == 1
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_threads_share_it_and_the_first_may_leave(cache: SyncCache[Any]) -> None:
    source = Source().go(1)
    with ask(cache, source) as first, ThreadPoolExecutor(3) as pool:
        assert next(first) == WORDS[0]
        others = [ask(cache, source) for _ in range(3)]
        assert [next(other) for other in others] == [WORDS[0]] * 3
        first.close()
        source.go()
        assert list(pool.map(list, others)) == [list(WORDS[1:])] * 3
    assert source.begun == 1
    assert cache.stats.joined == 3


def test_it_is_closed_when_its_last_reader_leaves(cache: SyncCache[Any]) -> None:
    """In its own thread, where it yields next; a `break` is leaving."""
    source = Source().go()
    for _ in ask(cache, source):
        break
    gc.collect()
    assert source.closed.wait(LONG)
    assert len(source.threads) == 1
    stuck = Source().go(1)
    stream = ask(cache, stuck, "stuck")
    assert next(stream) == WORDS[0]
    stream.close()
    assert cache.get_or_set("stuck", lambda: "free") == "free", "the key does not wait for the generator"
    stuck.go()
    assert stuck.closed.wait(LONG)


def test_the_generators_error_is_each_readers(cache: SyncCache[Any]) -> None:
    source = Source(fails=True).go(1)
    streams = [ask(cache, source), ask(cache, source)]
    assert [next(stream) for stream in streams] == [WORDS[0]] * 2
    source.go()
    for stream in streams:
        with pytest.raises(ConnectionError, match="cut"):
            list(stream)
    assert cache.get("q") is None


def test_it_runs_in_a_copy_of_the_first_readers_context(cache: SyncCache[Any]) -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    def tells() -> Iterator[str]:
        yield who.get() + " "
        who.set("changed")
        yield who.get() + " "

    def reader() -> list[str]:
        who.set("reader")
        chunks = list(ask(cache, tells))
        assert who.get() == "reader"
        return chunks

    assert contextvars.copy_context().run(reader) == ["reader ", "changed "]


def test_a_reader_that_lags_is_told_so() -> None:
    source = Source(*map(str, range(30))).go(1)
    with SyncCache[Any]("memory://", ttl=60, stream_max_chunks=10) as cache:
        slow, fast = ask(cache, source), ask(cache, source)
        assert next(slow) == next(fast) == "0"
        source.go()
        assert list(fast) == [str(number) for number in range(1, 30)]
        with pytest.raises(StreamLagged) as caught:
            next(slow)
        assert caught.value.behind == 19
        with pytest.raises(CacheError, match="broke off with StreamLagged"):
            next(slow)
        assert cache.get("q") is None
    assert source.begun == 1


def test_nobody_joins_after_an_invalidation(cache: SyncCache[Any]) -> None:
    """Those who read go on, and what they read is not stored."""
    old, new = Source().go(1), Source("new ").go()
    first = ask(cache, old)
    assert next(first) == WORDS[0]
    cache.invalidate_all()
    assert list(ask(cache, new)) == ["new "]
    old.go()
    assert list(first) == list(WORDS[1:])
    assert (old.begun, new.begun) == (1, 1)
    assert cache.get("q") == "new "


def test_a_store_that_dies_before_the_end_costs_no_chunk() -> None:
    store = FaultyBackend(MemoryBackend())
    with SyncCache[Any](store, ttl=60, l1_max_entries=0, backend_timeout=1) as cache:
        source = Source().go(1)
        stream = ask(cache, source)
        assert next(stream) == WORDS[0]
        store.hang()
        source.go()
        assert list(stream) == list(WORDS[1:])
        assert cache.stats.not_stored == {"store": 1}
        store.heal()


def test_a_cache_that_is_closed_leaves_no_half_answer() -> None:
    source = Source().go(1)
    store = MemoryBackend()
    cache: SyncCache[Any] = SyncCache(store, ttl=60)
    stream = ask(cache, source)
    assert next(stream) == WORDS[0]
    cache.close()
    source.go()
    assert source.closed.wait(LONG)
    with pytest.raises(CacheError):
        list(stream)
    with SyncCache[Any](store, ttl=60) as after:
        assert after.get("q") is None


def test_a_gap_that_is_too_long_is_a_timeout() -> None:
    source = Source().go(1)
    with SyncCache("memory://", ttl=60, factory_timeout=1.0) as cache:
        stream = ask(cache, source)
        assert next(stream) == WORDS[0]
        with pytest.raises(TimeoutError, match="no chunk within"):
            next(stream)
        with pytest.raises(CacheError, match="broke off"):
            next(stream)
        assert cache.get_or_set("q", lambda: "free") == "free"
    source.go()
    assert source.closed.wait(LONG)


def test_a_generator_that_reads_its_own_stream_is_a_cycle(cache: SyncCache[Any]) -> None:
    def own() -> Iterator[str]:
        yield "x "
        yield from ask(cache, own)

    def whole() -> Iterator[str]:
        yield cache.get_or_set("q", lambda: "never")

    for factory in (own, whole):
        with pytest.raises(FlightCycleError):
            list(ask(cache, factory))


def test_blocks_that_the_collector_leaves_in_the_loops_own_thread_hold_nothing_up(cache: SyncCache[Any]) -> None:
    """A program's own generator that was left after one item, in a cycle of references: the collector may run there."""
    source = Source().go(1)

    def pieces() -> Iterator[str]:
        with ask(cache, source) as stream:
            yield from stream

    def claiming() -> Iterator[str]:
        with cache.claim("claimed") as claim:
            yield str(claim.hit)

    async def collected() -> None:
        gc.collect()

    for made in (pieces, claiming):
        cycle: list[Any] = [made()]
        cycle.append(cycle)
        next(cycle[0])
        del cycle
        cache._thread.submit(collected()).result(LONG)
    assert cache.get_or_set("other", lambda: "answered") == "answered"
    source.go()
    assert source.closed.wait(LONG)


def test_a_finalizer_that_asks_in_the_loops_own_thread_is_told(cache: SyncCache[Any]) -> None:
    """It would wait for itself, and all threads for it."""
    said: list[str] = []

    class Asks:
        def __del__(self) -> None:
            try:
                cache.get_or_set("q", lambda: 1)
            except CacheError as error:
                said.append(str(error))

    async def dropped() -> None:
        Asks()

    cache._thread.submit(dropped()).result(LONG)
    assert len(said) == 1
    assert "the cache was called in its own thread" in said[0]
    Asks()  # in any other thread it is a call as any other
    assert len(said) == 1
    assert cache.get("q") == 1


def test_wrong_use_says_what_is_right(cache: SyncCache[Any]) -> None:
    with pytest.raises(OptionsError, match="factory must be a function, not a list"):
        cache.stream("q", [], assemble="".join, replay=list)  # type: ignore[arg-type]  # on purpose

    async def asynchronous() -> Any:
        yield ""

    async def coroutine() -> list[str]:
        return []

    wrong: list[tuple[Any, str]] = [
        (asynchronous, "async_generator"),
        (coroutine, "coroutine"),
        (lambda: "text", "str"),
        (lambda: None, "NoneType"),
    ]
    for factory, kind in wrong:
        with pytest.raises(TypeError, match=rf"returned a {kind}, which has no chunks: write `def` with `yield`"):
            list(ask(cache, factory))
    with pytest.raises(OptionsError, match=r"use\s+cache\.stream"):
        cache.cached(Source().__call__)

    def exits() -> Iterator[str]:
        raise SystemExit(3)
        yield ""

    with pytest.raises(RuntimeError, match="the generator raised SystemExit"):
        list(ask(cache, exits))


def test_one_stream_has_one_reader(cache: SyncCache[Any]) -> None:
    source = Source().go(1)
    stream = ask(cache, source)
    assert next(stream) == WORDS[0]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, stream)
        while not stream._reading.locked():
            pass
        with pytest.raises(CacheError, match="another thread is reading this stream"):
            next(stream)
        source.go()
        assert waiting.result(LONG) == WORDS[1]
