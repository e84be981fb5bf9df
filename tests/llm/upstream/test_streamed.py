"""Streams of several providers: the commit point, deadlines, errors before and after it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachecore_llm import (
    AllProvidersFailedError,
    FallbackOrchestrator,
    OpenAIProvider,
    ProviderTimeoutError,
    ReportedError,
    UnsupportedRequestError,
    UnusableAnswerError,
)
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.upstream import Streamed
from cachecore_llm.wire import JsonObject
from tests.llm.upstream.calls import chat
from tests.llm.upstream.scripted import ROLE, STOP, TEXT, Hang, Scripted, chunk, empty
from tests.unit.virtual_caches import Scene, virtual

WHOLE = [ROLE, TEXT, STOP]


async def _read(stream: Streamed) -> list[JsonObject]:
    return [event async for event in stream]


def _stream(*providers: Any, **options: Any) -> Streamed:
    return FallbackOrchestrator(providers, **options).stream(chat("x"), unusable=empty)


async def test_events_come_as_they_are_and_tell_their_provider() -> None:
    first, second = Scripted("first", *WHOLE), Scripted("second", *WHOLE)
    stream = _stream(first, second)
    assert (stream.provider, stream.latency) == (None, None)
    assert await _read(stream) == WHOLE
    assert (stream.provider, stream.fallback) == ("first", False)
    assert stream.latency is not None
    assert second.calls == []


@pytest.mark.parametrize(
    "script",
    [
        [ConnectionError()],
        [ROLE, ConnectionError()],
        [ROLE, {"error": {"message": "busy", "type": "overloaded_error"}}],
        [{"object": "error", "message": "busy", "code": 503}],
        [ROLE],
        [],
        [ROLE, STOP],
        [ROLE, chunk("content_filter")],
        [KeyError("choices")],
    ],
    ids=[
        "connect",
        "role_then_cut",
        "error_event",
        "error_object",
        "ends_early",
        "nothing",
        "empty",
        "filtered",
        "bad",
    ],
)
async def test_failure_before_the_first_content_asks_the_next(script: list[Any]) -> None:
    first = Scripted("first", *script)
    stream = _stream(first, Scripted("second", *WHOLE))
    assert await _read(stream) == WHOLE
    assert (stream.provider, stream.fallback) == ("second", True)
    assert first.closed == 1


async def test_nothing_is_given_out_before_the_first_content() -> None:
    """A reader that has seen an event of one provider never gets another's."""
    first = Scripted("first", ROLE, Hang())
    stream = _stream(first)
    reader = asyncio.ensure_future(anext(stream))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(first.calls) == 1
    assert not reader.done()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (ConnectionError(), ConnectionError),
        ({"error": {"message": "busy", "type": "overloaded_error"}}, ReportedError),
        ({"error": "busy"}, ReportedError),
    ],
)
async def test_failure_after_it_is_raised(step: Any, kind: type[Exception]) -> None:
    second = Scripted("second", *WHOLE)
    stream = _stream(Scripted("first", ROLE, TEXT, step), second)
    seen = [await anext(stream), await anext(stream)]
    with pytest.raises(kind):
        await anext(stream)
    assert seen == [ROLE, TEXT]
    assert second.calls == []


async def test_every_provider_failed() -> None:
    with pytest.raises(AllProvidersFailedError) as raised:
        await _read(_stream(Scripted("first", ConnectionError()), Scripted("second", ROLE)))
    assert isinstance(raised.value.causes[0], ConnectionError)
    assert isinstance(raised.value.causes[1], UnusableAnswerError)


async def test_empty_answer_is_given_if_no_other_is_better() -> None:
    stream = _stream(Scripted("first", ROLE, STOP), Scripted("second", ConnectionError()))
    assert await _read(stream) == [ROLE, STOP]
    assert (stream.provider, stream.fallback) == ("first", False)


async def test_mistake_of_the_caller_is_raised_as_it_is() -> None:
    second = Scripted("second", *WHOLE)
    for error in (TypeError("unexpected keyword argument"), UnsupportedRequestError("no tools")):
        with pytest.raises(type(error)) as raised:
            await _read(_stream(Scripted("first", error), second))
        assert raised.value is error
    assert second.calls == []


async def test_provider_that_cannot_take_the_call_is_passed_over() -> None:
    third = Scripted("third", *WHOLE)
    stream = _stream(Scripted("first", ConnectionError()), Scripted("second", UnsupportedRequestError("n")), third)
    assert await _read(stream) == WHOLE
    assert stream.provider == "third"


async def test_first_content_has_a_deadline() -> None:
    """Events without content do not extend it."""
    first = Scripted("first", ROLE, Hang())
    stream = _stream(first, Scripted("second", *WHOLE), first_content_timeout={"first": 0.02})
    assert await _read(stream) == WHOLE
    assert stream.provider == "second"
    await asyncio.sleep(0)
    assert first.closed == 1


@virtual
async def test_idle_stream_has_a_deadline(scene: Scene) -> None:
    providers = Scripted("first", ROLE, TEXT, Hang()), Scripted("second", *WHOLE)
    stream = _stream(*providers, idle_timeout=20, clock=scene.clock)
    assert [await anext(stream), await anext(stream)] == [ROLE, TEXT]
    with pytest.raises(ProviderTimeoutError):
        await anext(stream)


async def test_stream_that_hangs_opens_the_breaker() -> None:
    first = Scripted("first", Hang())
    providers = [first, Scripted("second", *WHOLE)]
    orchestrator = FallbackOrchestrator(providers, first_content_timeout={"first": 0.02})
    for _ in range(3):
        assert await _read(orchestrator.stream(chat("x"))) == WHOLE
    assert len(first.calls) == 1


async def test_closing_closes_the_providers_stream() -> None:
    first = Scripted("first", ROLE, TEXT, Hang())
    stream = _stream(first)
    await anext(stream)
    await stream.aclose()
    await stream.aclose()
    for _ in range(3):
        await asyncio.sleep(0)
    assert first.closed == 1


async def test_slow_reader_does_not_lose_events() -> None:
    pieces = [chunk(content=str(number)) for number in range(1000)]
    first = Scripted("first", ROLE, *pieces, STOP)
    stream = _stream(first)
    events = [await anext(stream)]
    for _ in range(20):
        await asyncio.sleep(0)
    events += [event async for event in stream]
    assert events == [ROLE, *pieces, STOP]


async def test_through_the_sdk(server: LocalProvider, openai: OpenAIProvider) -> None:
    """Events of an endpoint that fails before its first content are replaced by those of another."""
    async with OpenAIProvider("b", name="other", base_url=server.openai_url, api_key="k", max_retries=0) as other:
        orchestrator = FallbackOrchestrator([openai, other])
        for directives in ("[[fail 1]]", "[[cut 1]]", "[[end 1]]", "[[error 503]]", "[[compat error-200]]"):
            server.queue(directives)
            stream = orchestrator.stream(chat("[[say hello]]"))
            events = await _read(stream)
            assert stream.provider == "other", directives
            assert {event["id"] for event in events} == {events[0]["id"]}
        stream = orchestrator.stream(chat("[[words 20]] [[cut 9]]"))
        with pytest.raises(Exception, match="peer closed"):
            await _read(stream)
        assert stream.provider == "openai"
