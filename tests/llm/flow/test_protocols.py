"""Every protocol through the flow, on the local model: whole and streamed are one answer, and no caller's own leaks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cachecore_llm import LLMService, LocalModel
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, ProtocolName
from cachecore_llm.wire.event_text import text_in
from tests.llm.flow.scripted import caching

TURN = [{"role": "user", "content": "[[say one two three]]"}]
BODIES: dict[ProtocolName, JsonObject] = {
    "openai.chat": {"model": "local", "messages": TURN},
    "openai.responses": {"model": "local", "input": "[[say one two three]]"},
    "anthropic.messages": {"model": "local", "max_tokens": 50, "messages": TURN},
}
OWN: dict[ProtocolName, Any] = {
    "openai.chat": lambda who: {"user": who, "metadata": {"who": who}, "safety_identifier": who},
    "openai.responses": lambda who: {"user": who, "metadata": {"who": who}, "safety_identifier": who},
    "anthropic.messages": lambda who: {"metadata": {"user_id": who}},
}
"""Fields that name a caller, by protocol."""


def asked(protocol: ProtocolName, who: str, **fields: Any) -> Call:
    body = {**BODIES[protocol], **OWN[protocol](who), **fields}
    return Call(protocol=protocol, endpoint="e", body=body, scope="s")


async def streamed(service: LLMService, call: Call) -> tuple[list[JsonObject], str | None]:
    stream = service.stream_of(replace(call, body={**call.body, "stream": True}))
    events = [event async for event in stream.events()]
    return events, stream.cache_status


def text_of(protocol: ProtocolName, body: JsonObject) -> str:
    return PROTOCOLS[protocol].facts(body).choices[0].text


@pytest.mark.parametrize("protocol", list(BODIES))
@pytest.mark.parametrize("stream_first", [False, True])
async def test_whole_and_stream_are_one_answer_and_each_caller_has_its_own_fields(
    protocol: ProtocolName, stream_first: bool
) -> None:
    """No unkeyed value of one request is in any byte that another caller gets."""
    async with caching() as cache:
        service = LLMService(LocalModel(), cache)
        callers = [("caller-A", stream_first), ("caller-B", not stream_first), ("caller-C", True), ("caller-D", False)]
        statuses, texts = [], []
        for who, as_stream in callers:
            call = asked(protocol, who)
            if as_stream:
                events, status = await streamed(service, call)
                said = json.dumps(events)
                texts.append("".join(_pieces(protocol, events)))
            else:
                answer = await service.answer(call)
                status, said = answer.status, json.dumps(answer.body())
                texts.append(text_of(protocol, answer.body()))
            statuses.append(status)
            assert not [other for other, _ in callers if other != who and other in said]
        assert statuses == ["miss", "hit", "hit", "hit"]
        assert texts == ["one two three"] * 4


def _pieces(protocol: ProtocolName, events: list[JsonObject]) -> list[str]:
    return [text_in(protocol, event) for event in events]


@pytest.mark.parametrize("protocol", list(BODIES))
async def test_nothing_of_a_caller_lies_in_the_store(protocol: ProtocolName) -> None:
    async with caching() as cache:
        service = LLMService(LocalModel(), cache)
        for as_stream in (False, True):
            call = asked(protocol, "caller-A", temperature=0.5 if as_stream else 0.0)
            await (streamed(service, call) if as_stream else service.answer(call))
            found = await cache.flow.find(asked(protocol, "caller-B", temperature=0.5 if as_stream else 0.0))
            assert found is not None
            assert b"caller-A" not in found.stored.body + (found.stored.events or b"")
            assert b"caller-A" not in json.dumps(list(found.stored.replay())).encode()


async def test_a_response_that_goes_on_behind_is_not_cached() -> None:
    async with caching() as cache:
        service = LLMService(LocalModel(), cache)
        call = asked("openai.responses", "a", conversation="conv_1")
        assert [(await service.answer(call)).reason for _ in range(2)] == ["conversation"] * 2
