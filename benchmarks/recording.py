"""The time and bytes that recording adds to a streamed answer of 1,000 tokens and to its stored entry.

    python -m benchmarks recording

A local provider in a process of its own streams a chat answer over a socket. One thread reads it, with OpenAI's SDK as
an application does, or as bytes that are passed on, as a proxy does. Each answer is read plainly and recorded, in
alternating order; a ratio is that of such a pair, a row their median. Recording is all that a cache does to the stream:
it decodes the events, assembles the body, notes the pieces, and compares what body and pieces give back with what was
sent; event by event as they pass, or all of them at the end. "processor" is the time that the reading thread computed,
which other work on the machine changes least. At full speed it is all that counts; a provider with a pace of its own
leaves most of it unused, so that what recording computes is part of the waiting.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx2
from openai import OpenAI

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from cachecore import Cache
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm.wire import OPENAI_CHAT, EventDecoder, JsonObject, Recording, replays_exactly

TOKENS: Final = 1000
PACE: Final = 0.005
"""Seconds between two tokens: 200 a second, faster than most models."""
ROUNDS: Final = 11
PACED_ROUNDS: Final = 3

ALL: Final = 1_000_000
"""Chunks after which those that have come are recorded: more than there are."""

Reader = Literal["sdk", "bytes"]


class RecordedStream(httpx2.SyncByteStream):
    """The body of a response, recorded while it passes."""

    def __init__(self, inner: httpx2.SyncByteStream, done: Callable[[Recording, bytes], None], at_once: int) -> None:
        self._inner = inner
        self._done = done
        self._decoder, self._assembly = EventDecoder(), OPENAI_CHAT.assembly()
        self._events: list[JsonObject] = []
        self._closed = False
        self._at_once = at_once
        self._waiting: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks as they come."""
        for chunk in self._inner:
            self._waiting.append(chunk)
            if len(self._waiting) == self._at_once:
                self._take()
            yield chunk

    def _take(self) -> None:
        for chunk in self._waiting:
            for sent in self._decoder.feed(chunk):
                event = OPENAI_CHAT.event_of(sent)
                if event is not None:
                    event = OPENAI_CHAT.neutral(event)
                    self._assembly.feed(event)
                    self._events.append(event)
                elif OPENAI_CHAT.is_end(sent):
                    self._assembly.end()
        self._waiting.clear()

    def close(self) -> None:
        """Close the body. The SDK does so at `[DONE]`, without reading the end of the body."""
        self._inner.close()
        if self._closed:
            return
        self._closed = True
        self._take()
        recording = self._assembly.recording()
        assert recording.complete
        assert recording.pieces is not None
        assert replays_exactly(OPENAI_CHAT, self._events, recording)
        self._done(recording, recording.pieces.encode())


class RecordingTransport(httpx2.BaseTransport):
    """A transport that records each response if `on`, as a cache in front of a provider would."""

    def __init__(self) -> None:
        self._inner = httpx2.HTTPTransport()
        self.on = False
        self.at_once = 1
        self.recorded: list[tuple[Recording, bytes]] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        response = self._inner.handle_request(request)
        if self.on:
            assert isinstance(response.stream, httpx2.SyncByteStream)
            response.stream = RecordedStream(response.stream, lambda *made: self.recorded.append(made), self.at_once)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


@dataclass(slots=True)
class Times:
    """Seconds of one answer: until its end, and those that the reading thread computed."""

    whole: float
    processor: float


class Client:
    """Reads answers of one provider."""

    def __init__(self, url: str) -> None:
        self.transport = RecordingTransport()
        self._url = url
        self._http = httpx2.Client(transport=self.transport, timeout=60)
        self._openai = OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, http_client=self._http)

    def read(self, reader: Reader, directives: str, *, recorded: bool) -> Times:
        """Read one answer to its end."""
        body: dict[str, Any] = {
            "model": "gpt-local",
            "messages": [{"role": "user", "content": f"Tell me a story. {directives}"}],
            "stream": True,
            "stream_options": {"include_usage": True, "include_obfuscation": False},
        }
        self.transport.on = recorded
        before = len(self.transport.recorded)
        started, computed = time.perf_counter(), time.thread_time()
        if reader == "sdk":
            parts = sum(1 for chunk in self._openai.chat.completions.create(**body) if chunk.choices)
        else:
            url, headers = f"{self._url}/v1/chat/completions", {"authorization": "Bearer any"}
            with self._http.stream("POST", url, json=body, headers=headers) as response:
                response.raise_for_status()
                parts = b"".join(response.iter_raw()).count(b'"content":')
        times = Times(time.perf_counter() - started, time.thread_time() - computed)
        assert parts >= TOKENS, parts
        assert len(self.transport.recorded) == before + recorded
        return times

    def close(self) -> None:
        """Close the connections."""
        self._openai.close()


def rows_of(client: Client, reader: Reader, directives: str, rounds: int, *, at_once: int = 1) -> dict[str, Any]:
    """Return the figures of pairs of answers, one plain and one recorded, so many chunks `at_once`."""
    client.transport.at_once = at_once
    chance = random.Random(4711)
    client.read(reader, "[[words 1000]]", recorded=True)
    pairs: list[tuple[Times, Times]] = []
    for number in range(rounds):
        found: dict[bool, Times] = {}
        first = number % 2 == 0
        for recorded in (first, not first):
            time.sleep(0.002 * chance.random())  # the pairs keep no step with timers of the machine
            found[recorded] = client.read(reader, directives, recorded=recorded)
        pairs.append((found[False], found[True]))
    shares = [recorded.whole / plain.whole - 1 for plain, recorded in pairs]
    low, middle, high = statistics.quantiles(shares, n=4)
    plain_time = statistics.median(plain.whole for plain, _ in pairs)
    computed = statistics.median(recorded.processor - plain.processor for plain, recorded in pairs)
    return {
        "plain ms": round(1000 * plain_time, 2),
        "added %": round(100 * middle, 2),
        "quartiles": f"{100 * low:.1f} to {100 * high:.1f}",
        "processor ms": round(1000 * statistics.median(plain.processor for plain, _ in pairs), 2),
        "processor ms added": round(1000 * computed, 2),
        "of the answer's time, %": round(100 * computed / plain_time, 2),
        "pairs": rounds,
    }


async def bytes_of_entries(recording: Recording, pieces: bytes) -> dict[str, int]:
    """Return the bytes of a stored entry that holds the body alone, and of one with the pieces beside it."""
    entries: dict[str, Any] = {"body": {"body": recording.body}, "both": {"body": recording.body, "pieces": pieces}}
    store = MemoryBackend()
    sizes = {}
    async with Cache[Any](store, ttl=60, serializer=MsgpackSerializer()) as cache:
        for name, value in entries.items():
            await cache.set(name, value, required=True)
            (stored,) = await store.get_many([cache.key(name)])
            assert stored is not None
            sizes[name] = len(stored)
    await store.aclose()
    return {
        "body": sizes["body"],
        "body and pieces": sizes["both"],
        "added": sizes["both"] - sizes["body"],
        "the pieces alone": len(pieces),
    }


def measured(url: str) -> list[Table]:
    """Return the tables, measured with the provider at a URL."""
    client = Client(url)
    paced = f"[[words {TOKENS}]] [[pace {PACE}]]"
    plain = f"[[words {TOKENS}]]"
    rounds, slow = max(3, round(ROUNDS * scale())), max(2, round(PACED_ROUNDS * scale()))
    try:
        rows = {
            "OpenAI's SDK, 200 tokens a second": rows_of(client, "sdk", paced, slow),
            "OpenAI's SDK, at full speed": rows_of(client, "sdk", plain, rounds),
            "the same, recorded when it has ended": rows_of(client, "sdk", plain, rounds, at_once=ALL),
            "bytes passed on unread, at full speed": rows_of(client, "bytes", plain, rounds),
        }
    finally:
        client.close()
    recording, pieces = client.transport.recorded[-1]
    sizes = asyncio.run(bytes_of_entries(recording, pieces))
    return [
        Table(f"an answer of {TOKENS:,} tokens", "added %", rows),
        Table("the stored entry", "bytes", {name: {"bytes": size} for name, size in sizes.items()}),
    ]


async def measure() -> list[Table]:
    command = [sys.executable, "-m", "cachecore_llm.testing.provider"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as provider:
        assert provider.stdout is not None
        try:
            return await asyncio.to_thread(measured, provider.stdout.readline().strip())
        finally:
            provider.send_signal(signal.SIGTERM)


QUESTION = Question("recording", "The cost of recording a streamed answer", measure, ["openai"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
