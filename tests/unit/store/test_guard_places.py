"""The guard lets a bounded number of calls under way, and lets them go when it is closed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore.contract.futures import InlineFuture
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import CacheBackend
from cachecore.store import bulkhead as lane
from cachecore.store.guard import Guard
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from cachecore.testing.virtual import VirtualClock
from tests.unit.store.guarded import Guarded, Recording, until


@pytest.fixture
def made() -> Guarded:
    return Guarded()


async def test_calls_under_way_are_bounded() -> None:
    made = Guarded(backend_timeout=30, max_in_flight=4)
    most = 0

    class Counting(MemoryBackend):
        now = 0

        async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
            nonlocal most
            self.now += 1
            most = max(most, self.now)
            await asyncio.sleep(0)
            self.now -= 1
            return [keys[0].encode()]

    made.store.inner = Counting()
    answers = await asyncio.gather(*(made.guard.get_many([f"k{i}"]) for i in range(100)))
    assert answers == [[b"k%d" % i] for i in range(100)]
    assert most == 4


async def test_waiting_for_a_place_ends_at_the_deadline_and_is_not_the_stores_fault() -> None:
    made = Guarded(max_in_flight=1, breaker_failures=2, backend_timeout=0.05)
    made.store.hang("get_many", times=1)
    first = asyncio.ensure_future(made.guard.get_many(["first"]))
    await until(lambda: made.store.hanging == 1)
    waiting = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(5)]
    with pytest.raises(BackendTimeout, match="timeout"):
        await first
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        # The first call ends when it is cancelled, so its place may just have come in time.
        assert result == [None] or (isinstance(result, BackendTimeout) and result.reason == "busy")
    assert made.guard.states() == {"": "closed"}
    assert await made.guard.get_many(["k"]) == [None]


def test_call_that_waited_for_a_place_has_its_whole_deadline() -> None:
    """Else the store would be blamed for what was left of it: three such calls, and the breaker opens."""
    clock = VirtualClock()

    async def main() -> None:
        seen = Recording()
        store = FaultyBackend()
        options = StoreOptions(max_in_flight=1, backend_timeout=1.0)
        guard = Guard(store, options, clock=clock, chance=random.Random(1), observer=seen)
        store.delay("get_many", 0.9)
        began = clock.monotonic()
        first, second = (asyncio.ensure_future(guard.get_many([f"k{i}"])) for i in range(2))
        assert await first == await second == [None]
        assert clock.monotonic() - began >= 1.8
        assert seen.errors == []

    clock.run(main())


async def _second_is_refused(store: CacheBackend, clock: VirtualClock) -> tuple[Guard, Recording]:
    """Let a second call wait for the place of one that gets no answer, and opens the breaker."""
    seen = Recording()
    options = StoreOptions(max_in_flight=1, backend_timeout=1.0, breaker_failures=1)
    guard = Guard(store, options, clock=clock, chance=random.Random(1), observer=seen)
    first = asyncio.ensure_future(guard.get_many(["first"]))
    await asyncio.sleep(0.5)
    second = asyncio.ensure_future(guard.get_many(["second"]))
    with pytest.raises(BackendTimeout):
        await first
    with pytest.raises(BackendUnavailable, match="breaker_open"):
        await second
    return guard, seen


def test_call_that_waits_while_the_breaker_opens_is_refused() -> None:
    clock = VirtualClock()

    async def main() -> None:
        store = FaultyBackend()
        store.hang("get_many")
        _, seen = await _second_is_refused(store, clock)
        assert [call.keys for call in store.calls] == [("first",)]
        assert seen.errors == [("get_many", "timeout"), ("get_many", "breaker_open")]

    clock.run(main())


def test_call_that_waits_is_refused_also_where_the_store_lets_go_at_once() -> None:
    """A prompt future gives its place away within its cancellation, before the guard has gone on."""
    clock = VirtualClock()

    async def main() -> None:
        asked: list[Sequence[str]] = []

        class Silent(MemoryBackend):
            # A future is awaitable, too.
            def get_many(self, keys: Sequence[str]) -> InlineFuture[list[bytes | None]]:  # type: ignore[override] # see above
                asked.append(keys)
                return InlineFuture(loop=asyncio.get_running_loop())

        guard, _ = await _second_is_refused(Silent(), clock)
        assert asked == [["first"]]
        assert guard.under_way == 0

    clock.run(main())


async def test_calls_that_wait_for_a_place_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many fails at once, as one that waited in vain does; it is counted, and says nothing of the store."""
    monkeypatch.setattr(lane, "LEAST_WAITING", 4)
    made = Guarded(max_in_flight=2, backend_timeout=30, breaker_failures=1)
    made.store.hang("get_many", times=2)
    calls = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(2 + 2 * lane.WAITING_PER_PLACE)]
    await until(lambda: made.store.hanging == 2)
    started = asyncio.get_running_loop().time()
    for _ in range(3):
        with pytest.raises(BackendTimeout, match="busy"):
            await made.guard.get_many(["one too many"])
        with pytest.raises(BackendTimeout, match="busy"):
            await made.guard.set_many({"one too many": b"v"}, ttl=None)
    answers: list[tuple[list[bytes | None], BackendError | None]] = []
    made.guard.begin_read(["one too many"], lambda values, error: answers.append((values, error)))
    assert [(values, type(error)) for values, error in answers] == [([], BackendTimeout)]
    assert asyncio.get_running_loop().time() < started + 5
    assert made.seen.errors == [("get_many", "busy"), ("set_many", "busy")] * 3 + [("get_many", "busy")]
    assert made.guard.states() == {"": "closed"}
    made.store.heal()
    assert await asyncio.gather(*calls) == [[None]] * len(calls)
    assert await made.guard.get_many(["k"]) == [None]


async def test_few_places_do_not_mean_few_who_wait() -> None:
    made = Guarded(max_in_flight=1, backend_timeout=30)
    made.store.hang("get_many", times=1)
    calls = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(1 + lane.LEAST_WAITING)]
    await until(lambda: made.store.hanging == 1)
    with pytest.raises(BackendTimeout, match="busy"):
        await made.guard.get_many(["one too many"])
    made.store.heal()
    assert await asyncio.gather(*calls) == [[None]] * len(calls)


def test_loop_that_stood_still_is_not_held_against_those_who_wait_for_a_place() -> None:
    """While it stood, nobody could have given them one; they get another deadline, once."""
    clock = VirtualClock()

    async def main() -> None:
        options = StoreOptions(max_in_flight=1, backend_timeout=0.2)
        guard = Guard(FaultyBackend(), options, clock=clock, chance=random.Random(1), observer=Recording())
        calls = [asyncio.ensure_future(guard.get_many([f"k{i}"])) for i in range(50)]
        await asyncio.sleep(0)
        clock.loop.stall(0.3)
        assert await asyncio.gather(*calls) == [[None]] * 50

    clock.run(main())


async def test_caller_that_left_the_queue_costs_the_store_nothing() -> None:
    made = Guarded(max_in_flight=1, backend_timeout=30)
    made.store.hang("get_many", times=1)
    first = asyncio.ensure_future(made.guard.get_many(["first"]))
    await until(lambda: made.store.hanging == 1)
    second = asyncio.ensure_future(made.guard.get_many(["second"]))
    third = asyncio.ensure_future(made.guard.get_many(["third"]))
    await asyncio.sleep(0)
    second.cancel()
    made.store.heal()
    assert await first == await third == [None]
    assert [call.keys for call in made.store.calls] == [("first",), ("third",)]
    assert second.cancelled()


async def test_calls_that_never_end_hold_their_places_until_the_store_is_well() -> None:
    """A driver that never lets go cannot take all places for ever; nor are more than those ever lost."""
    made = Guarded(max_in_flight=3)
    made.store.hang("get_many", swallow=None)
    for i in range(3):
        with pytest.raises(BackendTimeout):
            await made.guard.get_many([f"k{i}"])
    assert (made.guard.under_way, made.guard.states()) == (3, {"": "open"})
    made.store._faults.clear()  # well again, but what hangs goes on hanging
    made.clock.advance(1.0)
    with pytest.raises(BackendUnavailable):
        await made.guard.get_many(["k"])
    await until(lambda: made.guard.states() == {"": "closed"})
    assert await made.guard.get_many(["k"]) == [None]
    assert made.guard.under_way == 0
    made.store.heal()
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_places_of_the_long_abandoned_come_back_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Single calls that hang for ever, among others that succeed, never open the breaker."""
    made = Guarded(max_in_flight=2)
    for _ in range(2):
        made.store.hang("get_many", swallow=None, times=1)
        with pytest.raises(BackendTimeout):
            await made.guard.get_many(["k"])
        await made.guard.set_many({}, ttl=None)
    with pytest.raises(BackendTimeout, match="busy"):
        await made.guard.get_many(["k"])
    monkeypatch.setattr(lane, "FORGET_AFTER", 0.0)
    assert await made.guard.get_many(["k"]) == [None]
    made.store.heal()
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_scan_that_hangs_is_a_timeout() -> None:
    made = Guarded(backend_timeout=0.005)
    await made.guard.set_many({f"k{i}": b"v" for i in range(600)}, ttl=None)
    pages = made.guard.scan("k")
    await anext(pages)
    made.store.hang("scan")
    with pytest.raises(BackendTimeout):
        async for _ in pages:
            pass
    await until(lambda: made.guard.under_way == 0)


async def test_scan_left_early_closes_the_stores_own() -> None:
    closed = []

    class Closing(MemoryBackend):
        async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
            try:
                while True:
                    yield ["k"]
            finally:
                closed.append(prefix)

    made = Guarded()
    guard = Guard(Closing(), StoreOptions(), clock=made.clock, chance=random.Random(1), observer=made.seen)
    pages = guard.scan("k")
    assert await anext(pages) == ["k"]
    await pages.aclose()  # type: ignore[attr-defined]  # an async generator, seen as an iterator
    assert closed == ["k"]
    assert guard.under_way == 0


async def test_closing_is_bounded_although_everything_hangs(made: Guarded) -> None:
    """Within a second nothing is left, not even of drivers that swallow a cancellation."""
    made.store.hang(swallow=1)
    calls = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(10)]
    await until(lambda: made.store.hanging == 10)
    await asyncio.wait_for(made.guard.aclose(), 10)
    assert all(isinstance(error, BackendError) for error in await asyncio.gather(*calls, return_exceptions=True))
    assert len(asyncio.all_tasks()) == 1
    calls_after: list[Callable[[], Awaitable[object]]] = [
        lambda: made.guard.get_many(["k"]),
        lambda: made.guard.set_many({"k": b"v"}, ttl=1),
    ]
    for call in calls_after:
        with pytest.raises(BackendUnavailable) as refused:
            await call()
        assert (refused.value.reason, refused.value.transient) == ("closed", False)


@pytest.mark.parametrize("error", [BackendUnavailable, RuntimeError])
async def test_errors_while_closing_are_counted(made: Guarded, error: Callable[[str], Exception]) -> None:
    made.store.fail("aclose", error)
    await made.guard.aclose()
    assert [operation for operation, _ in made.seen.errors] == ["aclose"]


async def test_calls_that_wait_for_a_place_fail_when_the_guard_is_closed() -> None:
    made = Guarded(max_in_flight=1, backend_timeout=0.2)
    made.store.hang("get_many", times=1)
    calls = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(3)]
    await until(lambda: made.store.hanging == 1)
    await made.guard.aclose()
    reasons = [error.reason for error in await asyncio.gather(*calls, return_exceptions=True)]  # type: ignore[union-attr] # all of them are errors
    assert reasons[1:] == ["closed", "closed"]
