"""How long a call waits: for a store far away, for one that is late, for a connection, for a busy process (L1-L7)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from cachecore import SyncCache
from cachecore.contract.errors import InvalidationPending
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server, free_port
from tests.conftest import Record
from tests.faults.callers import PATIENT, Tally, answer, ask, cache_at, filled, in_a_row, request, sizes
from tests.faults.reliability import ms, percentile

_ONE_QUESTION: Final = """
import sys, time
from cachecore import SyncCache
with SyncCache(sys.argv[1], ttl=600) as cache:
    began = time.perf_counter()
    found = cache.lookup("question", lambda: "answer")
    print(found.outcome, time.perf_counter() - began)
"""

_FIRST_SET: Final = """
import sys
from cachecore import SyncCache
with SyncCache(sys.argv[1], ttl=600) as cache:
    cache.set("question", "answer")
    print(cache.get("question"))
"""


def run(program: str, *arguments: str) -> str:
    """Run a process of Python; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def question(url: str) -> tuple[str, float]:
    """Ask one question in a process of its own; return the outcome and the seconds it took."""
    outcome, seconds = run(_ONE_QUESTION, url).split()
    return outcome, float(seconds)


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many processors busy."""
    workers = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


_links: dict[float, float] = {}


@pytest.mark.parametrize(
    "delay", [0.08, *(pytest.param(delay, marks=pytest.mark.soak) for delay in (0.003, 0.01, 0.02, 0.08))]
)
async def test_l1_far_links(delay: float, any_server: Server, link: Proxy, record: Record) -> None:
    """A store at any distance up to 80 ms is of use with the defaults, to a process that asks one question, too.

    The short run is the farthest: the longer the link, the longer the deadlines beside what a busy machine adds.
    """
    link.slow(delay)
    question(link.url)
    asked = [question(link.url) for _ in range(3)]
    assert [outcome for outcome, _ in asked] == ["hit"] * 3
    async with cache_at(link.url, l1_max_entries=0) as cache:
        first = await in_a_row(cache, 10)
        second = await in_a_row(cache, 10)
        assert (first.factory_calls, second.factory_calls) == (10, 0)
        assert not cache.stats.backend_errors
    _links[delay] = max(seconds for _, seconds in asked)
    text = ", ".join(f"{delay * 1000:g} ms: first call {ms(took)}" for delay, took in sorted(_links.items()))
    record("L1", f"{text}; every call a hit", met=True, size=f"{len(_links)} links × (3 processes + 20 calls)")


def test_l1_second_event_loop(any_server: Server, link: Proxy) -> None:
    """A cache that outlives its event loop hits in the next one, whose connection is yet to be opened."""
    link.slow(0.08)
    cache = cache_at(link.url, l1_max_entries=0)

    async def once() -> tuple[int, dict[str, Any]]:
        tally = Tally()
        await ask(cache, 1, tally)
        return tally.factory_calls, dict(cache.stats.backend_errors)

    assert [asyncio.run(once()) for _ in range(4)] == [(1, {}), (0, {}), (0, {}), (0, {})]


async def test_l1_process_that_starts_far_away(any_server: Server, link: Proxy) -> None:
    """At 200 ms the first read has the time for one answer once it is connected, and so have all that follow."""
    async with cache_at(any_server.url) as near:
        await near.set_many({number: answer(number) for number in range(3)})
    link.slow(0.2)
    async with cache_at(link.url, l1_max_entries=0) as cache:
        for number in range(3):
            assert await cache.get(number) == answer(number)


@sizes(5, 20)
@pytest.mark.parametrize("delay", [0.2, 0.4])
async def test_l2_explicit_writes_on_a_late_store(
    delay: float, size: int, any_server: Server, link: Proxy, record: Record
) -> None:
    """Readers have opened the breaker; what a caller asks for explicitly is done all the same."""
    # A write of several late replies has little time left for a busy machine: the short run has more.
    async with cache_at(link.url, l1_max_entries=0, write_timeout=10 if size == 5 else 1) as cache:
        await filled(cache, 8)
        await in_a_row(cache, 20, keys=20)
        link.slow(delay)
        going, tally = True, Tally()

        async def reader(number: int) -> None:
            while going:
                await ask(cache, number, tally)
                await asyncio.sleep(0.005)

        readers = [asyncio.ensure_future(reader(number)) for number in range(4)]
        done = 0
        for number in range(size):
            match number % 3:
                case 0:
                    await cache.set(request(100 + number), answer(100 + number))
                case 1:
                    await cache.delete(request(number % 4))
                case _:
                    await cache.invalidate_tags(f"tag {number % 5}")
            done += 1
        going = False
        await asyncio.gather(*readers)
        tally.clean()
        assert cache.stats.backend_errors["get_many:breaker_open"] > 0
        _acknowledged[delay] = done, size
    text = ", ".join(f"{int(late * 1000)} ms: {done} of {of}" for late, (done, of) in sorted(_acknowledged.items()))
    record("L2", text, met=True, size=f"2 × {size} writes")


_acknowledged: dict[float, tuple[int, int]] = {}
_starts: list[tuple[float, float]] = []


@sizes(200, 1000)
@pytest.mark.parametrize("how", ["frozen", "silent"])
async def test_l3_ill_from_the_start(how: str, size: int, any_server: Server, link: Proxy, record: Record) -> None:
    """A server that does not answer when a process starts costs the time to connect, once."""
    any_server.pause() if how == "frozen" else link.blackhole()
    async with cache_at(link.url, l1_max_entries=0) as cache:
        tally = await in_a_row(cache, 1)
        tally = await _added(tally, cache, size)
        errors = {name: count for name, count in cache.stats.backend_errors.items() if name.startswith("get_many")}
        any_server.resume() if how == "frozen" else link.heal()
    tally.clean()
    first, rest = tally.seconds[0], percentile(tally.seconds[1:], 0.99)
    assert errors == {"get_many:connect_timeout": 1, "get_many:breaker_open": size}, "one call has waited"
    assert first > 0.9
    _starts.append((first, rest))
    first, rest = map(max, zip(*_starts, strict=True))
    text = f"{ms(first)} once, then p99 {ms(rest)}"
    record("L3", text, met=first <= 1.1 and rest <= 0.002, size=f"{len(_starts)} starts × {size:,} calls")


async def _added(tally: Tally, cache: Any, calls: int) -> Tally:
    for number in range(calls):
        await ask(cache, number, tally)
    return tally


async def test_l3_refused_from_the_start() -> None:
    """A refused connection fails at once: nothing is waited for."""
    async with cache_at(f"redis://127.0.0.1:{free_port()}/0", connect_timeout=30, backend_timeout=30) as cache:
        tally = await in_a_row(cache, 50)
        with pytest.raises(InvalidationPending):
            await cache.delete(request(1))
        tally.clean()
        assert max(tally.seconds) < 10


async def test_l3_connect_timeout_is_the_time_to_connect(any_server: Server, link: Proxy) -> None:
    """`connect_timeout` bounds what a first caller waits for a silent server."""
    link.blackhole()
    async with cache_at(link.url, connect_timeout=0.2, backend_timeout=30) as cache:
        tally = await in_a_row(cache, 1)
        tally.clean()
        assert 0.15 < tally.seconds[0] < 10
        assert cache.stats.backend_errors


async def test_l3_connect_timeout_may_be_longer(any_server: Server, link: Proxy) -> None:
    """A network on which connecting takes longer than the default is waited for if it is said to be slow."""
    link.slow(1.2)
    async with cache_at(link.url, connect_timeout=20, backend_timeout_max=20) as cache:
        await cache.get("question")
        assert not cache.stats.backend_errors


@sizes(100, 1000)
async def test_l4_latency_rises(size: int, any_server: Server, link: Proxy, record: Record) -> None:
    """15 ms more each way cost what they cost a plain GET, and the breaker stays closed."""

    async def factory() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return answer(0)

    # 30 of 50 ms are gone: on a busy machine three replies in a row may be late. The short run has more time.
    deadline = 1 if size == 100 else 0.05
    async with (
        cache_at(link.url, l1_max_entries=0, backend_timeout=deadline) as cache,
        Redis.from_url(link.url) as plain,
    ):
        await filled(cache)
        await plain.set("plain", b"x")
        link.slow(0.03)
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(size):
            began = time.monotonic()
            await cache.get_or_set(request(number % 60), factory)  # one in six is a miss until it is stored
            ours.append(time.monotonic() - began)
            began = time.monotonic()
            if await plain.get("plain") is None or number % 60 == number >= 50:
                await factory()
                await plain.set("plain", b"x")
            theirs.append(time.monotonic() - began)
        assert set(cache._scope.telemetry.counts.breakers.values()) <= {"closed"}
    got, wanted = percentile(ours, 0.99), percentile(theirs, 0.99)
    middle = percentile(ours, 0.5) - percentile(theirs, 0.5)
    record(
        "L4",
        f"p99 {ms(got)} beside {ms(wanted)} of GET; p50 {ms(max(0.0, middle))} more; the breaker never opened",
        met=got <= wanted + 0.02,
        size=f"{size:,} calls",
    )


@sizes(1, 5)
async def test_l5_busy_with_itself(size: int, any_server: Server, record: Record) -> None:
    """Thousands of writes at once keep the process busy for long, which is no failure of the store."""
    async with cache_at(any_server.url) as cache:
        for turn in range(size):
            await asyncio.gather(*(cache.set(request(turn * 2000 + i), answer(i)) for i in range(2000)))
            await cache.set_many({f"{turn} {i}": answer(i) for i in range(10_000)})
        assert not cache.stats.backend_errors
    record("L5", "0 failed", met=True, size=f"{size} × (2,000 `set` at once, `set_many` of 10,000)")


@sizes(3, 40)
def test_l6_first_set_on_sqlite(size: int, tmp_path: Path, record: Record) -> None:
    """Making the file on a busy machine takes longer than a read may, and is not one."""
    with busy(2):
        for number in range(size):
            assert run(_FIRST_SET, f"sqlite:///{tmp_path}/{number}/cache.db") == "answer"
    record("L6", "0 raised", met=True, size=f"{size} processes beside two busy loops")


@sizes(300, 1500)
def test_l7_threads_on_sqlite(size: int, tmp_path: Path, record: Record) -> None:
    """Threads that fight for the interpreter's lock pay no answer twice, and read each that is there."""
    paid: list[int] = []
    # 32 threads on a busy processor hold the file for longer than a deadline: the short run is patient.
    deadlines: dict[str, Any] = PATIENT if size == 300 else {}
    with SyncCache[Any](f"sqlite:///{tmp_path}/cache.db", ttl=None, **deadlines) as cache:

        def label(number: int) -> str:
            def factory() -> str:
                paid.append(number)
                time.sleep(0.002)
                return f"label {number}"

            label: str = cache.get_or_set({"text": number}, factory)
            return label

        with ThreadPoolExecutor(32) as pool:
            got = list(pool.map(label, [row % size for row in range(4 * size)]))
        assert got == [f"label {row % size}" for row in range(4 * size)]
        assert (len(paid), cache.stats.not_stored, cache.stats.backend_errors) == (size, {}, {})
    record("L7", f"{len(paid) - size} paid twice", met=True, size=f"{4 * size:,} calls of {size:,} texts")
