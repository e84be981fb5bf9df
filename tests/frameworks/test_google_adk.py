"""Agents of Google's ADK with the plugin: each turn once, whole and streamed, with tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

pytest.importorskip("google.adk", reason="google-adk is not installed: make frameworks")
from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.apps import App
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.genai import types
from pydantic import BaseModel, PrivateAttr, create_model

from cachecore_frameworks.google_adk import ModelCache


class Place(BaseModel):
    city: str


class Scripted(BaseLlm):
    """A model that calls a tool if it has one, then answers; counts its turns."""

    reason: Any = types.FinishReason.STOP
    failures: int = 0
    _turns: int = PrivateAttr(default=0)
    _gate: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        self._turns += 1
        turn = self._turns
        await self._gate.wait()
        if self.failures:
            self.failures -= 1
            raise ValueError("overloaded")
        if llm_request.tools_dict and len(llm_request.contents) == 1:
            yield answer(types.Part.from_function_call(name="weather", args={"city": "Rome"}), reason=self.reason)
            return
        if stream:
            for part in ("turn ", str(turn)):
                yield LlmResponse(content=types.ModelContent(part), partial=True)
        place = f'{{"city": "Rome {turn}"}}'
        schema = llm_request.config.response_schema
        text = f"turn {turn}" if schema is None else f"[{place}]" if schema == list[Place] else place
        yield answer(types.Part(text=text), reason=self.reason)


def answer(part: types.Part, *, reason: Any) -> LlmResponse:
    usage = types.GenerateContentResponseUsageMetadata(prompt_token_count=7)
    return LlmResponse(content=types.ModelContent([part]), finish_reason=reason, usage_metadata=usage)


def model_of(**options: Any) -> Scripted:
    model = Scripted(model="scripted", **options)
    model._gate.set()
    return model


async def run(agent: LlmAgent, plugin: ModelCache, prompt: str = "q", *, stream: bool = False) -> list[Any]:
    """Run the agent in a session of its own; return its events."""
    runner = InMemoryRunner(app=App(name="app", root_agent=agent, plugins=[plugin]))
    session = await runner.session_service.create_session(app_name="app", user_id="u")
    config = RunConfig(streaming_mode=StreamingMode.SSE if stream else StreamingMode.NONE)
    events = runner.run_async(
        user_id="u", session_id=session.id, new_message=types.UserContent(prompt), run_config=config
    )
    return [event async for event in events]


def text(events: list[Any]) -> Any:
    return events[-1].content.parts[0].text


async def test_each_turn_of_an_agent_with_tools_is_cached(store: str) -> None:
    looked: list[str] = []

    def weather(city: str) -> str:
        """Return the weather in a city."""
        looked.append(city)
        return "sunny"

    model, plugin = model_of(), ModelCache(store, ttl=60)
    agent = LlmAgent(name="a", model=model, instruction="Be brief.", tools=[weather])
    first, second = await run(agent, plugin), await run(agent, plugin)
    assert (text(first), text(second)) == ("turn 2", "turn 2")
    assert model._turns == 2
    assert looked == ["Rome", "Rome"]
    assert [event.usage_metadata is None for event in (first[-1], second[-1])] == [False, True]
    assert text(await run(agent, plugin, "another")) == "turn 4"
    other = LlmAgent(name="a", model=model, instruction="Be thorough.", tools=[weather])
    assert text(await run(other, plugin)) == "turn 6"
    await plugin.close()


async def test_a_stored_answer_serves_runs_that_stream_and_runs_that_do_not() -> None:
    model, plugin = model_of(), ModelCache(ttl=60)
    agent = LlmAgent(name="a", model=model)
    streamed = await run(agent, plugin, stream=True)
    assert ["".join(part.text for part in event.content.parts) for event in streamed] == ["turn ", "1", "turn 1"]
    assert [text(await run(agent, plugin, stream=stream)) for stream in (False, True)] == ["turn 1"] * 2
    assert model._turns == 1


async def test_typed_answers() -> None:
    """Types of one name with other fields are other requests."""
    model, plugin = model_of(), ModelCache(ttl=60)
    other = create_model("Place", city=(str, ...), country=(str, "Italy"))
    for turn, schema in enumerate((Place, list[Place], other), 1):
        agent = LlmAgent(name="a", model=model, output_schema=schema)
        said = [text(await run(agent, plugin)).strip("[]") for _ in range(2)]
        assert said == [f'{{"city": "Rome {turn}"}}'] * 2


async def test_five_at_once_are_one_call(store: str) -> None:
    model, plugin = model_of(), ModelCache(store, ttl=60)
    model._gate.clear()
    agent = LlmAgent(name="a", model=model)
    asked = [asyncio.create_task(run(agent, plugin)) for _ in range(5)]
    async with asyncio.timeout(20):
        while not model._turns:  # noqa: ASYNC110 - the model is called from tasks of ADK
            await asyncio.sleep(0.001)
        model._gate.set()
        assert [text(await one) for one in asked] == ["turn 1"] * 5
    assert model._turns == 1
    await plugin.close()


async def test_a_failure_lets_others_go_on() -> None:
    model, plugin = model_of(failures=1), ModelCache(ttl=60)
    model._gate.clear()
    agent = LlmAgent(name="a", model=model)
    asked = [asyncio.create_task(run(agent, plugin)) for _ in range(3)]
    async with asyncio.timeout(20):
        while not model._turns:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        model._gate.set()
        said = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, ValueError) for one in said) == 1
    assert [text(one) for one in said if isinstance(one, list)] == ["turn 2"] * 2


@pytest.mark.parametrize("stored", ["{}x", "[]", 5], ids=repr)
async def test_an_entry_of_another_version_is_replaced(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plugin = model_of(), ModelCache(ttl=60)
    agent = LlmAgent(name="a", model=model)
    asked: list[Any] = []
    look = plugin._slot.aget

    async def noted(request: Any) -> Any:
        asked.append(request)
        return await look(request)

    monkeypatch.setattr(plugin._slot, "aget", noted)
    await run(agent, plugin)
    await plugin.cache.set(asked[0], stored)
    assert [text(await run(agent, plugin)) for _ in range(2)] == ["turn 2"] * 2


@pytest.mark.parametrize("reason", [types.FinishReason.MAX_TOKENS, types.FinishReason.SAFETY])
async def test_what_broke_off_is_not_kept(reason: Any) -> None:
    model, plugin = model_of(reason=reason), ModelCache(ttl=60)
    agent = LlmAgent(name="a", model=model)
    async with asyncio.timeout(20):
        assert [text(await run(agent, plugin)) for _ in range(2)] == ["turn 1", "turn 2"]
