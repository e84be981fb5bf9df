"""No credential of a request's body is in any byte of a server after the answer was stored, and in nothing logged.

Nor are the labels and the name of the person that a body may carry.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis
from openai import AsyncOpenAI

from cachecore_llm import CacheConfig, LLMService, OpenAIProvider, ResponseCache
from cachecore_llm.sdk import async_cached_client
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.wire import Call, JsonObject

SECRETS = ("bearer-4711", "header-4712", "path-4713", "word-4714", "domain-4715", "label-4716", "person-4717")
MARK = "Marble"
"""In the answer: where this is not found, the search would not have found a secret either."""

TOOLS: list[JsonObject] = [
    {
        "type": "mcp",
        "server_label": "shop",
        "server_url": f"https://ann:{SECRETS[3]}@shop.test/{SECRETS[2]}/sse?token={SECRETS[2]}",
        "authorization": SECRETS[0],
        "headers": {"X-Api-Key": SECRETS[1]},
        "require_approval": "never",
    },
    {
        "type": "code_interpreter",
        "container": {
            "type": "auto",
            "network_policy": {
                "type": "allowlist",
                "allowed_domains": ["shop.test"],
                "domain_secrets": [{"domain": "shop.test", "name": "KEY", "value": SECRETS[4]}],
            },
        },
    },
]
BODY: JsonObject = {
    "model": "m",
    "input": f"[[say {MARK} steps]]",
    "tools": TOOLS,
    "metadata": {"case": SECRETS[5]},
    "safety_identifier": SECRETS[6],
}
ALLOWED = CacheConfig(allowed_tools=frozenset({"mcp", "code_interpreter"}), similar=True)


def _texts(server: Any) -> Iterator[bytes]:
    """Yield every key and every value of a server, and what is packed inside a value."""
    read = {
        b"string": lambda key: [server.get(key)],
        b"hash": lambda key: [part for pair in server.hgetall(key).items() for part in pair],
        b"set": server.smembers,
        b"list": lambda key: server.lrange(key, 0, -1),
        b"zset": lambda key: server.zrange(key, 0, -1),
        b"stream": lambda key: [repr(server.xrange(key)).encode()],
    }
    for key in server.scan_iter("*"):
        yield key
        for value in read[server.type(key)](key):
            yield value
            at = value.find(b"\x78")
            while at >= 0:  # any byte may begin something that zlib has packed
                try:
                    yield zlib.decompressobj().decompress(value[at:])
                except zlib.error:
                    pass
                at = value.find(b"\x78", at + 1)


def _check(redis_url: str, logged: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        kept = list(_texts(server))
    assert any(MARK.encode() in text for text in kept), "the answer is stored, and read here"
    found = {secret for secret in SECRETS for text in kept if secret.encode() in text}
    assert not found
    assert not [secret for secret in SECRETS if secret in logged]


@pytest.mark.parametrize("way", ["whole", "streamed"])
async def test_through_the_service(redis_url: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """A server of tools with a key, headers and an address that hold secrets, and secrets of a place for code."""
    caplog.set_level(logging.DEBUG)
    call = Call(protocol="openai.responses", endpoint="e", body=BODY, scope="s")
    async with (
        LocalProvider() as provider,
        OpenAIProvider("m", base_url=provider.openai_url, api_key="k", max_retries=0) as model,
        ResponseCache(redis_url, ALLOWED, backend_timeout=10, l1_max_bytes=0) as cache,
    ):
        service = LLMService(model, cache)
        for status in ("miss", "hit"):
            if way == "whole":
                answer = await service.ask(call)
            else:
                answer = await service.stream_of(call).response()
            assert (answer.cache_status, MARK in answer.content) == (status, True)
        assert provider.calls == 1
        assert [tool["type"] for tool in provider.requests[0].body["tools"]] == ["mcp", "code_interpreter"]
        assert all(secret in str(provider.requests[0].body) for secret in SECRETS), "the provider gets them"
    _check(redis_url, caplog.text)


@pytest.mark.parametrize("way", ["whole", "streamed"])
async def test_through_an_sdk(redis_url: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """The same through OpenAI's own client; its credential is in no byte either."""
    caplog.set_level(logging.DEBUG, logger="cachecore")
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(LocalProvider())
        cache = await stack.enter_async_context(ResponseCache(redis_url, ALLOWED, backend_timeout=10, l1_max_bytes=0))
        http = await stack.enter_async_context(async_cached_client(cache))
        client: Any = AsyncOpenAI(base_url=provider.openai_url, api_key=SECRETS[0], http_client=http, max_retries=0)
        for _ in range(2):
            if way == "whole":
                assert MARK in (await client.responses.create(**BODY)).output_text
            else:
                async with client.responses.stream(**BODY) as events:
                    assert MARK in (await events.get_final_response()).output_text
        assert provider.calls == 1
    _check(redis_url, caplog.text)
