"""Agents of Pydantic AI on a cached model: each turn once, though messages carry times and runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed: make frameworks")
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from cachecore_frameworks.pydantic_ai import CachedModel


class Place(BaseModel):
    city: str


class Provider:
    """A model that calls a tool, then answers; counts its turns."""

    def __init__(self, *, reason: Any = None) -> None:
        self.turns = 0
        self.reason = reason
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, messages: list[Any], info: AgentInfo) -> ModelResponse:
        self.turns += 1
        turn = self.turns
        await self.gate.wait()
        if info.function_tools and len(messages) == 1:
            return ModelResponse([ToolCallPart("weather", {"city": "Rome"})], finish_reason=self.reason)
        return ModelResponse([TextPart(f"turn {turn}")], finish_reason=self.reason)

    async def stream(self, messages: list[Any], info: AgentInfo) -> AsyncIterator[Any]:
        self.turns += 1
        turn = self.turns
        if info.output_tools:
            yield {0: DeltaToolCall(info.output_tools[0].name, json_args='{"city": ', tool_call_id="one")}
            await self.gate.wait()
            yield {0: DeltaToolCall(json_args=f'"Rome {turn}"}}')}
            return
        yield "turn "
        await self.gate.wait()
        yield f"{turn}"

    def model(self, store: str = "memory://", **options: Any) -> CachedModel:
        return CachedModel(FunctionModel(self.answer, stream_function=self.stream, **options), store, ttl=60)


async def test_each_turn_of_an_agent_with_tools_is_cached(store: str) -> None:
    provider = Provider()
    model = provider.model(store)
    agent = Agent(model)
    looked = []

    @agent.tool_plain
    def weather(city: str) -> str:
        looked.append(city)
        return "sunny"

    first, second = await agent.run("q"), await agent.run("q")
    assert (first.output, second.output) == ("turn 2", "turn 2")
    assert provider.turns == 2
    assert looked == ["Rome", "Rome"]  # tools run: the model's turns are cached
    assert first.usage.output_tokens > 0
    assert second.usage.output_tokens == 0
    assert (await agent.run("q", message_history=first.all_messages())).output == "turn 3"
    await model.aclose()


async def test_five_at_once_are_one_request() -> None:
    provider = Provider()
    provider.gate.clear()
    agent = Agent(provider.model())
    asked = [asyncio.create_task(agent.run("q")) for _ in range(5)]
    async with asyncio.timeout(20):
        while not provider.turns:  # noqa: ASYNC110 - a counter wakes no waiter
            await asyncio.sleep(0)
        provider.gate.set()
        assert {(await one).output for one in asked} == {"turn 1"}
    assert provider.turns == 1


async def test_settings_instructions_and_output_are_in_the_key_and_timeouts_are_not() -> None:
    provider = Provider()
    agent = Agent(provider.model(settings={"top_p": 0.5}))
    for settings in ({"temperature": 0.0}, {"temperature": 1.0}, {"temperature": 1.0, "timeout": 3.0}):
        await agent.run("q", model_settings=settings)  # type: ignore[arg-type, unused-ignore]  # a TypedDict
    assert provider.turns == 2
    await agent.run("q", instructions="be brief")
    assert provider.turns == 3


@pytest.mark.parametrize("reason", ["length", "content_filter", "error"])
async def test_what_broke_off_is_not_kept(reason: str) -> None:
    provider = Provider(reason=reason)
    agent = Agent(provider.model())
    assert [(await agent.run("q")).output for _ in range(2)] == ["turn 1", "turn 2"]


async def test_a_failed_request_lets_others_go_on() -> None:
    failures = [ValueError("overloaded")]

    def answer(messages: list[Any], info: AgentInfo) -> ModelResponse:
        if failures:
            raise failures.pop()
        return ModelResponse([TextPart("well")])

    agent = Agent(CachedModel(FunctionModel(answer), ttl=60))
    with pytest.raises(ValueError, match="overloaded"):
        await agent.run("q")
    assert (await agent.run("q")).output == "well"


async def test_a_stream_is_shared_while_it_runs_and_replayed_after(store: str) -> None:
    provider = Provider()
    provider.gate.clear()
    model = provider.model(store)
    agent = Agent(model)
    begun = asyncio.Event()

    async def read() -> list[str]:
        async with agent.run_stream("q") as result:
            texts = []
            async for text in result.stream_text(delta=True, debounce_by=None):
                texts.append(text)
                begun.set()
            assert result.response.finish_reason is None
            assert result.response.state == "complete"
            return texts

    async with asyncio.timeout(20):
        readers = [asyncio.create_task(read()) for _ in range(3)]
        await begun.wait()
        provider.gate.set()
        assert [await one for one in readers] == [["turn ", "1"]] * 3
        assert await read() == ["turn 1"]
    assert provider.turns == 1
    assert (await agent.run("q")).output == "turn 1"  # one answer, however it is asked for
    await model.aclose()


async def test_structured_output_is_streamed_live_and_replayed() -> None:
    provider = Provider()
    agent = Agent(provider.model(), output_type=Place)
    for _ in range(2):
        async with agent.run_stream("q") as result:
            last = [place async for place in result.stream_output(debounce_by=None)][-1]
        assert last == Place(city="Rome 1")
    assert provider.turns == 1


async def test_a_reader_that_leaves_does_not_store_half() -> None:
    provider = Provider()
    agent = Agent(provider.model())
    provider.gate.clear()
    async with agent.run_stream("q") as result:
        async for _ in result.stream_text(delta=True, debounce_by=None):
            break
        await result.cancel()
    provider.gate.set()
    assert (await agent.run("q")).output == "turn 2"


def test_run_sync() -> None:
    agent = Agent(Provider().model())
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # or Pydantic AI makes one that it never closes
    try:
        assert [agent.run_sync("q").output for _ in range(2)] == ["turn 1"] * 2
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def test_times_runs_and_metadata_of_messages_are_not_in_the_key() -> None:
    """The history of an agent, in another run on another day, is the same request."""
    provider = Provider()
    model = provider.model()

    def history(day: int, run: str, prompt: str = "q") -> list[Any]:
        at = datetime(2026, 1, day, tzinfo=UTC)
        asked = ModelRequest(parts=[UserPromptPart(prompt, timestamp=at)], run_id=run, metadata={"trace": run})
        told = ModelResponse([TextPart("so")], timestamp=at, run_id=run, provider_response_id=run)
        again = ModelRequest(parts=[UserPromptPart("more", timestamp=at)], run_id=run, timestamp=at)
        return [asked, told, again]

    parameters = ModelRequestParameters()
    for messages in (history(1, "a"), history(2, "b")):
        assert (await model.request(messages, None, parameters)).text == "turn 1"
    assert (await model.request(history(1, "a", "another"), None, parameters)).text == "turn 2"


@pytest.mark.parametrize("stored", [b"[]", b"nonsense", "text", 5], ids=repr)
async def test_an_entry_of_another_version_is_replaced(stored: Any) -> None:
    provider = Provider()
    model = provider.model()
    asked: list[Any] = [ModelRequest(parts=[UserPromptPart("q")])]
    await model.cache.set(model._request(asked, None, ModelRequestParameters()), stored)
    for _ in range(2):
        assert (await model.request(asked, None, ModelRequestParameters())).text == "turn 1"


@pytest.mark.parametrize("stored", [b"[]", "text"], ids=repr)
async def test_an_entry_of_another_version_is_replaced_for_a_stream(stored: Any) -> None:
    provider = Provider()
    model = provider.model()
    asked: list[Any] = [ModelRequest(parts=[UserPromptPart("q")])]
    await model.cache.set(model._request(asked, None, ModelRequestParameters()), stored)
    for _ in range(2):
        async with model.request_stream(asked, None, ModelRequestParameters()) as stream:
            async for _event in stream:
                pass
            assert stream.get().text == "turn 1"
