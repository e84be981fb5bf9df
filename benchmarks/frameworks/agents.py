"""Frameworks without a slot, over cached clients of the OpenAI SDK, beside a provider that answers at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import httpx
import httpx2
from openai import AsyncOpenAI

from benchmarks.frameworks.measuring import TEXT, Row, awaited, repeated
from cachecore_llm.sdk import async_cached_client, cached_transport

ANSWER: Final = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 200, "total_tokens": 210},
    }
).encode()
JSON: Final = {"content-type": "application/json"}
OWN_IS: Final = "none: a provider that answers at once"


class Provider(httpx2.AsyncBaseTransport):
    """Answers at once."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        return httpx2.Response(200, headers=JSON, content=ANSWER)


def clients() -> tuple[AsyncOpenAI, AsyncOpenAI]:
    """Return a cached client and one that asks the provider."""
    transports = (async_cached_client("memory://", transport=Provider()), httpx2.AsyncClient(transport=Provider()))
    ours, own = (AsyncOpenAI(base_url="https://api.test/v1", api_key="k", http_client=one) for one in transports)
    return ours, own


def openai_agents() -> Row:
    import agents

    agents.set_tracing_disabled(True)
    loop = asyncio.new_event_loop()
    ours, own = (
        agents.Agent(name="a", model=agents.OpenAIChatCompletionsModel(model="m", openai_client=one))
        for one in clients()
    )
    return Row(
        framework="OpenAI Agents SDK",
        call="`Runner.run` of one turn",
        packages=("openai-agents",),
        ours=awaited(loop, lambda: agents.Runner.run(ours, "q")),
        own=awaited(loop, lambda: agents.Runner.run(own, "q")),
        own_is=OWN_IS,
    )


def agent_framework() -> Row:
    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatCompletionClient

    loop = asyncio.new_event_loop()
    ours, own = (Agent(OpenAIChatCompletionClient(model="m", async_client=one)) for one in clients())
    return Row(
        framework="Agent Framework",
        call="`agent.run`",
        packages=("agent-framework-openai",),
        ours=awaited(loop, lambda: ours.run("q")),
        own=awaited(loop, lambda: own.run("q")),
        own_is=OWN_IS,
    )


def haystack() -> Row:
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.utils import Secret

    provider = httpx.MockTransport(lambda request: httpx.Response(200, headers=JSON, content=ANSWER))

    def generator(transport: Any) -> Any:
        return OpenAIChatGenerator(
            api_key=Secret.from_token("k"),
            api_base_url="https://api.test/v1",
            model="m",
            http_client_kwargs={"transport": transport},
        )

    ours = generator(cached_transport("memory://", library="httpx", transport=provider))
    own, asked = generator(provider), [ChatMessage.from_user("q")]
    return Row(
        framework="Haystack",
        call="`OpenAIChatGenerator.run`",
        packages=("haystack-ai",),
        ours=repeated(lambda: ours.run(asked)),
        own=repeated(lambda: own.run(asked)),
        own_is=OWN_IS,
    )


CASES = {"agents": openai_agents, "haystack": haystack, "agent_framework": agent_framework}
"""By the package that each needs."""
