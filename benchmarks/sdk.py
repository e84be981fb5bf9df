"""The cost of a cached client under the OpenAI SDK: hits from memory and from Redis, also in threads, misses, chunks.

    python -m benchmarks sdk

The SDK alone is timed over a transport that answers at once, the cached client over the same transport; both take
turns call by call, in an order drawn anew each round, so that a busy machine slows both alike. What is shown is the
median of the differences of neighbouring calls, in microseconds, beside the SDK's own time.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI, OpenAI

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from cachecore.testing.servers import Server, installed
from cachecore_llm.sdk import async_cached_client, cached_client

CALLS: Final = max(50, round(600 * scale()))
TOKENS: Final = 200
BODY: Final = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "An answer. " * 40}}
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 120, "total_tokens": 420},
    }
).encode()


def frames() -> list[bytes]:
    """The frames of a stream, as a provider sends them."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[Any] = [{"role": "assistant", "content": ""}, *({"content": f"word{n} "} for n in range(TOKENS)), {}]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]}
        for delta in deltas
    ]
    usage = {
        **head,
        "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS},
    }
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in [*chunks, usage]), b"data: [DONE]\n\n"]


class Body(httpx2.AsyncByteStream):
    """A stream of frames, each as its own piece."""

    def __init__(self, pace: float) -> None:
        self._pace = pace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for frame in FRAMES:
            if self._pace:
                await asyncio.sleep(self._pace)
            yield frame


class Stub(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """Answers at once, or streams at a pace: seconds a token. In threads it does not stream."""

    def __init__(self, pace: float = 0.0) -> None:
        self._pace = pace

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if b'"stream":true' in (await request.aread()).replace(b" ", b""):
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(self._pace))
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=BODY)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=BODY)


FRAMES: Final = frames()
SYSTEM: Final = "You answer questions about a shop. " * 60


def client(http: httpx2.AsyncClient) -> AsyncOpenAI:
    return AsyncOpenAI(base_url="https://api.test/v1", api_key="k", http_client=http, max_retries=0)


def ask(over: AsyncOpenAI | OpenAI, text: str) -> Any:
    """The answer to a question; of an asynchronous client, what is to be awaited for it."""
    messages: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    return over.chat.completions.create(model="m", temperature=0.2, messages=messages)


async def streamed(over: AsyncOpenAI, text: str) -> None:
    async for _ in await over.chat.completions.create(
        model="m", messages=[{"role": "user", "content": text}], stream=True
    ):
        pass


Timed = list[tuple[float, float]]
"""Seconds of each call: by the clock, and of the processor."""


async def paired(
    one: Callable[[int], Awaitable[Any]], other: Callable[[int], Awaitable[Any]], calls: int
) -> tuple[Timed, Timed]:
    """Return the times of each call of both, made in turn in an order that is drawn."""
    chance = random.Random(1)
    times: tuple[Timed, Timed] = ([], [])
    for number in range(calls):
        for which in chance.sample((0, 1), 2):
            started, worked = time.perf_counter(), time.process_time()
            await (one, other)[which](number)
            times[which].append((time.perf_counter() - started, time.process_time() - worked))
    return times


def paired_in_threads(one: Callable[[int], Any], other: Callable[[int], Any], calls: int) -> tuple[Timed, Timed]:
    """As `paired`, for calls that block."""
    chance = random.Random(1)
    times: tuple[Timed, Timed] = ([], [])
    for number in range(calls):
        for which in chance.sample((0, 1), 2):
            started, worked = time.perf_counter(), time.process_time()
            (one, other)[which](number)
            times[which].append((time.perf_counter() - started, time.process_time() - worked))
    return times


def added(alone: Timed, ours: Timed, place: int) -> float:
    """Return the median of what neighbouring calls differ by, in microseconds."""
    return statistics.median(b[place] - a[place] for a, b in zip(alone, ours, strict=True)) * 1e6


async def whole(store: str) -> dict[str, dict[str, float]]:
    """Hits and misses on one store."""
    async with httpx2.AsyncClient(transport=Stub()) as plain_http, async_cached_client(store, transport=Stub()) as http:
        plain, cached = client(plain_http), client(http)
        found = {}
        for number in range(20):
            await ask(plain, f"warm {number}")
            await ask(cached, "known")
        # A copy in memory is not what is measured on Redis: each question is asked for the first time by this client.
        if store.startswith("redis"):
            async with async_cached_client(store, transport=Stub()) as before:
                for number in range(CALLS):
                    await ask(client(before), f"question {number}")
            hits = await paired(lambda n: ask(plain, f"q {n}"), lambda n: ask(cached, f"question {n}"), CALLS)
        else:
            hits = await paired(lambda n: ask(plain, "known"), lambda n: ask(cached, "known"), CALLS)
        misses = await paired(lambda n: ask(plain, f"new {n}"), lambda n: ask(cached, f"new {n}"), CALLS)
        for name, (alone, ours) in (("hit", hits), ("miss", misses)):
            found[name] = figures_of(alone, ours)
        return found


def in_threads(store: str) -> dict[str, float]:
    """Hits of the client for threads on one store: from memory, or each asked for the first time by this client."""
    known = store == "memory://"
    http = {name: httpx2.Client(transport=Stub()) if name == "alone" else cached_client(store, transport=Stub())
            for name in ("alone", "before", "ours")}  # fmt: skip
    over = {
        name: OpenAI(base_url="https://api.test/v1", api_key="k", http_client=one, max_retries=0)
        for name, one in http.items()
    }
    for number in range(20 if known else CALLS):
        ask(over["alone"], f"warm {number}")
        ask(over["ours" if known else "before"], "known" if known else f"in threads {number}")
    for number in range(20):
        ask(over["ours"], f"warm {number}")
    found = paired_in_threads(
        lambda n: ask(over["alone"], f"q {n}"),
        lambda n: ask(over["ours"], "known" if known else f"in threads {n}"),
        CALLS,
    )
    for one in http.values():
        one.close()
    return figures_of(*found)


def figures_of(alone: Timed, ours: Timed) -> dict[str, float]:
    """The SDK's own microseconds, and what is added to them: by the clock, and of the processor."""
    return {
        "the SDK alone, µs": round(statistics.median(clock for clock, _ in alone) * 1e6, 1),
        "added µs": round(added(alone, ours, 0), 1),
        "added, processor µs": round(added(alone, ours, 1), 1),
    }


async def chunks(pace: float, rounds: int) -> dict[str, float]:
    """The time of a streamed miss beside the SDK alone, for each chunk."""
    plain_http = httpx2.AsyncClient(transport=Stub(pace))
    async with plain_http, async_cached_client("memory://", transport=Stub(pace)) as http:
        plain, cached = client(plain_http), client(http)
        await streamed(plain, "warm")
        await streamed(cached, "warm")
        alone, ours = await paired(lambda n: streamed(plain, f"s {n}"), lambda n: streamed(cached, f"s {n}"), rounds)
    return {
        "the SDK alone, µs": round(statistics.median(clock for clock, _ in alone) / len(FRAMES) * 1e6, 1),
        "×": round(statistics.median(b[0] / a[0] for a, b in zip(alone, ours, strict=True)), 3),
        "added, processor µs": round(added(alone, ours, 1) / len(FRAMES), 1),
    }


async def measure() -> list[Table]:
    rows: dict[str, dict[str, Any]] = {}
    with Server(next(iter(installed().values()))) as server:
        for store, name in (("memory://", "memory"), (server.url, "Redis")):
            for kind, figures in (await whole(store)).items():
                rows[f"{kind}, {name}"] = figures
            # In a thread of its own: the loop of this one goes on serving nothing meanwhile.
            rows[f"hit in threads, {name}"] = await asyncio.to_thread(in_threads, store)
    streamed = {
        "as fast as it can": await chunks(0.0, 40),
        "10 ms a token": await chunks(0.01, 5),
    }
    return [
        Table("a call of a cached client", "added µs", rows),
        Table("a streamed miss, for each chunk", "added, processor µs", streamed),
    ]


QUESTION = Question("sdk", "The cost of a cached client under OpenAI's SDK", measure, ["openai"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
