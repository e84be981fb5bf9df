"""Callers of a cache and what they got: each value says whose it is, so that a wrong one is noticed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract.errors import InvalidationPending
from cachecore.contract.protocols import CacheBackend
from tests.faults.reliability import percentile, scaled

KEYS = 50


def sizes(short: int, full: int) -> pytest.MarkDecorator:
    """Run a test short in every run, and at full size (scaled) in long ones only."""
    long = pytest.param(scaled(full), id="full", marks=pytest.mark.soak)
    return pytest.mark.parametrize("size", [pytest.param(short, id="short"), long])


def cache_at(store: str | CacheBackend, **options: Any) -> Cache[Any]:
    """Return a cache of answers that stay fresh for as long as a test takes."""
    return Cache(store, **{"ttl": 600, **options})


# For tests of something else than how long a store may take, which a busy machine must not decide.
PATIENT: dict[str, Any] = {"backend_timeout": 30.0, "write_timeout": 30.0, "connect_timeout": 30.0}


def request(number: int) -> dict[str, Any]:
    """Return request `number`."""
    return {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}


def answer(number: int, size: int = 300) -> dict[str, Any]:
    """Return the only right answer to request `number`."""
    return {"of": number, "text": f"answer {number} " * (size // 10)}


@dataclass(slots=True)
class Tally:
    """What callers got."""

    calls: int = 0
    wrong: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    factory_calls: int = 0
    seconds: list[float] = field(default_factory=list)
    """What each `get_or_set` took."""
    cpu: list[float] = field(default_factory=list)
    """What this thread worked meanwhile; says something where calls are made one after the other."""

    def clean(self) -> None:
        """Fail unless every caller was answered, and rightly."""
        assert (self.wrong, dict(self.errors)) == (0, {})

    def p99(self) -> float:
        return percentile(self.seconds, 0.99)

    def p99_cpu(self) -> float:
        return percentile(self.cpu, 0.99)


async def ask(cache: Cache[Any], number: int, tally: Tally) -> None:
    """Ask once; the factory answers at once."""

    async def factory() -> dict[str, Any]:
        tally.factory_calls += 1
        return answer(number)

    began, worked = time.monotonic(), time.thread_time()
    try:
        got = await cache.get_or_set(request(number), factory)
        tally.wrong += got != answer(number)
    except Exception as error:
        tally.errors[f"get_or_set: {error!r}"] += 1
    tally.seconds.append(time.monotonic() - began)
    tally.cpu.append(time.thread_time() - worked)
    tally.calls += 1


async def mixed(cache: Cache[Any], number: int, kind: int, tally: Tally) -> None:
    """Make a call of a mixed load; explicit writes may become pending, and nothing else may go wrong."""
    try:
        match kind % 20:
            case 0:
                await cache.set(request(number), answer(number))
            case 1:
                await cache.delete(request(number))
            case 2:
                await cache.invalidate_tags(f"tag {number % 5}")
            case 3 | 4 | 5 | 6:
                got = await cache.get(request(number))
                tally.wrong += got not in (None, answer(number))
            case 7:
                found = await cache.get_many([*map(str, range(3))])
                tally.wrong += found != {}
            case _:
                await ask(cache, number, tally)
                return
    except InvalidationPending:
        tally.pending += 1
    except Exception as error:
        tally.errors[f"{kind % 20}: {error!r}"] += 1
    tally.calls += 1


async def together(
    cache: Cache[Any], calls: int, *, callers: int = 8, first: int = 0, between: Callable[[], object] | None = None
) -> Tally:
    """Make `calls` calls of the mixed load by so many callers at once; `between` is called now and then."""
    tally = Tally()
    numbers = iter(range(first, first + calls))

    async def caller() -> None:
        for number in numbers:
            await mixed(cache, (number * 7) % KEYS, number, tally)
            if between is not None and number % 25 == 0:
                between()
            if number % 10 == 0:
                await asyncio.sleep(0)

    async with asyncio.timeout(120):
        await asyncio.gather(*(caller() for _ in range(callers)))
    return tally


async def in_a_row(cache: Cache[Any], calls: int, *, keys: int = KEYS) -> Tally:
    """Make `calls` calls, one after the other."""
    tally = Tally()
    async with asyncio.timeout(120):
        for number in range(calls):
            await ask(cache, number % keys, tally)
    return tally


async def filled(cache: Cache[Any], keys: int = KEYS) -> None:
    """Store the answers to all requests, with patience: a busy machine may miss the deadline of a first connection."""
    limit = time.monotonic() + 20
    for number in range(keys):
        while True:
            try:
                await cache.set(request(number), answer(number), tags=[f"tag {number % 5}"], required=True)
                break
            except InvalidationPending:
                assert time.monotonic() < limit
                await asyncio.sleep(0.05)


async def until(condition: Callable[[], object], seconds: float = 30.0) -> float:
    """Let the loop turn until `condition` holds; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"the condition did not hold within {seconds} s"
        await asyncio.sleep(0.001)
    return time.monotonic() - began
