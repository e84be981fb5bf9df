"""Streams: whole with their tool calls or not stored at all; readers that come and leave take nothing from others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.wire import PROTOCOLS, JsonObject
from tests.llm.known_mistakes.faces import Face, Request, choice_in, said_in, streamed, text_of

LONG = "[[words 20]] Tell me"
CALLS = '[[tool:weather {"city": "Rome"}]] [[tool:weather {"city": "Oslo"}]] Weather?'


@pytest.mark.parametrize("again", ["whole", "streamed"])
async def test_a_streams_tool_calls_are_stored(face: Face, provider: LocalProvider, again: str) -> None:
    """Two calls side by side come back, with their arguments, to streaming and to whole callers alike."""
    request = Request(text=CALLS, tool="by city")
    first = choice_in(face, await streamed(face, request)).tool_calls
    body = await (face.whole(request) if again == "whole" else streamed(face, request))
    assert provider.calls == 1
    assert [(call.name, call.arguments.replace(" ", "")) for call in choice_in(face, body).tool_calls] == [
        ("weather", '{"city":"Rome"}'),
        ("weather", '{"city":"Oslo"}'),
    ]
    assert len(first) == 2


@pytest.mark.parametrize("way", ["cut 6", "end 6", "truncate 6", "fail 6", "hang 6"])
async def test_a_stream_that_did_not_end_is_not_stored(live: Face, provider: LocalProvider, way: str) -> None:
    """The connection breaks, the body ends cleanly, an event breaks off, an error comes, or the reader gives up."""
    provider.queue(f"[[{way}]]")
    said = ""
    with contextlib.suppress(Exception):  # SDKs differ in what they take for an error, and raise their own
        async with aclosing(live.events(Request(text=LONG))) as events:
            async for event in events:
                said += said_in(live, event)
                if said and way.startswith("hang"):
                    break
    whole = await text_of(live, Request(text=LONG))
    assert provider.calls == 2
    assert whole.startswith(said)
    assert len(whole) > len(said)


async def _read(events: AsyncGenerator[JsonObject, None], face: Face, seen: asyncio.Event) -> str:
    """Return the text of a stream, and tell when its first piece came."""
    assembly, said = PROTOCOLS[face.protocol].assembly(), ""
    async for event in events:
        assembly.feed(event)
        said += said_in(face, event)
        if said:
            seen.set()
    return said


async def test_the_first_reader_leaves_and_the_others_get_all_of_it(live: Face, provider: LocalProvider) -> None:
    """One reader has the first text and leaves; two that share its stream get the whole, and so does a later one."""
    provider.hold(after=8)
    began = [asyncio.Event() for _ in range(3)]
    readers = [asyncio.create_task(_read(live.events(Request(text=LONG)), live, one)) for one in began]
    await asyncio.wait_for(asyncio.gather(*(one.wait() for one in began)), 60)
    readers[0].cancel()
    await asyncio.wait([readers[0]])
    provider.release()
    told = await asyncio.gather(*readers[1:])
    assert provider.calls == 1
    assert told[0] == told[1] == await text_of(live, Request(text=LONG)) != ""
    assert provider.calls == 1


async def test_the_first_caller_leaves_and_the_others_get_the_answer(live: Face, provider: LocalProvider) -> None:
    """The same for whole answers: the caller that began the call is cancelled, the waiting ones get the answer."""
    provider.hold()
    callers = [asyncio.create_task(text_of(live, Request(text=LONG)))]
    await provider.until(lambda: provider.held == 1)
    callers += [asyncio.create_task(text_of(live, Request(text=LONG))) for _ in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)  # they have joined, or will find it stored: either way one call
    callers[0].cancel()
    await asyncio.wait(callers[:1])
    provider.release()
    told = await asyncio.gather(*callers[1:])
    assert told[0] == told[1] != ""
    assert provider.calls == 1


async def test_a_whole_caller_that_joins_a_stream_gets_a_whole_answer(live: Face, provider: LocalProvider) -> None:
    """Also if the reader of the stream leaves while it waits."""
    provider.hold(after=8)
    began = asyncio.Event()
    reader = asyncio.create_task(_read(live.events(Request(text=LONG)), live, began))
    await asyncio.wait_for(began.wait(), 60)
    waiting = asyncio.create_task(text_of(live, Request(text=LONG)))
    for _ in range(20):
        await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait([reader])
    provider.release()
    assert len((await waiting).split()) > 5


async def test_a_reader_of_a_cut_stream_is_told(live: Face, provider: LocalProvider) -> None:
    """Not one of three that share a stream takes its beginning for the answer."""
    provider.hold(after=8)
    provider.queue("[[cut 10]]")
    began = [asyncio.Event() for _ in range(3)]
    readers: list[Any] = [asyncio.create_task(_read(live.events(Request(text=LONG)), live, one)) for one in began]
    await asyncio.wait_for(asyncio.gather(*(one.wait() for one in began)), 60)
    provider.release()
    ends = await asyncio.gather(*readers, return_exceptions=True)
    assert [isinstance(end, Exception) for end in ends] == [True] * 3
    assert provider.calls == 1
