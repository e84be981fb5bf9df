"""The SDKs' own clients over a cache that normalises: one call for all spellings, and the bytes sent as written."""

from __future__ import annotations

from contextlib import ExitStack

from anthropic import Anthropic
from openai import OpenAI

from cachecore_llm import CacheConfig
from cachecore_llm.sdk import cached_client
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.sdk.conftest import messages

SPELLINGS = (" Where  is my card ?", "Where is my card?", "Where is my card")


def test_one_call_for_all_spellings() -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(LocalProvider())
        http = stack.enter_context(cached_client("memory://", config=CacheConfig(normalise=True)))
        openai = OpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0)
        anthropic = Anthropic(base_url=provider.url, api_key="k", http_client=http, max_retries=0)
        chats = [openai.chat.completions.create(model="m", messages=messages(text)) for text in SPELLINGS]
        assert provider.calls == 1
        assert len({chat.choices[0].message.content for chat in chats}) == 1
        for text in SPELLINGS:
            openai.responses.create(model="m", input=text)
        assert provider.calls == 2
        for text in SPELLINGS:
            anthropic.messages.create(model="m", max_tokens=50, messages=messages(text))
        assert provider.calls == 3
        for text in SPELLINGS:
            openai.embeddings.create(model="e", input=text)
        assert provider.calls == 6
        sent = [request.body for request in provider.requests]
        assert sent[0]["messages"][0]["content"] == SPELLINGS[0]
        assert sent[1]["input"] == SPELLINGS[0]
        assert sent[2]["messages"][0]["content"] == SPELLINGS[0]
        openai.chat.completions.create(model="m", messages=messages("where is my card?"))
        assert provider.calls == 7
