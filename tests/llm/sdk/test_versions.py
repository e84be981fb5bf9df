"""What every version of the SDKs can do, over cached clients; `make sdks` runs this with the oldest."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from cachecore_llm.sdk import async_cached_client, cached_client
from cachecore_llm.testing.provider import LocalProvider

MESSAGES: list[Any] = [{"role": "user", "content": "[[words 12]] Hi"}]


def test_for_threads() -> None:
    """Whole and streamed answers of both SDKs: each question is asked once."""
    with LocalProvider() as provider, cached_client("memory://") as http:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="k", http_client=http)
        claude = anthropic.Anthropic(base_url=provider.url, api_key="k", http_client=http)
        for _ in range(2):
            whole = client.chat.completions.create(model="m", messages=MESSAGES)
            chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == whole.choices[0].message.content
            message: Any = claude.messages.create(model="m", max_tokens=50, messages=MESSAGES)
            with claude.messages.stream(model="m", max_tokens=50, messages=MESSAGES) as stream:
                assert stream.get_final_text() == message.content[0].text
        assert provider.calls == 2


async def test_for_event_loops() -> None:
    """The same under asyncio; an error is the SDK's own."""
    async with LocalProvider() as provider, async_cached_client("memory://") as http:
        client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0)
        claude = anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", http_client=http)
        for _ in range(2):
            stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            whole = await client.chat.completions.create(model="m", messages=MESSAGES)
            assert text == whole.choices[0].message.content
            vectors = await client.embeddings.create(model="e", input=["a", "b"])
            assert len(vectors.data) == 2
            message = await claude.messages.create(model="m", max_tokens=50, messages=MESSAGES)
            assert message.content
        assert provider.calls == 3
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "[[error 429]]"}])
