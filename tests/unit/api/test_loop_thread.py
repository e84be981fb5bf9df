"""The end of the thread of a synchronous cache."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cachecore import SyncCache
from cachecore.api import loop_thread
from cachecore.api.loop_thread import LoopThread
from cachecore.engine import ending


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.filterwarnings("error")
def test_a_task_that_begins_while_the_loop_ends_is_not_left_unstarted(turns: int) -> None:
    """A cache that is dropped at that time starts to close so many turns of the loop later: no warning."""
    kept: list[AsyncIterator[int]] = []

    async def close() -> None:
        await asyncio.sleep(0)

    def later(left: int) -> None:
        loop = asyncio.get_running_loop()
        if left:
            loop.call_soon(later, left - 1)
        else:
            loop.create_task(close())  # noqa: RUF006 - the loop ends it

    async def events() -> AsyncIterator[int]:
        try:
            yield 1
        finally:  # the loop closes open generators as the last thing
            later(turns)

    async def begin() -> None:
        kept.append(events())
        await anext(kept[0])

    thread = LoopThread()
    thread.submit(begin()).result(60)
    thread.stop()
    kept.clear()
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed cache")
def test_a_cache_that_is_collected_in_a_cycle_begins_to_close_before_its_thread_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its loop may be gone by then, and its last deletions with it."""
    ended: list[str] = []
    stop, abandoned = loop_thread._stop, ending._abandoned

    def stopped(loop: asyncio.AbstractEventLoop) -> None:
        ended.append("thread")
        stop(loop)

    def dropped(*given: Any) -> None:
        ended.append("cache")
        abandoned(*given)

    monkeypatch.setattr(loop_thread, "_stop", stopped)
    monkeypatch.setattr(ending, "_abandoned", dropped)
    cache = SyncCache[str](f"sqlite:///{tmp_path}/cache.db", ttl=60)
    cache.set("q", "v")
    cycle: list[object] = [cache]
    cycle.append(cycle)
    del cache, cycle
    gc.collect()
    assert ended == ["cache", "thread"]


def test_a_finalizer_that_runs_while_the_thread_starts_gets_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector may come by wherever something is allocated; there is one loop afterwards."""
    cache, found, real = SyncCache[int]("memory://", ttl=60), list[int](), threading.Thread
    made: list[threading.Thread] = []

    class Dropped:
        def __del__(self) -> None:
            found.append(cache.get_or_set("b", lambda: 2))

    def thread(*arguments: Any, **options: Any) -> threading.Thread:
        new = real(*arguments, **options)
        if options.get("name") == "cachecore":  # others may begin threads as well
            made.append(new)
            if not found:
                found.append(0)
                Dropped()
        return new

    monkeypatch.setattr(threading, "Thread", thread)
    assert cache.get_or_set("a", lambda: 1) == 1
    assert found == [0, 2]
    cache.close()
    for one in made:
        one.join(20)
    assert [one.is_alive() for one in made] == [False, False]
