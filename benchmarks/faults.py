"""The times and errors of calls while the store is frozen, killed, full or 80 ms away. `python -m benchmarks faults`

Each caller asks for answers that take 1 ms to compute, one after the other, while the fault lasts. The plain way is
get, compute, set by redis-py, with its defaults, and with a timeout of 250 ms as ours has; its errors reach the caller.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.asyncio import Redis

from benchmarks.peers.interface import text_key
from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from benchmarks.running.work import ANSWER, chat_request
from cachecore import Cache
from cachecore.testing import servers
from cachecore.testing.proxy import Proxy

CALLERS: Final = 8
SECONDS: Final = 4.0
AWAY: Final = 0.08

Ask = Callable[[int], Awaitable[Any]]


async def compute() -> Any:
    await asyncio.sleep(0.001)
    return ANSWER


@contextmanager
def healthy(server: servers.Server, proxy: Proxy) -> Iterator[None]:
    yield


@contextmanager
def frozen(server: servers.Server, proxy: Proxy) -> Iterator[None]:
    with server.paused():
        yield


@contextmanager
def killed(server: servers.Server, proxy: Proxy) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def full(server: servers.Server, proxy: Proxy) -> Iterator[None]:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


@contextmanager
def away(server: servers.Server, proxy: Proxy) -> Iterator[None]:
    proxy.slow(AWAY / 2)
    try:
        yield
    finally:
        proxy.heal()


FAULTS: Final = {
    "healthy": healthy,
    "frozen": frozen,
    "killed": killed,
    "full": full,
    "80 ms away": away,
}


def plain(client: Any) -> Ask:
    async def ask(number: int) -> Any:
        key = text_key(chat_request(number))
        found = await client.get(key)
        if found is not None:
            return json.loads(found)
        answer = await compute()
        await client.set(key, json.dumps(answer), ex=3600)
        return answer

    return ask


async def row(ask: Ask, seconds: float) -> dict[str, Any]:
    """Return what callers saw who asked for `seconds`; half of the answers were asked for before."""
    waits: list[float] = []
    errors = 0
    end = time.perf_counter() + seconds

    async def caller(place: int) -> None:
        nonlocal errors
        number = 0
        while time.perf_counter() < end:
            began = time.perf_counter()
            try:
                async with asyncio.timeout(seconds):
                    await ask(number if number % 2 else 1_000_000 * (place + 1) + number)
            except Exception:  # noqa: BLE001 - any error that reaches a caller is one
                errors += 1
            waits.append(time.perf_counter() - began)
            number = (number + 1) % 200

    await asyncio.gather(*(caller(place) for place in range(CALLERS)))
    waits.sort()
    return {
        "p50 ms": round(1000 * waits[len(waits) // 2], 2),
        "p99 ms": round(1000 * waits[len(waits) * 99 // 100], 2),
        "most ms": round(1000 * waits[-1], 1),
        "answers a second": round((len(waits) - errors) / seconds, 1),
        "errors %": round(100 * errors / len(waits), 2),
    }


async def under(fault: str, server: servers.Server, proxy: Proxy, seconds: float) -> Table:
    """Return what each contender's callers see under one fault, each on a fresh client of a healthy store."""
    rows = {}
    makes: dict[str, Callable[[], tuple[Ask, Callable[[], Awaitable[Any]]]]] = {}

    def ours() -> tuple[Ask, Callable[[], Awaitable[Any]]]:
        cache: Cache[Any] = Cache(proxy.url, ttl=3600, l1_max_entries=0)
        return lambda number: cache.get_or_set(chat_request(number), compute), cache.aclose

    def theirs(**options: Any) -> tuple[Ask, Callable[[], Awaitable[Any]]]:
        client = Redis.from_url(proxy.url, max_connections=300, **options)
        return plain(client), client.aclose

    makes["cachecore"] = ours
    makes["redis-py, defaults"] = theirs
    makes["redis-py, 250 ms"] = lambda: theirs(socket_timeout=0.25, socket_connect_timeout=0.25)
    for name, make in makes.items():
        ask, close = make()
        for number in range(200):
            await ask(number)
        with FAULTS[fault](server, proxy):
            rows[name] = await row(ask, seconds)
        await asyncio.wait_for(close(), 10)
    return Table(fault, "answers a second", rows, lower_is_better=False)


async def measure() -> list[Table]:
    installed = servers.installed()
    seconds = max(1.0, SECONDS * scale())
    with servers.Server(installed[max(installed)]) as server, Proxy(server.port) as proxy:
        return [await under(fault, server, proxy, seconds) for fault in FAULTS]


QUESTION = Question("faults", "Calls while the store is sick", measure, ["redis"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
