"""Streams read as server-sent events: the bytes that readers share, and those that one of them gets alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cachecore_llm.flow import AnswerStream
from cachecore_llm.flow.readers import Readers
from cachecore_llm.wire import OPENAI_CHAT, Call, JsonObject
from cachecore_llm.wire.objects import dump
from tests.llm.flow.scripted import Scripted, caching, chat, completion

TEXT = "one two three four five six"
SHAPES: list[dict[str, Any]] = [
    {},
    {"stream_options": {"include_usage": True}},
    {"metadata": {"who": "ann"}},
    {"metadata": {"who": "ben"}, "stream_options": {"include_usage": True}},
]


async def frames_of(stream: AnswerStream) -> list[bytes]:
    frames = []
    while (frame := await stream.frame()) is not None:
        frames.append(frame)
    return frames


def with_metadata(body: JsonObject) -> JsonObject:
    return {**body, "metadata": {}}


async def test_frames_are_the_events_of_each_reader() -> None:
    """Live, joined and stored, with usage and echoes as each request asked, no reader gets what is another's."""
    provider = Scripted(with_metadata(completion(TEXT)))
    provider.gate = asyncio.Event()
    async with caching() as cache:
        flow = cache.flow

        def start(call: Call) -> AsyncGenerator[JsonObject, None]:
            return provider.stream(call)

        calls = [chat(stream=True, store=True, **shape) for shape in SHAPES]
        live = [asyncio.create_task(frames_of(flow.stream(call, start))) for call in [*calls, *calls]]
        events = [asyncio.create_task(_events(flow.stream(call, start))) for call in calls]
        for _ in range(50):
            await asyncio.sleep(0)
        provider.gate.set()
        shown = [[OPENAI_CHAT.frame(event) for event in await one] for one in events]
        came = [await one for one in live]
        assert came == [*shown, *shown]
        assert len({tuple(one) for one in shown}) >= 2
        for call, wanted in zip(calls, shown, strict=True):
            stream = flow.stream(call, start)
            assert await frames_of(stream) == wanted
            assert stream.status == "hit"
        assert b"ann" in b"".join(came[2])
        assert b"ann" not in b"".join(came[3])
        assert b"ben" in b"".join(came[3])
        assert len(provider.calls) == 1
        row = cache.ledger.total()
        assert (row.spent.calls, row.saved.calls) == (1, len(live) + len(events) - 1 + len(calls))
        assert row.saved.output_tokens == 5 * row.saved.calls


async def _events(stream: AnswerStream) -> list[JsonObject]:
    return [event async for event in stream]


async def test_stream_that_is_read_as_frames_has_no_events() -> None:
    provider = Scripted(completion(TEXT))
    async with caching() as cache:
        stream = cache.flow.stream(chat(stream=True), provider.stream)
        assert await stream.frame() is not None
        with pytest.raises(TypeError, match="call frame"):
            await anext(stream)
        await stream.aclose()


def test_frame_is_made_once_and_the_number_kept_is_bounded() -> None:
    readers = Readers()
    plain = OPENAI_CHAT.parse({"model": "m", "messages": []})
    usage = OPENAI_CHAT.parse({"model": "m", "messages": [], "stream_options": {"include_usage": True}})
    echo = OPENAI_CHAT.parse({"model": "m", "messages": [], "metadata": {"who": "ann"}})
    chunk = dump({"object": "chat.completion.chunk", "choices": [], "metadata": None, "error": None})
    first = readers.frame(OPENAI_CHAT, plain, chunk)
    assert readers.frame(OPENAI_CHAT, plain, chunk) is first
    assert readers.frame(OPENAI_CHAT, echo, chunk) != first
    assert b"ann" not in readers.frame(OPENAI_CHAT, usage, chunk)
    for number in range(2000):
        readers.frame(OPENAI_CHAT, plain, dump({"object": "chat.completion.chunk", "choices": [], "n": number}))
    assert len(readers._frames) <= 512
    assert readers.frame(OPENAI_CHAT, plain, chunk) == first


async def test_crowd_of_joiners_is_counted_from_one_assembly(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    assembly = type(OPENAI_CHAT).assembly

    def counted(*given: Any) -> Any:
        made.append(given)
        return assembly(*given)

    monkeypatch.setattr(type(OPENAI_CHAT), "assembly", counted)
    provider = Scripted(completion(TEXT))
    provider.gate = asyncio.Event()
    async with caching() as cache:
        waiting = [asyncio.create_task(frames_of(cache.flow.stream(chat(), provider.stream))) for _ in range(41)]
        for _ in range(50):
            await asyncio.sleep(0)
        provider.gate.set()
        await asyncio.gather(*waiting)
        assert cache.ledger.total().saved.calls == 40
    assert len(made) < 10
