"""Frameworks over cached clients, as their users build them. Skipped where absent; `make sdks` installs them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from cachecore_llm.sdk import async_cached_client, cached_client, cached_transport
from cachecore_llm.testing.provider import LocalProvider


async def test_openai_agents() -> None:
    """An agent of the OpenAI Agents SDK, run twice: the second run asks nothing."""
    agents = pytest.importorskip("agents", reason="openai-agents is not installed: make sdks")
    agents.set_tracing_disabled(True)
    async with LocalProvider() as provider, async_cached_client("memory://") as http:
        client = AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http)
        model = agents.OpenAIChatCompletionsModel(model="m", openai_client=client)
        agent = agents.Agent(name="a", instructions="You are brief.", model=model)
        said = [(await agents.Runner.run(agent, "Why is the sky blue?")).final_output for _ in range(2)]
        assert said[0] == said[1] != ""
        assert provider.calls == 1


def test_haystack_with_a_client_that_it_builds_itself() -> None:
    """Haystack makes its own HTTP client of `http_client_kwargs`, so it is given the transport."""
    generators = pytest.importorskip(
        "haystack.components.generators.chat", reason="haystack is not installed: make sdks"
    )
    from haystack.dataclasses import ChatMessage  # type: ignore[import-not-found, unused-ignore]  # where it is installed
    from haystack.utils import Secret  # type: ignore[import-not-found, unused-ignore]  # as above

    with LocalProvider() as provider:
        generator = generators.OpenAIChatGenerator(
            api_key=Secret.from_token("k"),
            api_base_url=provider.openai_url,
            model="m",
            http_client_kwargs={"transport": cached_transport("memory://", library="httpx")},
        )
        said = [generator.run([ChatMessage.from_user("Why?")])["replies"][0].text for _ in range(2)]
        assert said[0] == said[1] != ""
        assert provider.calls == 1


def test_instructor() -> None:
    """A typed answer by a tool call, made of the stored answer the second time."""
    instructor = pytest.importorskip("instructor", reason="instructor is not installed: make sdks")
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    with LocalProvider() as provider, cached_client("memory://") as http:
        client = instructor.from_openai(OpenAI(base_url=provider.openai_url, api_key="k", http_client=http))
        prompt = '[[tool:City {"name": "Rome"}]] Which city?'
        for _ in range(2):
            city: Any = client.chat.completions.create(
                model="m", response_model=City, messages=[{"role": "user", "content": prompt}]
            )
            assert city.name == "Rome"
        assert provider.calls == 1


async def test_pydantic_ai() -> None:
    """An agent of pydantic-ai, whole and streamed."""
    pydantic_ai = pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed: make sdks")
    from pydantic_ai.models.openai import OpenAIChatModel  # type: ignore[import-not-found, unused-ignore]  # as above
    from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found, unused-ignore]  # as above

    async with LocalProvider() as provider, async_cached_client("memory://") as http:
        client = AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http)
        agent = pydantic_ai.Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))
        whole = [(await agent.run("Why is the sky blue?")).output for _ in range(2)]
        async with agent.run_stream("Why is the sky blue?") as stream:
            assert whole[0] == whole[1] == await stream.get_output()
        assert provider.calls == 1


async def test_agent_framework() -> None:
    """An agent of Microsoft's Agent Framework, run twice."""
    framework = pytest.importorskip("agent_framework", reason="agent-framework is not installed: make sdks")
    clients = pytest.importorskip("agent_framework.openai", reason="agent-framework-openai is not installed: make sdks")
    async with LocalProvider() as provider, async_cached_client("memory://") as http:
        client = AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http)
        agent = framework.Agent(
            clients.OpenAIChatCompletionClient(model="m", async_client=client), instructions="Short."
        )
        said = [(await agent.run("Why is the sky blue?")).text for _ in range(2)]
        assert said[0] == said[1] != ""
        assert provider.calls == 1


PAGE = (Path(__file__).resolve().parents[3] / "docs" / "frameworks_agents.md").read_text()
EXAMPLES = {"OpenAI Agents SDK": "agents", "Haystack": "haystack", "Agent Framework": "agent_framework"}
"""The sections of the page with examples of agents, and the package that each needs."""


@pytest.mark.parametrize("section", EXAMPLES)
def test_an_example_of_the_docs_asks_once(section: str, tmp_path: Path) -> None:
    """As it stands, but for the store; the SDK finds the local provider in its environment."""
    if importlib.util.find_spec(EXAMPLES[section]) is None:
        pytest.skip(f"{EXAMPLES[section]} is not installed: make sdks")
    found = re.search(rf"^## {section}\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert "redis://localhost:6379" in found[1]
    program = tmp_path / "example.py"
    program.write_text(found[1].replace("redis://localhost:6379", "memory://"))
    with LocalProvider() as provider:
        environment = {**os.environ, "OPENAI_BASE_URL": provider.openai_url, "OPENAI_API_KEY": "k"}
        done = subprocess.run(
            [sys.executable, program], env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        first, second = done.stdout.splitlines()
        assert first == second != ""
        assert provider.calls == 1
