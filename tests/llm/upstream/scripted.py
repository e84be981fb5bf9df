"""A wire provider whose answers and events a test writes down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, ProtocolName


def completion(content: str | None = "hi", finish: str = "stop") -> JsonObject:
    """Return the body of a chat completion."""
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def chunk(finish: str | None = None, **delta: Any) -> JsonObject:
    """Return a chunk of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


ROLE, TEXT, STOP = chunk(role="assistant", content=""), chunk(content="hi"), chunk("stop")


class Hang:
    """Stands in a script where nothing more comes."""


class Scripted:
    """Does what its script says: bodies and events are given, errors are raised, `Hang` waits until it is cancelled."""

    speaks: frozenset[ProtocolName] = frozenset({"openai.chat"})
    scope: str | None = None
    shaping: Mapping[str, str] = {}

    def __init__(self, name: str, *script: Any, model: str | None = None, endpoint: str = "http://x") -> None:
        self.name = name
        self.script: Sequence[Any] = script
        self.model = model
        self.endpoint = endpoint
        self.calls: list[Call] = []
        self.closed = 0

    async def send(self, call: Call) -> JsonObject:
        self.calls.append(call)
        body: JsonObject = await self._next(self.script[0])
        return body

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        self.calls.append(call)
        try:
            for step in self.script:
                yield await self._next(step)
        finally:
            self.closed += 1

    async def _next(self, step: Any) -> Any:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Hang):
            await asyncio.Event().wait()
        return step


def empty(body: JsonObject) -> str | None:
    """Judge an answer as the flow does."""
    choice = PROTOCOLS["openai.chat"].facts(body).choices[0]
    return None if choice.text else "filtered" if choice.finish == "content_filter" else "empty"
