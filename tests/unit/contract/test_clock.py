"""Time that the machine sleeps counts: an answer is no younger for it."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract.clock import SystemClock, counting_sleep, monotonic
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.virtual import VirtualClock
from tests.unit.virtual_caches import Answer

HOURS = 3600.0


class Laptop:
    """Clocks of which one stands still while the machine sleeps."""

    def __init__(self) -> None:
        self.awake = 1000.0
        self.wall = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.awake

    def time(self) -> float:
        return self.wall

    def pass_(self, seconds: float) -> None:
        self.awake += seconds
        self.wall += seconds


class VirtualLaptop(VirtualClock):
    """The same on a loop in virtual time; `skew` is what it has slept."""

    counts_sleep = False


def test_sleep_is_counted_and_a_clock_set_back_is_not() -> None:
    laptop = Laptop()
    clock = counting_sleep(laptop)
    began = clock.monotonic()
    laptop.pass_(10)
    assert clock.monotonic() == began + 10
    laptop.wall += 8 * HOURS
    assert clock.monotonic() == began + 10 + 8 * HOURS
    laptop.pass_(1)
    laptop.wall -= HOURS
    assert clock.monotonic() == began + 11 + 8 * HOURS
    laptop.wall += 2 * HOURS  # as after two hours of sleep
    assert clock.monotonic() == began + 11 + 10 * HOURS
    assert clock.time() == laptop.wall


def test_a_clock_that_is_drawn_to_the_right_time_has_not_slept() -> None:
    laptop = Laptop()
    clock = counting_sleep(laptop)
    began = clock.monotonic()
    for _ in range(100):
        laptop.pass_(60)
        laptop.wall += random.Random(1).uniform(-0.03, 0.03)  # a time server's 500 parts in a million
        assert clock.monotonic() == pytest.approx(laptop.awake - 1000.0 + began, abs=3.5)


def test_many_threads_count_one_sleep_once() -> None:
    laptop = Laptop()
    clock = counting_sleep(laptop)
    began = clock.monotonic()
    gate = threading.Barrier(8, timeout=10)
    read: list[float] = []

    def look() -> None:
        gate.wait()
        read.extend(clock.monotonic() for _ in range(1000))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    laptop.wall += 8 * HOURS
    for thread in threads:
        thread.join()
    assert clock.monotonic() == began + 8 * HOURS
    assert set(read) <= {began, began + 8 * HOURS}


def test_clocks_that_say_so_are_believed() -> None:
    for clock in (SystemClock(), FakeClock()):
        assert counting_sleep(clock) is clock
    assert VirtualClock.counts_sleep
    watched = counting_sleep(Laptop())
    assert counting_sleep(watched) is watched


def test_system_clock_never_goes_back_and_runs_as_others_do() -> None:
    clock = SystemClock()
    before, began = time.monotonic(), clock.monotonic()
    read = [clock.monotonic() for _ in range(10_000)]
    assert read == sorted(read)
    passed, own = time.monotonic() - before, clock.monotonic() - began
    assert own == pytest.approx(passed, abs=0.05)
    assert clock.monotonic == monotonic


NAMESPACE = ("unshare", "--time", "--boottime", "28800", "--fork", sys.executable, "-c")


def _can_shift_boottime() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "pass"], capture_output=True, check=False, timeout=30).returncode == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="clocks of Linux")
def test_system_clock_counts_what_the_kernel_counts_as_sleep() -> None:
    """In a namespace whose machine has slept for eight hours more; timers of a loop know nothing of it."""
    if not _can_shift_boottime():
        pytest.skip("a time namespace needs privileges here")
    program = (
        "import asyncio, time; from cachecore.contract.clock import SystemClock; loop = asyncio.new_event_loop(); "
        "print(SystemClock().monotonic() - time.monotonic(), loop.time() - time.monotonic())"
    )
    here = SystemClock().monotonic() - time.monotonic()
    said = subprocess.run([*NAMESPACE, program], capture_output=True, check=True, timeout=60, text=True).stdout
    slept, timers = map(float, said.split())
    assert slept - here == pytest.approx(28_800, abs=1)
    assert timers == pytest.approx(0, abs=1)


def _run(test: Any) -> None:
    clock = VirtualLaptop()
    clock.run(test(clock))


@pytest.mark.parametrize("l1_max_age", [1.0, 1e6])
def test_answer_is_no_hit_after_a_night(l1_max_age: float) -> None:
    """Neither from memory nor from the store, at whatever moment after waking."""

    async def run(clock: VirtualLaptop) -> None:
        cache: Cache[Any] = Cache(
            MemoryBackend(clock=clock), ttl=HOURS, stale_if_error=24 * HOURS, clock=clock, l1_max_age=l1_max_age
        )
        async with cache:
            await cache.set("weather", "sunny")
            assert await cache.get("weather") == "sunny"
            await asyncio.sleep(1)
            clock.skew += 8 * HOURS
            for pause in (0, 0.1, 1, 2, 60, 3000):
                await asyncio.sleep(pause)
                assert cache.peek("weather") is None
                assert await cache.get("weather") is None
            stale = await cache.lookup("weather", stale=True)
            assert stale.outcome == "stale"  # old, and known to be
            assert stale.fresh_for == pytest.approx(-7 * HOURS - 3064, abs=200)
            assert await cache.get_or_set("weather", Answer()) == 1
            assert await cache.get("weather") == 1

    _run(run)


def test_who_waits_goes_on_waiting() -> None:
    """A factory that ran when the lid was closed is not out of time when it is opened."""

    async def run(clock: VirtualLaptop) -> None:
        cache: Cache[Any] = Cache(MemoryBackend(clock=clock), ttl=HOURS, clock=clock, factory_timeout=60)
        async with cache:
            factory = Answer(10)
            asked = asyncio.gather(*(cache.get_or_set("q", factory) for _ in range(5)))
            await asyncio.sleep(5)
            clock.skew += 8 * HOURS
            assert await asked == [1] * 5
            assert factory.calls == 1

    _run(run)


def test_clock_set_back_keeps_no_answer_longer() -> None:
    async def run(clock: VirtualLaptop) -> None:
        cache: Cache[Any] = Cache(MemoryBackend(clock=clock), ttl=60, clock=clock, jitter=0)
        async with cache:
            await cache.set("q", 1)
            clock.skew -= HOURS
            await cache.set("r", 2)
            await asyncio.sleep(30)
            assert (await cache.get("q"), await cache.get("r")) == (1, 2)
            await asyncio.sleep(31)
            assert (await cache.get("q"), await cache.get("r")) == (None, None)

    _run(run)
