"""A provider that speaks chat and embeddings, answers what it is told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore_llm import CacheConfig, ResponseCache
from cachecore_llm.wire import OPENAI_CHAT, Call, JsonObject, ProtocolName

WEATHER: JsonObject = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def completion(text: str | None = "Paris.", finish: str | None = "stop", **message: Any) -> JsonObject:
    """Return the body of a chat completion."""
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2026",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def tool_calls(city: str = "Rome") -> JsonObject:
    """Return a completion that calls a tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'}}
    return completion(None, "tool_calls", tool_calls=[call])


def said(text: str, **fields: Any) -> JsonObject:
    """Return the body of a chat of one turn."""
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


def chat(text: str = "Where?", **fields: Any) -> Call:
    """Return a chat call of one turn; `tenant` and `scope` are those of the call."""
    beside = {name: fields.pop(name) for name in ("tenant", "scope", "prompt") if name in fields}
    return Call(protocol="openai.chat", endpoint="e", body=said(text, **fields), **beside)


class Scripted:
    """Answers `bodies` in turn, the last one again and again; an exception among them is raised."""

    model: str | None = "m"
    endpoint = "https://scripted/v1"
    scope: str | None = "s"
    shaping: Mapping[str, str] = {}
    speaks: frozenset[ProtocolName] = frozenset({"openai.chat", "openai.embeddings"})

    def __init__(self, *bodies: Any, name: str = "scripted") -> None:
        self.name = name
        self.bodies = list(bodies or [completion()])
        self.calls: list[Call] = []
        self.gate: asyncio.Event | None = None
        """Where a call waits before it answers, a stream before each event but the first."""
        self.cut_after: int | None = None
        """After so many events a stream ends, as if the answer were whole."""
        self.break_after: int | None = None
        """After so many events a stream breaks off with ConnectionError."""
        self.closed = 0

    def _next(self, call: Call) -> Any:
        self.calls.append(call)
        body = self.bodies[min(len(self.calls), len(self.bodies)) - 1]
        if isinstance(body, Exception):
            raise body
        return body(call) if callable(body) else body

    async def send(self, call: Call) -> JsonObject:
        body: JsonObject = self._next(call)
        if self.gate is not None:
            await self.gate.wait()
        return body

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        body = self._next(call)
        try:
            for number, event in enumerate(OPENAI_CHAT.events_of(body)):
                if number == self.cut_after:
                    return
                if number == self.break_after:
                    raise ConnectionError("broken off")
                if number > 1 and self.gate is not None:
                    await self.gate.wait()
                yield event
        finally:
            self.closed += 1


def caching(clock: FakeClock | None = None, **config: Any) -> ResponseCache:
    """Return a cache in this process's memory: ttl 10 s, stale for 20 s more."""
    ticking = clock or FakeClock()
    settings = {"ttl_seconds": 10, "stale_if_error": 20, **config}
    return ResponseCache(MemoryBackend(clock=ticking), CacheConfig(**settings), clock=ticking, jitter=0)
