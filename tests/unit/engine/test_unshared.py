"""A value that cannot be copied goes to one caller; each other computes for itself, at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cachecore import FlightCycleError, SyncCache
from cachecore.engine.unshared import UNSHARED_SECONDS, Unshared
from tests.unit.virtual_caches import Answer, Scene, virtual


class Body:
    """A response with a stream: it has no encoding, and reading it uses it up."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    async def read(self) -> list[str]:
        taken, self.lines = self.lines, []
        return taken


class Bodies(Answer):
    """A factory of bodies, each of two lines, after `seconds`."""

    async def __call__(self) -> Body:
        return Body([f"{await super().__call__()}", "end"])


def _now() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_each_of_those_who_wait_gets_a_whole_body(scene: Scene) -> None:
    """One call is shared at first; when its value turns out to have no copy, the others compute at the same time."""
    cache, make = scene.cache(), Bodies(1.0)
    began = _now()
    bodies = await asyncio.gather(*(cache.get_or_set("report", make) for _ in range(5)))
    assert len({id(body) for body in bodies}) == 5
    assert [len(await body.read()) for body in bodies] == [2] * 5
    assert make.calls == 5
    assert _now() - began == pytest.approx(2.0, abs=0.2)


@virtual
async def test_for_a_minute_nobody_waits(scene: Scene) -> None:
    cache, make = scene.cache(), Bodies(1.0)
    await cache.get_or_set("report", make)
    for pause in (0.0, UNSHARED_SECONDS / 2):
        await asyncio.sleep(pause)
        began = _now()
        await asyncio.gather(*(cache.get_or_set(("report", pause), make) for _ in range(5)))
        assert _now() - began == pytest.approx(1.0, abs=0.1)
    await asyncio.sleep(UNSHARED_SECONDS + 1)
    plain = Answer(1.0)
    assert await asyncio.gather(*(cache.get_or_set("other", plain) for _ in range(5))) == [1] * 5


@virtual
async def test_nobody_waits_for_another_process_either(scene: Scene) -> None:
    one, two = scene.cache(), scene.cache()
    make = Bodies(1.0)
    await asyncio.gather(one.get_or_set("first", make), two.get_or_set("second", make))
    began = _now()
    bodies = await asyncio.gather(one.get_or_set("report", make), two.get_or_set("report", make))
    assert [len(await body.read()) for body in bodies] == [2, 2]
    assert _now() - began == pytest.approx(1.0, abs=0.1)


@virtual
async def test_other_functions_of_the_namespace_still_share_one_call(scene: Scene) -> None:
    cache = scene.cache()
    plain = Answer(1.0)

    @cache.cached(name="function 1")
    async def report(name: str) -> Body:
        await asyncio.sleep(1.0)
        return Body([name, "end"])

    @cache.cached(name="function 2")
    async def number(name: str) -> Any:
        return [await plain(), name]

    bodies = await asyncio.gather(*(report("sales") for _ in range(3)))
    assert [await body.read() for body in bodies] == [["sales", "end"]] * 3
    answers = await asyncio.gather(*(number("sales") for _ in range(5)))
    assert answers == [[1, "sales"]] * 5
    assert len({id(answer) for answer in answers}) == 5


@virtual
async def test_a_function_of_both_kinds_of_values_is_cached_all_the_same(scene: Scene) -> None:
    """What does encode is stored within the minute too, by one of those who compute."""
    cache, calls = scene.cache(), 0

    async def make(kind: str) -> Any:
        nonlocal calls
        calls += 1
        return Body(["x", "end"]) if kind == "body" else {"kind": kind}

    @cache.cached(name="function 3")
    async def answer(kind: str) -> Any:
        return await make(kind)

    await answer("body")
    assert await answer("data") == {"kind": "data"}
    before = calls
    assert await answer("data") == {"kind": "data"}
    assert calls == before


@virtual
async def test_single_keys_and_batches_never_share_a_body(scene: Scene) -> None:
    cache = scene.cache()
    calls: list[list[str]] = []

    async def bodies(names: list[str]) -> dict[str, Body]:
        calls.append(names)
        await asyncio.sleep(1.0)
        return {name: Body([name, "end"]) for name in names}

    async def body() -> Body:
        await asyncio.sleep(1.0)
        return Body(["a", "end"])

    for _ in range(2):  # waiting for each other at first, not waiting after that
        first, second, single = await asyncio.gather(
            cache.get_or_set_many(["a", "b"], bodies),
            cache.get_or_set_many(["b", "c"], bodies),
            cache.get_or_set("a", body),
        )
        assert (sorted(first), sorted(second)) == (["a", "b"], ["b", "c"])
        handed = [*first.values(), *second.values(), single]
        assert len({id(one) for one in handed}) == 5
        assert [await one.read() for one in handed] == [
            ["a", "end"],
            ["b", "end"],
            ["b", "end"],
            ["c", "end"],
            ["a", "end"],
        ]
    # A batch asks a second time for what it waited for in vain; within the minute after that, once for all its names.
    assert sorted(calls[-2:]) == [["a", "b"], ["b", "c"]]
    assert len(calls) == 6


@virtual
async def test_a_batch_that_computes_for_itself_fails_for_itself(scene: Scene) -> None:
    cache, turns = scene.cache(), iter(range(10))

    async def bodies(names: list[str]) -> dict[str, Body]:
        turn = next(turns)
        await asyncio.sleep(1.0)
        if turn == 1:
            raise ValueError("the second call")
        return {name: Body(["x", "end"]) for name in names}

    first, second = await asyncio.gather(
        *(cache.get_or_set_many(["a"], bodies) for _ in range(2)), return_exceptions=True
    )
    assert isinstance(first, dict)
    assert isinstance(second, ValueError)


@virtual
async def test_cancelling_one_leaves_the_others(scene: Scene) -> None:
    cache, make = scene.cache(), Bodies(1.0)
    await cache.get_or_set("first", make)
    tasks = [asyncio.ensure_future(cache.get_or_set("report", make)) for _ in range(4)]
    await asyncio.sleep(0.5)
    tasks[0].cancel()
    tasks[2].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["CancelledError", "Body", "CancelledError", "Body"]
    assert make.cancelled == 2


@virtual
async def test_time_and_cycles_are_bounded_as_for_all(scene: Scene) -> None:
    cache = scene.cache(factory_timeout=2.0)
    hanging = Bodies(0.5)
    await cache.get_or_set("first", hanging)
    hanging.seconds = 1000.0
    failures = await asyncio.gather(*(cache.get_or_set("report", hanging) for _ in range(3)), return_exceptions=True)
    assert [type(failure) for failure in failures] == [TimeoutError] * 3

    async def asks_itself() -> Body:
        await cache.get_or_set("loop", asks_itself)
        return Body([])

    cache._engine.unshared.note(cache._scope.keys.namespace, asks_itself)
    with pytest.raises(FlightCycleError):
        await cache.get_or_set("loop", asks_itself)


@virtual
async def test_what_is_immutable_is_shared_though_it_does_not_encode(scene: Scene) -> None:
    cache, calls = scene.cache(), Answer(1.0)

    async def huge() -> int:
        await calls()
        return 1 << 200  # no integer of MessagePack

    assert set(await asyncio.gather(*(cache.get_or_set("huge", huge) for _ in range(5)))) == {1 << 200}
    assert calls.calls == 1


def test_threads_get_a_body_each() -> None:
    """The same through `SyncCache`: a generator for each thread, in its own thread."""
    started = threading.Barrier(4, timeout=10)

    def lines() -> Iterable[str]:
        yield from (threading.current_thread().name, "end")

    def use(call: Callable[[], Iterable[str]]) -> tuple[str, list[str]]:
        started.wait()
        return threading.current_thread().name, list(call())

    shared: SyncCache[Any] = SyncCache("memory://", ttl=60)
    with shared as cache, ThreadPoolExecutor(4) as pool:
        factory = cache.cached(name="lines")(lambda: lines())
        for call in (lambda: cache.get_or_set("lines", lines), factory):
            futures = [pool.submit(use, call) for _ in range(4)]
            for name, taken in (future.result(10) for future in futures):
                assert len(taken) == 2, name


async def test_generators_are_nobody_elses() -> None:
    """An async generator as an answer: whoever gets one gets all of it."""
    from cachecore import Cache

    async def chunks() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def factory() -> AsyncIterator[int]:
        await asyncio.sleep(0)
        return chunks()

    shared: Cache[Any] = Cache("memory://", ttl=60)
    async with shared as cache:

        async def body() -> list[int]:
            return [number async for number in await cache.get_or_set("chunks", factory)]

        assert await asyncio.gather(*(body() for _ in range(4))) == [[0, 1, 2]] * 4


class _Endless:
    """Claims to wrap another without end, as proxies do."""

    def __getattr__(self, name: str) -> Any:
        return _Endless()

    def __call__(self) -> None: ...


def test_functions_are_told_apart_by_their_code() -> None:
    now = [0.0]
    unshared = Unshared(lambda: now[0])

    def made(number: int) -> Callable[[], int]:
        return lambda: number

    unshared.note("n", made(1))
    assert unshared.lately("n", made(2))
    assert not unshared.lately("m", made(1))
    assert not unshared.lately("n", lambda: 1)
    unshared.note("n", _Endless())
    assert unshared.lately("n", _Endless())
    now[0] = UNSHARED_SECONDS
    assert not unshared.lately("n", made(2))
