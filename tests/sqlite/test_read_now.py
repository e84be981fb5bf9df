"""A cache over a file, read in the thread of its caller: as right as by the way through the event loop."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, SyncCache, bypass
from cachecore.api.loop_thread import LoopThread
from cachecore.engine.read_now import UNKNOWN, fetch_now
from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.file.locality import is_local
from cachecore_sqlite.threads import direct

pytestmark = pytest.mark.skipif(not is_local(os.path.realpath("/tmp")), reason="the disk is not known to be local")


@pytest.fixture(autouse=True)
def never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine any read may be slow; here none is."""
    monkeypatch.setattr(direct, "SLOW_SECONDS", math.inf)


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that were carried to the loop of another thread."""
    calls: list[Any] = []
    submit = LoopThread.submit

    def counted(self: LoopThread, call: Any) -> Any:
        calls.append(call)
        return submit(self, call)

    monkeypatch.setattr(LoopThread, "submit", counted)
    return calls


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[SyncCache[Any]]:
    with SyncCache[Any](f"sqlite:///{tmp_path}/cache.db", ttl=60, l1_max_entries=0) as cache:
        yield cache


def _ready(cache: SyncCache[Any], question: str = "q") -> None:
    """Call until the file is read in this thread and the feed is live."""
    limit = time.monotonic() + 60
    scope = cache._cache._scope
    while fetch_now(scope, cache.key(question))[1] == UNKNOWN or not scope.engine.feed_state.live:
        assert time.monotonic() < limit
        scope.engine.raw._pool.direct._rests_until = 0.0  # type: ignore[attr-defined]  # a SQLiteBackend
        cache.get(question)


def test_hits_and_misses_stay_in_the_thread(cache: SyncCache[Any], submitted: list[Any]) -> None:
    """A hit, and a miss of `get`, go to no other thread; they are counted as elsewhere."""
    cache.set("q", {"a": 1})
    _ready(cache)
    for _ in range(100):
        before, count = cache.stats, len(submitted)
        assert cache.get("q") == {"a": 1}
        assert cache.get_or_set("q", lambda: pytest.fail("it is there")) == {"a": 1}
        assert cache.get("nothing", "default") == "default"
        after = cache.stats
        assert (after.hits_l2 - before.hits_l2, after.misses - before.misses) == (2, 1)
        if len(submitted) == count:
            break  # the heartbeat, which reads as well, did not have the connection
    else:
        pytest.fail("each time a call went to the other thread")
    assert cache.get_or_set("nothing", lambda: "computed") == "computed"
    assert cache.get("nothing") == "computed"


def test_a_read_sees_what_was_acknowledged(cache: SyncCache[Any], tmp_path: Path) -> None:
    """Sets, deletions and invalidations, here and by another cache, hold for the next read."""
    cache.set("q", 0)
    _ready(cache)
    with SyncCache[Any](f"sqlite:///{tmp_path}/cache.db", ttl=60) as other:
        for number in range(20):
            for writer in (cache, other):
                writer.set("q", number)
                assert cache.get("q") == number
                writer.delete("q")
                assert cache.get("q") is None
            cache.set("q", number, tags=["t"])
            assert cache.get("q") == number
            cache.invalidate_tags("t")
            assert cache.get("q") is None


def test_other_caches_are_heard(tmp_path: Path) -> None:
    """With copies in memory, a change and an invalidation by another cache are heard within the time of the feed."""
    url = f"sqlite:///{tmp_path}/cache.db"
    with SyncCache[Any](url, ttl=60) as cache, SyncCache[Any](url, ttl=60) as other:
        cache.set("q", -1)
        _ready(cache)
        for number in range(20):
            other.set("q", number)
            limit = time.monotonic() + 60
            while cache.get("q") != number:
                assert time.monotonic() < limit
            other.invalidate_all()
            while cache.get("q") is not None:
                assert time.monotonic() < limit


def test_a_change_during_the_read_leaves_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that a write overtakes returns a value of its time and keeps nothing in memory."""
    with SyncCache[Any](f"sqlite:///{tmp_path}/cache.db", ttl=60) as cache:
        cache.set("q", "old")
        scope = cache._cache._scope
        _ready(cache)
        scope.engine.l1.clear()
        backend: Any = scope.engine.raw
        read_now = backend._pool.direct.read
        done: list[bool] = []

        def overtaken(keys: list[str]) -> list[bytes | None] | None:
            values: list[bytes | None] | None = read_now(keys)
            if values is not None and not done and threading.current_thread() is threading.main_thread():
                done.append(True)
                cache.set("q", "new")
                scope.engine.l1.clear()  # what the write itself has kept
            return values

        monkeypatch.setattr(backend._pool.direct, "read", overtaken)
        limit = time.monotonic() + 60
        while not done:  # the heartbeat reads, too, and may have the connection
            assert time.monotonic() < limit
            scope.engine.l1.clear()
            assert cache.get("q") in ("old", "new")  # new: the feed was late, and the event loop has read again
        assert cache.peek("q") in (None, "new")
        assert cache.get("q") == "new"


def test_doubtful_stores_are_asked_the_usual_way(cache: SyncCache[Any], submitted: list[Any]) -> None:
    """While the breaker has counted a failure, or the store was found behind, the event loop decides."""
    cache.set("q", "v")
    _ready(cache)
    engine = cache._cache._scope.engine
    key = cache.key("q")
    _ready(cache)
    (mark,) = engine.marks.of([key])
    mark.known += 1
    assert fetch_now(cache._cache._scope, key)[1] == UNKNOWN
    mark.known -= 1
    _ready(cache)
    breaker = engine.backend._whole.breaker
    breaker.failed(breaker.ticket or 0, engine.monotonic())
    assert fetch_now(cache._cache._scope, key)[1] == UNKNOWN
    count = len(submitted)
    assert cache.get("q") == "v"
    assert len(submitted) == count + 1


def test_rejected_entries_are_counted_as_elsewhere(cache: SyncCache[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no entry are a miss, and counted as often as by the way through the event loop."""
    cache.set("q", "v")
    _ready(cache)
    backend: Any = cache._cache._scope.engine.raw
    calls: list[Callable[[], Any]] = [lambda: cache.get("q"), lambda: cache.get_or_set("q", lambda: None)]
    counted: list[list[int]] = []
    for read in (backend._pool.direct.read, lambda keys: None):
        monkeypatch.setattr(backend._pool.direct, "read", read)
        counts = []
        for call in calls:
            cache._thread.submit(_stored(backend, cache.key("q"), b"no entry")).result()
            before = sum(cache.stats.rejected.values())
            assert call() is None
            counts.append(sum(cache.stats.rejected.values()) - before)
        counted.append(counts)
    assert counted[0] == counted[1]
    assert counted[0][0] == 1


async def _stored(backend: SQLiteBackend, key: str, value: bytes) -> None:
    await backend.set_many({key: value}, ttl=60)


def test_bypass_and_closing(tmp_path: Path, submitted: list[Any]) -> None:
    """Within `bypass()`, and after closing, nothing is read from the file."""
    cache = SyncCache[Any](f"sqlite:///{tmp_path}/cache.db", ttl=60, l1_max_entries=0)
    cache.set("q", "v")
    _ready(cache)
    with bypass():
        assert cache.get("q") is None
        assert cache.get_or_set("q", lambda: "own") == "own"
    assert cache.get("q") == "v"
    cache.close()
    assert fetch_now(cache._cache._scope, cache.key("q"))[1] == UNKNOWN


async def test_lone_reads_take_no_turn_of_the_loop(tmp_path: Path) -> None:
    """A hit in the file is answered within the call; reads of one tick still share one read of the file."""
    async with Cache[Any](f"sqlite:///{tmp_path}/cache.db", ttl=60, l1_max_entries=0) as cache:
        for number in range(64):
            await cache.set(number, number)
        backend: Any = cache._engine.raw
        limit = time.monotonic() + 60
        while backend.read_now([cache.key(0)]) is None or not cache._engine.feed_state.live:
            assert time.monotonic() < limit
            backend._pool.direct._rests_until = 0.0
            await cache.get(0)
        answered: int | None = None
        while answered is None:  # a read that finds the store's clock due goes the usual way
            lone = cache.get(0)
            try:
                lone.send(None)
            except StopIteration as ended:
                answered = ended.value
            else:
                lone.close()
                assert time.monotonic() < limit
                await cache.get(0)
        assert answered == 0
        reads: list[int] = []
        read = backend._pool.direct.read

        def counted(keys: list[str]) -> Any:
            reads.append(len(keys))
            return read(keys)

        backend._pool.direct.read = counted
        assert await asyncio.gather(*(cache.get(number) for number in range(64))) == list(range(64))
        assert [keys for keys in reads if keys > 1] == [65]  # and the mark; the heartbeat reads that alone
