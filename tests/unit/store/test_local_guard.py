"""The guard of a store in this process: the answers of the guard, without a task and without a turn of the loop."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cachecore import Cache, bypass
from cachecore.contract.clock import SystemClock
from cachecore.contract.errors import BackendError, BackendUnavailable, CacheError, InvalidationPending
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import SupportsExtend, SupportsMarks, SupportsScan, SupportsSizes, SupportsTime
from cachecore.store.guard import Guard
from cachecore.store.local_guard import LocalGuard, guard_of
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend


class Noted:
    """An observer that counts."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: list[tuple[str, str]] = []

    def recorder(self, operation: str) -> Callable[[float], object]:
        def took(seconds: float) -> None:
            assert 0 <= seconds < 60
            self.calls.append(operation)

        return took

    def backend_error(self, operation: str, reason: str) -> None:
        self.errors.append((operation, reason))

    def breaker_state(self, partition: str, state: str) -> None:
        raise AssertionError("it has none")


def guarded(backend: Any) -> tuple[Guard, Noted]:
    noted = Noted()
    return guard_of(backend, StoreOptions(), clock=SystemClock(), chance=random.Random(1), observer=noted), noted


def test_only_a_memory_backend_itself_is_called_directly() -> None:
    class Slow(MemoryBackend):
        """May wait."""

    assert type(guarded(MemoryBackend())[0]) is LocalGuard
    for backend in (Slow(), FaultyBackend(MemoryBackend())):
        assert type(guarded(backend)[0]) is Guard


async def test_it_answers_as_the_store_does() -> None:
    guard, noted = guarded(MemoryBackend())
    for one in (guard, guard.explicit):
        await one.set_many({"a": b"1", "b": b"2"}, ttl=5)
        assert await one.get_many(["b", "c", "a"]) == [b"2", None, b"1"]
        assert await one.swap("a", b"1", b"3", ttl=5)
        assert not await one.swap("a", b"1", b"4", ttl=5)
        assert isinstance(one, SupportsSizes)
        assert await one.sizes(["a", "c"]) == [1, 0]
        assert isinstance(one, SupportsExtend)
        assert await one.extend({"a": b"3", "b": b"0"}, ttl=9) == [True, False]
        assert await one.delete_many(["a", "b", "c"]) == 2
        assert not isinstance(one, SupportsMarks)
    assert isinstance(guard, SupportsScan)
    assert isinstance(guard, SupportsTime)
    assert await guard.time() > 1e9
    assert set(noted.calls) == {"set_many", "get_many", "swap", "sizes", "extend", "delete_many", "time"}
    assert noted.errors == []


async def test_a_read_is_answered_before_it_returns() -> None:
    guard, _ = guarded(MemoryBackend())
    await guard.set_many({"a": b"1"}, ttl=None)
    answers: list[tuple[list[bytes | None], BackendError | None]] = []
    guard.begin_read(["a", "b"], lambda values, error: answers.append((values, error)))
    assert answers == [([b"1", None], None)]


async def test_a_closed_store_and_a_closed_guard_are_counted_errors() -> None:
    backend = MemoryBackend()
    guard, noted = guarded(backend)
    await backend.aclose()
    with pytest.raises(BackendUnavailable):
        await guard.get_many(["a"])
    answers: list[BackendError | None] = []
    guard.begin_read(["a"], lambda values, error: answers.append(error))
    assert isinstance(answers[0], BackendUnavailable)
    assert noted.errors == [("get_many", "closed")] * 2
    await guard.aclose()
    with pytest.raises(BackendUnavailable):
        await guard.explicit.set_many({"a": b"1"}, ttl=None)


async def test_set_takes_no_task_and_no_turn_of_the_loop() -> None:
    """Nor does the read that follows, if the copy in memory has left."""
    loop, turns, tasks = asyncio.get_running_loop(), list[int](), list[Any]()
    async with Cache("memory://", ttl=60) as cache:
        await cache.set("a", 1)  # the first one measures the store's clock and makes the stamps

        def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
            tasks.append(coroutine)
            return asyncio.Task(coroutine, loop=loop, **options)

        loop.set_task_factory(factory)
        loop.call_soon(turns.append, 1)
        try:
            assert await cache.set("a", 2)
            assert await cache.set("b", {"text": "x" * 5000}, tags=["t"])
            assert await cache.set_many({"c": 1, "d": 2}) == [True, True]
            assert [await cache.get(name) for name in "abcd"] == [2, {"text": "x" * 5000}, 1, 2]
            assert (turns, [task.__qualname__ for task in tasks if "create" not in task.__qualname__]) == ([], [])
        finally:
            loop.set_task_factory(None)


async def test_an_invalidation_between_two_sets_holds() -> None:
    async with Cache("memory://", ttl=60) as cache:
        await cache.set("a", 1, tags=["t"])
        await cache.invalidate_tags("t")
        assert await cache.get("a") is None
        await cache.set("a", 2, tags=["t"])
        await cache.set("a", 3, tags=["t"])
        assert await cache.get("a") == 3
        await cache.invalidate_all()
        assert await cache.get("a") is None
        with bypass():
            await cache.set("a", 4)
        assert await cache.get("a") == 4
        await cache.delete("a")
        assert await cache.get("a") is None
    with pytest.raises(CacheError):
        await cache.set("a", 5)


def test_threads_and_loops_share_one_store() -> None:
    """An answer that a thread has set or invalidated is seen by all at once."""
    cache: Cache[Any] = Cache("memory://", ttl=60)
    wrong: list[Any] = []

    async def work(name: str) -> None:
        for number in range(200):
            await cache.set(name, number, tags=[name])
            if await cache.get(name) != number:
                wrong.append((name, number))
            if number % 10 == 0:
                await cache.invalidate_tags(name)
                if await cache.get(name) is not None:
                    wrong.append((name, number, "invalidated"))

    threads = [threading.Thread(target=lambda name=name: asyncio.run(work(name))) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("call", ["delete", "expire", "invalidate_tags", "invalidate_all"])
async def test_an_invalidation_ends_though_the_application_has_closed_the_store(call: str) -> None:
    backend = MemoryBackend()
    cache: Cache[int] = Cache(backend, ttl=60, write_timeout=0.05)
    await cache.set("q", 1, tags=["t"])
    await backend.aclose()
    arguments = {"delete": ["q"], "expire": ["q"], "invalidate_tags": ["t"], "invalidate_all": []}[call]
    async with asyncio.timeout(5):
        with pytest.raises(InvalidationPending):
            await getattr(cache, call)(*arguments)
        assert await cache.set("q", 2) is False
    assert await cache.get("q") is None
    await cache.aclose()
