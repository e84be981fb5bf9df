"""Whatever happens to a stream at any step of the loop: its other readers get all of it; only a whole one is stored."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from cachecore import Cache
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from cachecore.testing.virtual import VirtualClock
from tests.properties.network import Link
from tests.properties.test_interleavings import check_nothing_is_left
from tests.unit.engine.stream_sources import WORDS, Source, ask, read

TEXT = "".join(WORDS)
STEPS = 90
"""More turns of the loop than a stream takes here."""


class Scene:
    """One cache on a store that is some way off, in virtual time."""

    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock()
        self.store = FaultyBackend(Link(MemoryBackend(clock=self.clock), self.clock, random.Random(1)))
        self.cache: Cache[Any] = Cache(
            self.store, ttl=60, clock=self.clock, chance=random.Random(2), backend_timeout=0.5, **options
        )
        self.source = Source()
        self._turn = 0

    def at(self, turn: int, callback: Callable[[], object]) -> None:
        self._turn = self.clock.loop.turns + turn
        self.clock.loop.call_at_turn(self._turn, callback)

    def start(self, call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.clock.loop.create_task(call)

    async def end(self) -> None:
        """See that all is well afterwards, and that nothing is left."""
        self.store.heal()
        await self.cache.get("another question")
        await asyncio.sleep(10)
        self.clock.loop.call_at_turn(self._turn, _nothing)  # what did not happen holds its task, with all frames
        check_nothing_is_left([self.cache])
        kept = await self.cache.get("q")
        assert kept == (TEXT if kept is not None else None), "whole, or not at all"
        whole = Source()
        assert await read(ask(self.cache, whole)) == list(WORDS)
        assert whole.begun == (kept is None)
        await self.cache.aclose()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}


def each_step(body: Callable[[Scene, int], Awaitable[object]], *, every: int = 1, **options: Any) -> list[Any]:
    """Run `body` in a scene of its own for `every` so many steps; return what it returned for each."""

    async def main(scene: Scene, turn: int) -> object:
        outcome = await body(scene, turn)
        await scene.end()
        return outcome

    outcomes = []
    for turn in range(1, STEPS + 1, every):
        scene = Scene(**options)
        outcomes.append(scene.clock.run(main(scene, turn)))
    return outcomes


@pytest.mark.parametrize("finish", [False, True])
def test_the_only_reader_is_cancelled(finish: bool) -> None:
    async def body(scene: Scene, turn: int) -> tuple[bool, int]:
        task = scene.start(read(ask(scene.cache, scene.source)))
        scene.at(turn, task.cancel)
        await asyncio.wait([task])
        cancelled = task.cancelled()
        assert cancelled or task.result() == list(WORDS)
        del task
        await asyncio.sleep(5)
        assert scene.source.begun == scene.source.broken + scene.source.ended
        if finish:
            assert scene.source.broken == 0
        return cancelled, scene.source.broken

    outcomes = each_step(body, finish=finish)
    assert sum(cancelled for cancelled, _ in outcomes) > 15
    assert outcomes[-1] == (False, 0)
    assert any(broken for _, broken in outcomes) != finish


@pytest.mark.parametrize("leaving", [0, 2, 4], ids=["the first", "another", "one for the whole"])
def test_one_of_five_callers_is_cancelled(leaving: int) -> None:
    async def body(scene: Scene, turn: int) -> bool:
        async def late() -> list[str]:
            await asyncio.sleep(0.055)
            return await read(ask(scene.cache, scene.source))

        tasks = [scene.start(read(ask(scene.cache, scene.source))) for _ in range(3)]
        tasks += [scene.start(late()), scene.start(scene.cache.get_or_set("q", _never))]
        await asyncio.sleep(0)
        scene.at(turn, tasks[leaving].cancel)
        await asyncio.wait(tasks)
        for number, task in enumerate(tasks):
            if number != leaving or not task.cancelled():
                assert task.result() == (TEXT if number == 4 else list(WORDS))
        assert scene.source.begun == scene.source.ended == 1
        return tasks[leaving].cancelled()

    left = each_step(body)
    assert left.count(True) > 15
    assert not left[-1]


def test_all_are_cancelled_at_once() -> None:
    async def body(scene: Scene, turn: int) -> bool:
        tasks = [scene.start(read(ask(scene.cache, scene.source))) for _ in range(3)]
        scene.at(turn, lambda: [task.cancel() for task in tasks])
        await asyncio.wait(tasks)
        everybody = all(task.cancelled() for task in tasks)
        tasks.clear()  # their errors hold the frames that they passed
        await asyncio.sleep(0.5)
        assert scene.source.begun == scene.source.broken + scene.source.ended
        assert await scene.cache.get("q") == (TEXT if scene.source.ended else None)
        return everybody

    left = each_step(body)
    assert left.count(True) > 15
    assert not left[-1]


def test_all_leave_and_one_comes_in_the_same_step() -> None:
    """Who comes while a stream is being given up gets one of its own, whole."""

    async def body(scene: Scene, turn: int) -> int:
        first = scene.start(read(ask(scene.cache, scene.source)))
        coming: asyncio.Future[asyncio.Task[list[str]]] = asyncio.get_running_loop().create_future()

        def change() -> None:
            first.cancel()
            coming.set_result(scene.start(read(ask(scene.cache, scene.source))))

        scene.at(turn, change)
        for _ in range(STEPS):
            await asyncio.sleep(0.01)  # some turns more
        assert await (await coming) in (list(WORDS), [f"{word} " for word in TEXT.split()])
        return scene.source.begun

    assert set(each_step(body)) == {1, 2}


def test_the_provider_cuts_while_a_reader_is_cancelled() -> None:
    async def body(scene: Scene, turn: int) -> bool:
        scene.source.fails_at = 2
        tasks = [scene.start(read(ask(scene.cache, scene.source))) for _ in range(3)]
        scene.at(turn, tasks[0].cancel)
        await asyncio.wait(tasks)
        for task in tasks[1:] if tasks[0].cancelled() else tasks:
            assert isinstance(task.exception(), ConnectionError)
        assert scene.source.begun == scene.source.broken == 1
        cancelled = tasks[0].cancelled()
        tasks.clear()
        return cancelled

    left = each_step(body)
    assert left.count(True) > 10
    assert not left[-1]


def test_one_lags_while_another_is_cancelled() -> None:
    async def body(scene: Scene, turn: int) -> bool:
        fast = scene.start(read(ask(scene.cache, scene.source)))
        slow = scene.start(read(ask(scene.cache, scene.source), pause=0.03))
        scene.at(turn, fast.cancel)
        await asyncio.wait([fast, slow])
        if fast.cancelled():
            assert slow.exception() is None or "lost" in str(slow.exception())
        else:
            assert fast.result() == list(WORDS)
        lagged = slow.exception() is not None
        if not lagged:
            assert slow.result() == list(WORDS)
        cancelled = fast.cancelled()
        del fast, slow
        await asyncio.sleep(0.1)
        assert await scene.cache.get("q") is None, "too long to be stored"
        return cancelled and not lagged

    saved = each_step(body, stream_max_chunks=2)
    assert saved.count(True) > 5, "the slow one is the fastest once the other has left"
    assert not saved[-1]


@pytest.mark.parametrize("how", ["tags", "all", "delete", "set"])
def test_an_invalidation_comes(how: str) -> None:
    """Who asks after it was acknowledged gets a stream that began after it; those who read go on undisturbed."""

    async def body(scene: Scene, turn: int) -> int:
        cache, new = scene.cache, Source("new ")
        older: list[bool] = []

        async def change() -> list[str]:
            older.append(scene.source.begun > 0)
            if how == "tags":
                await cache.invalidate_tags("t")
            elif how == "all":
                await cache.invalidate_all()
            elif how == "delete":
                await cache.delete("q")
            else:
                await cache.set("q", "new ", tags=["t"])
            return await read(ask(cache, new, tags=["t"]))

        changes: asyncio.Future[asyncio.Task[list[str]]] = asyncio.get_running_loop().create_future()
        scene.at(turn, lambda: changes.set_result(scene.start(change())))
        reading = scene.start(read(ask(cache, scene.source, tags=["t"])))
        assert await reading in (list(WORDS), ["new "])
        for _ in range(STEPS):
            await asyncio.sleep(0.01)  # some turns more
        after = await (await changes)
        # A stream that began while it was on its way may be newer than it, and then counts as such.
        assert after == ["new "] or (how != "set" and not older[0] and after == list(WORDS))
        await asyncio.sleep(1)
        assert await cache.get("q", tags=["t"]) in (None, "new ", *([] if older[0] else [TEXT]))
        await cache.delete("q")
        await asyncio.sleep(0.1)
        return scene.source.begun

    assert sum(each_step(body)) > 20


@pytest.mark.parametrize("how", ["fail", "hang", "lose_writes"])
def test_the_store_dies(how: str) -> None:
    async def body(scene: Scene, turn: int) -> None:
        scene.at(turn, getattr(scene.store, how))
        tasks = [scene.start(read(ask(scene.cache, scene.source))) for _ in range(3)]
        for task in tasks:
            assert await task == list(WORDS)
        assert scene.source.begun == 1
        assert scene.cache.stats.factory_errors == 0
        scene.store.heal()
        await asyncio.sleep(5)

    each_step(body)


def test_the_deadline_strikes_a_stuck_provider_at_every_chunk() -> None:
    async def body(scene: Scene, turn: int) -> None:
        scene.source.hangs_at = turn % 4
        tasks = [scene.start(read(ask(scene.cache, scene.source))) for _ in range(2)]
        scene.at(turn, tasks[0].cancel)
        with pytest.raises(TimeoutError):
            await tasks[1]
        assert tasks[0].cancelled() or isinstance(tasks[0].exception(), TimeoutError)
        tasks.clear()

    each_step(body, every=3, factory_timeout=1)


def test_a_loop_that_ends_leaves_no_half_answer() -> None:
    """Another loop finds the whole answer or none, and is served."""
    begun = []

    async def words() -> Any:
        begun.append(1)
        for word in WORDS:
            await asyncio.sleep(0)
            yield word

    async def ends(cache: Cache[Any], turn: int) -> None:
        tasks = [asyncio.ensure_future(read(ask(cache, words))) for _ in range(2)]
        for _ in range(turn):
            await asyncio.sleep(0)
        del tasks[:]

    async def goes_on(cache: Cache[Any]) -> tuple[Any, list[str]]:
        kept = await cache.get("q")
        return kept, await read(ask(cache, words))

    seen = set()
    for turn in range(60):
        cache: Cache[Any] = Cache("memory://", ttl=60)
        asyncio.run(ends(cache, turn))
        kept, chunks = asyncio.run(goes_on(cache))
        assert kept in (None, TEXT)
        assert "".join(chunks) == TEXT
        seen.add(kept)
    assert seen == {None, TEXT}


def _nothing() -> None:
    """Do nothing."""


async def _never() -> Any:
    raise AssertionError("the stream is under way")
