"""D2, D4, D5: bytes that a fuzzer made, values that claim to be huge, and values that are large."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Self

import pytest
from redis import Redis

from cachecore import Cache
from cachecore.contract.errors import EncodingError
from cachecore.contract.options import KIB, MIB
from cachecore.contract.protocols import Serializer
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.serializers.typed import TypedSerializer
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.servers import Server
from tests.conftest import Record
from tests.faults.callers import PATIENT, cache_at, sizes
from tests.faults.reliability import ms
from tests.faults.test_hostile_store import replaced
from tests.unit.serializers.bombs import JSON_BOMBS, MSGPACK_BOMBS, TYPED_BOMBS, ZSTD_BOMBS

ROOT = Path(__file__).resolve().parents[2]


@sizes(5000, 5_000_000)
def test_d2_coverage_guided_fuzzing(size: int, tmp_path: Path, record: Record) -> None:
    """Bytes made to reach every branch of the reader are an entry, or refused; see `fuzz_entries`."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: `make soak` does so where there is a wheel (Linux on x86-64)")
    program = [sys.executable, "-m", "tests.faults.fuzz_entries", str(size), str(tmp_path)]
    ran = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60 + size / 2000)
    assert ran.returncode == 0, ran.stderr[-5000:]
    report = json.loads(ran.stdout.splitlines()[-1])
    assert report["runs"] == size
    record(
        "D2",
        f"0 crashes, +{report['grown_mib']:.0f} MiB with the fuzzer's own",
        met=report["grown_mib"] * MIB <= 64e6,
        size=f"{size:,} runs, {size / report['seconds']:,.0f} a second",
    )


def bombs() -> Iterator[tuple[str, Serializer, bytes]]:
    """Yield every bomb and the serializer that it is for, with the settings that nobody changed."""
    plain: Mapping[str, tuple[Serializer, Mapping[str, Callable[[], bytes]]]] = {
        "MessagePack": (MsgpackSerializer(), MSGPACK_BOMBS),
        "JSON": (JsonSerializer(), JSON_BOMBS),
        "zstd": (CompressedSerializer(), ZSTD_BOMBS),
    }
    for kind, (serializer, made) in plain.items():
        for name, make in made.items():
            yield f"{kind}, {name}", serializer, make()
    for name, (value_type, make) in TYPED_BOMBS.items():
        yield f"typed, {name}", TypedSerializer(value_type=value_type), make()


async def refusing(cache: Cache[Any], times: int) -> tuple[list[float], int]:
    """Return what each `get` of an entry that is refused took, and the most bytes that one allocated meanwhile."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        assert await cache.get("q") is None
        seconds.append(time.perf_counter() - began)
    tracemalloc.start()  # slows down, hence apart
    try:
        assert await cache.get("q") is None
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(cache.stats.rejected.values()) == times + 1
    assert set(cache.stats.rejected) <= {"payload", "length"}
    return seconds, allocated


async def sent_though_too_large(server: Server) -> int:
    """Write values over `max_value_bytes` in every way; return the bytes that reached the server meanwhile."""
    value = "x" * (2 * MIB)

    async def factory() -> str:
        return value

    async with cache_at(server.url, max_value_bytes=MIB, **PATIENT) as cache:
        with Redis(unix_socket_path=str(server.socket_path)) as admin:

            def received() -> int:
                return int(admin.info("stats")["total_net_input_bytes"])

            await cache.set("small", 1)  # stamps and scripts are there
            before = received()
            with pytest.raises(EncodingError, match="max_value_bytes"):
                await cache.set("set", value)
            with pytest.raises(EncodingError, match="max_value_bytes"):
                await cache.set_many({"small": 2, "set_many": value})
            assert await cache.get_or_set("get_or_set", factory) == value
            assert await cache.refresh("refresh", factory) == value
            assert cache.stats.not_stored == {"size": 2}
            assert await cache.get("small") == 1, "all of set_many or nothing"
            return received() - before


@sizes(1, 20)
async def test_d4_bombs_and_too_large_values(size: int, any_server: Server, record: Record) -> None:
    """What claims to be huge is refused before memory is taken for it, and what is too large is never sent."""
    store = MemoryBackend()
    async with cache_at(store) as cache:
        await cache.set("q", 1)
        key = cache.key("q")
        (raw,) = await store.get_many([key])
        assert raw is not None
    costs: dict[str, tuple[float, float, int, int]] = {}
    # Unit tests give each bomb to its serializer; a short run need not try them all again through a cache.
    for name, serializer, payload in islice(bombs(), None, None, 4 if size == 1 else 1):
        async with cache_at(store, serializer=serializer, l1_max_entries=0) as cache:
            under = cache.key("q")
            await store.set_many({under: replaced(raw, key, payload, serializer.name, under=under)}, ttl=None)
            await cache.get("another")
            seconds, allocated = await refusing(cache, size)
        # A reader has a copy of the payload before its serializer sees it.
        assert allocated - len(payload) < 16 * MIB, name
        costs[name] = median(seconds), max(seconds), allocated, len(payload)
    sent = await sent_though_too_large(any_server)
    assert sent < 16 * KIB
    slowest = max(costs, key=lambda name: costs[name][0])
    largest = max(costs, key=lambda name: costs[name][2])
    took, at_most, _, _ = costs[slowest]
    _, _, allocated, copied = costs[largest]
    record(
        "D4",
        f"{ms(took)}, {ms(at_most)} at most ({slowest}); +{allocated / MIB:.1f} MiB, of which {copied / MIB:.1f} copy "
        f"the payload ({largest}); {sent:,} bytes sent for four values of 2 MiB",
        met=took <= 0.05 and allocated <= 16 * MIB,
        size=f"{len(costs)} bombs × {size} `get`",
    )


class Stall:
    """How long the event loop was kept from its next turn, at most, while this lasted."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._ended = False

    async def __aenter__(self) -> Self:
        self._last = time.perf_counter()
        self._turn()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._ended = True

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds = max(self.seconds, now - self._last)
        self._last = now
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._turn)


def text_of(line: str, size: int) -> str:
    """Return so many bytes of text, or a little less."""
    encoded = line.encode()
    return (encoded * (size // len(encoded) + 1))[:size].decode(errors="ignore")


ENGLISH = 'Returns are free for 30 days after delivery; "final sale" items are not.\n'
MIXED = "Rücksendungen sind 30 Tage lang kostenlos, danach 5 €. 返品は30日以内 無料です。\N{GRINNING FACE}\n"


async def stalls(url: str, serializer: Serializer, value: Any, times: int) -> dict[str, list[float]]:
    """Return the longest stalls of `set`, of `get` from the store, and of `get` of a copy in memory."""
    options: dict[str, Any] = {"serializer": serializer, "max_value_bytes": 16 * MIB, **PATIENT}
    found: dict[str, list[float]] = {"set": [], "get": [], "get of a copy in memory": []}

    async def measured(call: Awaitable[Any], into: str, *, count: bool) -> Any:
        async with Stall() as stall:
            got = await call
        if count:
            found[into].append(stall.seconds)
        return got

    async with cache_at(url, **options) as cache, cache_at(url, l1_max_entries=0, **options) as other:
        for number in range(times + 1):
            # The first time does not count: what memory costs that no process here had before is the machine's.
            await measured(cache.set("q", value), "set", count=number > 0)
            stored = await measured(other.lookup("q"), "get", count=number > 0)
            await cache.get("q")  # whether a writer keeps its own copy depends on what it has heard of the key
            kept = await measured(cache.lookup("q"), "get of a copy in memory", count=number > 0)
            assert (stored.tier, kept.tier) == ("l2", "l1")
            assert stored.value == value
            assert kept.value == value
    return found


@sizes(1, 20)
async def test_d5_large_values(size: int, any_server: Server, record: Record) -> None:
    """Other tasks of the loop run on while a large value is written and read; how long they wait is measured."""
    msgpack, text_in_json = MsgpackSerializer(max_bytes=9 * MIB), JsonSerializer(max_bytes=9 * MIB)
    english, mixed = text_of(ENGLISH, 8 * MIB), text_of(MIXED, 8 * MIB)
    nodes = [{"id": number, "score": number / 7} for number in range(50_000)]
    found = {
        "English": await stalls(any_server.url, msgpack, english, size),
        "several scripts": await stalls(any_server.url, msgpack, mixed, size),
        "`json`": await stalls(any_server.url, text_in_json, english, size),
        "50,000 small dicts": await stalls(any_server.url, msgpack, nodes, size),
    }
    shown = "; ".join(f"{kind} " + ", ".join(ms(max(took)) for took in calls.values()) for kind, calls in found.items())
    longest = max(max(took) for kind in ("English", "several scripts") for took in found[kind].values())
    calls = ", ".join(found["English"])
    record("D5", f"longest of {calls}: {shown}", met=longest <= 0.02, size=f"{size} of each, on a server")
