"""What each hot call does, by counting and not by time; held in `benchmarks/counts.json`.

    python -m benchmarks.counts          # prints what differs from the file
    python -m benchmarks.counts --write  # renews the file: say in the commit why a count may grow

`make check` and `make test` fail when a count grows. Turns, tasks, calls of the store and thread hops are the same on
every Python; bytes of memory are held for each minor version that the file was renewed on.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.counting import REPETITIONS, Counter, CountingLoop, HotCall, allocated, count, thread_hops, trips
from cachecore import Cache, SyncCache
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing import servers
from cachecore_redis import RedisBackend

FILE: Final = Path(__file__).with_name("counts.json")
VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
RENEW: Final = "python -m benchmarks.counts --write"
MOST_BYTES_BY_CHANCE: Final = 0.06
"""Of the bytes of a call that lets other callbacks run: their order is not always the same."""
MANY: Final = [f"one of many {number}" for number in range(100)]
REQUEST: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "My card payment was declined twice. " * 20}],
    "temperature": 0.2,
    "max_tokens": 512,
}
ANSWER: Final = {"content": "You can order a new card in the app, under Cards. " * 30, "finish_reason": "stop"}

Counts = dict[str, dict[str, int]]
"""Call to name of a count to the count."""


def numbered(kind: str, number: int) -> dict[str, Any]:
    return {**REQUEST, "seed": f"{kind} {number}"}


def _unused() -> str:
    """Return a prefix whose keys the server does not have, always of the same length."""
    return f"counts{secrets.token_hex(4)}"


async def answer() -> object:
    return ANSWER


async def hot_calls(cache: Cache[Any]) -> dict[str, HotCall]:
    """Return the calls of a cache that has what they need."""

    @cache.cached(name="counted", ttl=3600)
    async def decorated(question: str, *, model: str, temperature: float) -> Any:
        return ANSWER

    async def ask() -> object:
        return await decorated("What is my balance?", model="gpt-4o-mini", temperature=0.2)

    def tagged(number: int) -> Any:
        return cache.set(numbered("tagged", number), ANSWER, tags=[f"tag {number}"])

    await cache.set(REQUEST, ANSWER)
    await cache.set_many(dict.fromkeys(MANY, ANSWER))
    await ask()
    return {
        "decorated, hit": HotCall(lambda number: ask()),
        "get, hit": HotCall(lambda number: cache.get(REQUEST)),
        "get_or_set, hit": HotCall(lambda number: cache.get_or_set(REQUEST, answer)),
        "get_or_set, miss": HotCall(lambda number: cache.get_or_set(numbered("miss", number), answer)),
        "set": HotCall(lambda number: cache.set(numbered("set", number), ANSWER)),
        "get_many of 100, hits": HotCall(lambda number: cache.get_many(MANY)),
        "delete": HotCall(
            lambda number: cache.delete(numbered("delete", number)),
            lambda number: cache.set(numbered("delete", number), ANSWER),
        ),
        "invalidate_tags": HotCall(lambda number: cache.invalidate_tags(f"tag {number}"), tagged),
    }


def sync_calls(cache: SyncCache[Any]) -> dict[str, HotCall]:
    """Return the calls of a blocking cache whose answers lie in memory."""

    @cache.cached(name="counted", ttl=3600)
    def decorated(question: str, *, model: str, temperature: float) -> Any:
        return ANSWER

    def ask() -> object:
        return decorated("What is my balance?", model="gpt-4o-mini", temperature=0.2)

    def called(call: Callable[[], object]) -> HotCall:
        async def run(number: int) -> object:
            return call()

        return HotCall(run)

    cache.set(REQUEST, ANSWER)
    ask()
    return {
        "SyncCache, decorated, hit": called(ask),
        "SyncCache, get_or_set, hit": called(lambda: cache.get_or_set(REQUEST, lambda: ANSWER)),
    }


async def _all(calls: dict[str, HotCall], loop: CountingLoop, store: Counter, hops: Counter, *, traced: bool) -> Counts:
    for call in calls.values():  # what is made once, is made here
        await count(call.from_(2 * REPETITIONS), loop, store, hops)
    found = {name: await count(call, loop, store, hops) for name, call in calls.items()}
    for name, call in calls.items():
        if traced or not found[name]["turns"]:
            found[name]["bytes"] = await allocated(call.from_(REPETITIONS), loop)
    return found


async def of_cache(loop: CountingLoop, backend: type, url: str, **options: Any) -> Counts:
    """Return the counts of each call of a cache on `url`."""
    with trips(backend) as store, thread_hops() as hops:
        async with Cache[Any](url, ttl=3600, l1_max_age=3600, jitter=0, prefix=_unused(), **options) as cache:
            return await _all(await hot_calls(cache), loop, store, hops, traced=backend is MemoryBackend)


async def of_sync(loop: CountingLoop, backend: type, url: str) -> Counts:
    """Return the counts of each call of a blocking cache on `url`."""
    with trips(backend) as store, thread_hops() as hops:
        cache: SyncCache[Any] = await asyncio.to_thread(SyncCache, url, ttl=3600, l1_max_age=3600, prefix=_unused())
        try:
            calls = await asyncio.to_thread(sync_calls, cache)
            return await _all(calls, loop, store, hops, traced=True)
        finally:
            await asyncio.to_thread(cache.close)


def measured(redis_url: str) -> dict[str, Counts]:
    """Return the counts of all calls: kind of cache, call, count."""

    def run(part: Callable[..., Any], *given: Any, **options: Any) -> Counts:
        with asyncio.Runner(loop_factory=CountingLoop) as runner:
            found: Counts = runner.run(part(runner.get_loop(), *given, **options))
            return found

    return {
        "memory://": run(of_cache, MemoryBackend, "memory://"),
        "redis://, in memory": run(of_cache, RedisBackend, redis_url),
        "redis://, in the store": run(of_cache, RedisBackend, redis_url, l1_max_entries=0),
        "memory://, blocking": run(of_sync, MemoryBackend, "memory://"),
        "redis://, blocking": run(of_sync, RedisBackend, redis_url),
    }


def measured_apart(redis_url: str) -> dict[str, Counts]:
    """Return the counts of all calls in a fresh process: the packages that another has loaded change what calls do."""
    command = [sys.executable, "-m", "benchmarks.counts", "--measure", redis_url]
    root = FILE.parents[1]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=root, check=False)
    if done.returncode:
        raise RuntimeError(f"counting failed: {done.stderr[-2000:]}")
    found: dict[str, Counts] = json.loads(done.stdout)
    return found


def split(found: dict[str, Counts]) -> tuple[dict[str, Counts], dict[str, dict[str, int]]]:
    """Return the counts that every Python has, and the bytes of this one."""
    shared = {
        kind: {call: {name: value for name, value in row.items() if name != "bytes"} for call, row in calls.items()}
        for kind, calls in found.items()
    }
    return shared, {
        kind: {call: row["bytes"] for call, row in calls.items() if "bytes" in row} for kind, calls in found.items()
    }


def held() -> dict[str, Any]:
    """Return what the file holds: `counts`, and `bytes` by version."""
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


def allowed(kind: str, name: str, row: dict[str, int]) -> int:
    """Return how much more of the count `name` than `row` says may be seen of a call that has not changed."""
    if name == "turns" and kind.startswith("redis"):
        return row["store calls"]  # replies come in one turn or in several
    if name == "bytes":
        return int(row["bytes"] * (MOST_BYTES_BY_CHANCE if row["turns"] else 0.003))  # of 5 KB less than one object
    return 0


def differences(found: dict[str, Counts], file: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Yield each count that is not the file's: whether it is more than may be, and a line that says so."""
    bytes_held = file["bytes"].get(VERSION)
    for kind, calls in found.items():
        for call, row in calls.items():
            old = dict(file["counts"].get(kind, {}).get(call, {}))
            if bytes_held is not None and call in bytes_held.get(kind, {}):
                old["bytes"] = bytes_held[kind][call]
            for name, value in row.items():
                if name == "bytes" and bytes_held is None:
                    continue
                before = old.get(name)
                more = before is None or value > before + allowed(kind, name, old)
                if more or value != before:
                    yield more, f"{kind}, {call}: {name} {before} -> {value}"


def least(one: dict[str, Counts], other: dict[str, Counts]) -> dict[str, Counts]:
    """Return the lower of each count of two measurements."""
    return {
        kind: {
            call: {name: min(value, other[kind][call].get(name, value)) for name, value in row.items()}
            for call, row in calls.items()
        }
        for kind, calls in one.items()
    }


def main() -> int:
    """Print what differs from the file, or renew it; return how many counts grew."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measured(sys.argv[2])))
        return 0
    writing = "--write" in sys.argv[1:]
    installed = servers.installed()
    with servers.Server(installed[max(installed)]) as server:
        found = measured_apart(server.url)
    file = held() if FILE.exists() else {"counts": {}, "bytes": {}}
    grown = 0
    for more, line in differences(found, file):
        print(f"  {line}{', MORE THAN HELD' if more else ''}")
        grown += more
    if writing:
        counts, taken = split(found)
        FILE.write_text(json.dumps({"counts": counts, "bytes": {**file["bytes"], VERSION: taken}}, indent=1) + "\n")
        return 0
    return grown


if __name__ == "__main__":
    sys.exit(main())
