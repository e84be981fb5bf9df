"""Heartbeats between the events of a stream, in virtual time: when they come, and that they move no deadline."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cachecore_llm import AllProvidersFailedError, FallbackOrchestrator, LLMService, ProviderTimeoutError, ResponseCache
from cachecore_llm.flow.heartbeats import HEARTBEAT, HeartbeatStream, WaitedTooLong
from cachecore_llm.wire import Call, JsonObject
from tests.llm.flow.scripted import Scripted, chat, completion
from tests.unit.virtual_caches import Scene, virtual


class Slow(Scripted):
    """Waits `seconds[n]` before event n; the last of them before all others."""

    def __init__(self, *seconds: float, text: str = "one two") -> None:
        super().__init__(completion(text))
        self.seconds = seconds

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        number = 0
        async for event in super().stream(call):
            await asyncio.sleep(self.seconds[min(number, len(self.seconds) - 1)])
            number += 1
            yield event


def opened(scene: Scene, provider: Slow, **options: Any) -> LLMService:
    """Return a service whose timeouts are longer than the test, unless `options` say otherwise."""
    orchestrator = FallbackOrchestrator([provider], **{"timeout": 500, **options})
    return LLMService(orchestrator, ResponseCache(scene.cache(), None))


def reader(service: LLMService, **options: Any) -> HeartbeatStream:
    """Return one caller's stream."""
    stream = service.cache.flow.stream(chat(), lambda call: service._orchestrator.stream(call))
    return HeartbeatStream(stream, **options)


async def timeline(stream: HeartbeatStream) -> list[tuple[float, str]]:
    """Read to the end; return heartbeats and pieces of text with the time at which they came."""
    loop = asyncio.get_running_loop()
    began, told = loop.time(), []
    while (event := await stream.next()) is not None:
        if event is HEARTBEAT:
            told.append((round(loop.time() - began, 3), "beat"))
        elif isinstance(event, dict) and event["choices"]:
            text = event["choices"][0]["delta"].get("content")
            told += [(round(loop.time() - began, 3), text)] if text else []
    await stream.aclose()
    return told


@virtual
async def test_both_callers_of_a_stream_get_heartbeats_while_they_wait(scene: Scene) -> None:
    """Before the first event and between two; each counts from the last event that its own caller got."""
    service = opened(scene, Slow(0, 40, 20, 0))
    first = asyncio.create_task(timeline(reader(service)))
    await asyncio.sleep(5)
    joiner = asyncio.create_task(timeline(reader(service)))
    assert await first == [(15, "beat"), (30, "beat"), (40, "one"), (55, "beat"), (60, " two")]
    assert await joiner == [(15, "beat"), (30, "beat"), (35, "one"), (50, "beat"), (55, " two")]
    assert await timeline(reader(service)) == [(0, "one"), (0, " two")]  # stored: nothing is waited for


@virtual
async def test_the_interval_is_an_option(scene: Scene) -> None:
    service = opened(scene, Slow(0, 7, 0))
    often, never = await asyncio.gather(timeline(reader(service, every=3)), timeline(reader(service, every=None)))
    assert often == [(3, "beat"), (6, "beat"), (7, "one"), (7, " two")]
    assert never == [(7, "one"), (7, " two")]


@virtual
async def test_a_heartbeat_does_not_move_the_callers_own_deadline(scene: Scene) -> None:
    """The caller that waits for 50 s leaves, after 50 s; another one gets the answer."""
    service = opened(scene, Slow(0, 70, 0))
    began = asyncio.get_running_loop().time()
    hasty, patient = reader(service, limit=50), asyncio.create_task(timeline(reader(service)))
    for _ in range(3):
        assert await hasty.next() is HEARTBEAT
    with pytest.raises(WaitedTooLong):
        await hasty.next()
    assert asyncio.get_running_loop().time() - began == pytest.approx(50, abs=0.01)
    await hasty.aclose()
    assert [text for _, text in await patient][-2:] == ["one", " two"]


@virtual
async def test_an_event_begins_the_callers_deadline_anew(scene: Scene) -> None:
    service = opened(scene, Slow(0, 40, 40, 0))
    assert [text for _, text in await timeline(reader(service, limit=41)) if text != "beat"] == ["one", " two"]


@pytest.mark.parametrize("seconds", [(0, 300), (0, 1, 300)])
def test_a_heartbeat_keeps_no_dead_provider_alive(seconds: tuple[float, ...]) -> None:
    """Neither before the first content nor after it: the provider's own timeouts hold to the second."""

    @virtual
    async def run(scene: Scene) -> None:
        service = opened(scene, Slow(*seconds), timeout=40)
        readers = [reader(service) for _ in range(2)]
        began = asyncio.get_running_loop().time()

        async def broken(stream: HeartbeatStream) -> tuple[int, float]:
            beats = 0
            with pytest.raises((AllProvidersFailedError, ProviderTimeoutError)):
                while (event := await stream.next()) is not None:
                    beats += event is HEARTBEAT
            await stream.aclose()
            return beats, asyncio.get_running_loop().time() - began

        ends = await asyncio.gather(*map(broken, readers))
        assert [beats for beats, _ in ends] == [2, 2]
        assert [ended for _, ended in ends] == [pytest.approx(40 + sum(seconds[:-1]), abs=0.5)] * 2

    run()


@virtual
async def test_a_reader_that_left_or_was_dropped_holds_no_stream(scene: Scene) -> None:
    """The provider's stream is closed when its last reader is gone: closed, dropped, or cancelled while it waits."""
    for end in ("close", "drop", "cancel"):
        provider = Slow(0, 0, 100, 0)
        stream = reader(opened(scene, provider))
        while not isinstance(event := await stream.next(), dict) or not event["choices"]:
            pass
        if end == "close":
            await stream.aclose()
            await stream.aclose()
        elif end == "cancel":
            waiting = asyncio.create_task(timeline(stream))
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.wait({waiting})
            await stream.aclose()
        del stream
        gc.collect()
        await asyncio.sleep(1)
        assert provider.closed == 1, end


@virtual
async def test_events_are_read_ahead_no_further_than_the_bound(scene: Scene) -> None:
    """A reader that does not read holds the events that it is told to hold, and the rest is not pulled through."""
    service = opened(scene, Slow(0, text="word " * 1000))
    stream = reader(service)
    assert isinstance(await stream.next(), dict)
    await asyncio.sleep(10)
    assert len(stream._pump._read) == 256
    count = 1
    while await stream.next() is not None:
        count += 1
    assert count > 1000
    await stream.aclose()
