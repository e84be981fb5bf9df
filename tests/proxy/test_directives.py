"""`Cache-Control` of requests, `Cache-Status` and `Age` of answers (RFC 9111, RFC 9211)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
import pytest

from cachecore.testing.clocks import FakeClock
from cachecore_llm.testing.provider import LocalProvider
from tests.proxy.conftest import Gateways, chat, messages

SHORT = {"ttl_seconds": 0.4, "stale_if_error": 60}


async def ask(http: httpx2.AsyncClient, directives: str = "", text: str = "Hi", **more: Any) -> httpx2.Response:
    headers = {"cache-control": directives} if directives else {}
    return await http.post("/v1/chat/completions", json=chat(text, **more), headers=headers)


def said(raw: httpx2.Response) -> str:
    """Return `Cache-Status` without the digest."""
    return str(raw.headers["cache-status"]).partition("; key=")[0]


async def until_stale(http: httpx2.AsyncClient, text: str = "Hi") -> None:
    while (await ask(http, "only-if-cached", text)).status_code == 200:  # noqa: ASYNC110 - only asking tells
        await asyncio.sleep(0.05)


async def test_directives_of_a_fresh_answer(gateways: Gateways, provider: LocalProvider) -> None:
    """`no-cache` asks anew and replaces, `no-store` keeps nothing, `max-age=0` takes nothing old."""
    http = await gateways.http(await gateways.start())
    first = await ask(http)
    assert said(await ask(http, "no-transform, x=y, max-age=banana")).startswith("cachecore; hit")
    renewed = await ask(http, "no-cache")
    assert said(renewed).startswith("cachecore; fwd=miss")
    assert renewed.json()["id"] != first.json()["id"]
    assert (await ask(http)).json()["id"] == renewed.json()["id"]
    assert said(await ask(http, "max-age=3600")).startswith("cachecore; hit")
    assert said(await ask(http, "max-age=0")).startswith("cachecore; fwd=miss")
    assert said(await ask(http, "min-fresh=5")).startswith("cachecore; hit")
    assert said(await ask(http, "min-fresh=9999999")).startswith("cachecore; fwd=miss")
    for _ in range(2):
        assert said(await ask(http, "no-store", "secret")) == "cachecore; fwd=miss"
    assert provider.calls == 6


@pytest.mark.parametrize("stream", [False, True])
async def test_only_if_cached_is_a_504_that_is_not_retried(
    gateways: Gateways, provider: LocalProvider, stream: bool
) -> None:
    running = await gateways.start()
    client = await gateways.openai(running, max_retries=2)
    await client.chat.completions.create(model="m", messages=messages("warm"))
    with pytest.raises(openai.InternalServerError) as raised:
        await client.chat.completions.create(
            model="m", messages=messages("Hi"), stream=stream, extra_headers={"Cache-Control": "only-if-cached"}
        )
    assert raised.value.status_code == 504
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert raised.value.response.headers["cache-status"] == "cachecore; detail=not_cached"
    assert provider.calls == 1
    assert sum(row.outcomes.get("only_if_cached", 0) for row in running.gateway.activity.rows.values()) == 1


async def test_stale_answers_say_so(gateways: Gateways, provider: LocalProvider) -> None:
    """`max-stale` takes one past its ttl without asking; when the provider fails, one is given all the same."""
    http = await gateways.http(await gateways.start(cache=SHORT))
    first = await ask(http)
    await until_stale(http)
    stale = await ask(http, "max-stale=30")
    assert said(stale).startswith("cachecore; hit; ttl=-")
    assert "detail=stale" in stale.headers["cache-status"]
    assert stale.json()["id"] == first.json()["id"]
    assert int(stale.headers["age"]) >= 0
    assert provider.calls == 1
    provider.queue("[[error 503]]")
    rescued = await ask(http)
    assert rescued.json()["id"] == first.json()["id"]
    assert said(rescued).startswith("cachecore; fwd=stale; fwd-status=503; ttl=-")
    assert "age" in rescued.headers


@pytest.mark.parametrize(
    ("directives", "stream", "error", "status"),
    [("", True, 503, 200), ("stale-if-error=0", False, 503, 503), ("", False, 400, 400), ("", True, 400, 400)],
)
async def test_what_is_given_stale(
    gateways: Gateways, provider: LocalProvider, directives: str, stream: bool, error: int, status: int
) -> None:
    """Streams as whole answers; nothing where the call forbids it, and nothing for a mistake of the caller."""
    http = await gateways.http(await gateways.start(cache=SHORT))
    await ask(http)
    await until_stale(http)
    provider.queue(f"[[error {error}]]")
    raw = await ask(http, directives, stream=stream)
    assert raw.status_code == status
    if status == 200:
        assert said(raw).startswith("cachecore; fwd=stale; fwd-status=503; ttl=-")


async def test_answer_with_tools_is_not_given_stale_unasked(gateways: Gateways, provider: LocalProvider) -> None:
    http = await gateways.http(await gateways.start(cache=SHORT))
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    await ask(http, tools=tools)
    while (await ask(http, "only-if-cached", tools=tools)).status_code == 200:  # noqa: ASYNC110 - only asking tells
        await asyncio.sleep(0.05)
    provider.queue("[[error 503]]")
    assert (await ask(http, tools=tools)).status_code == 503
    provider.queue("[[error 503]]")
    assert (await ask(http, "stale-if-error=60", tools=tools)).status_code == 200


async def test_hit_again_tells_ttl_and_age_as_they_are(gateways: Gateways, provider: LocalProvider) -> None:
    """Bytes that hit before are answered by a shorter way, which says the same, until the answer is no more fresh."""
    clock = FakeClock()
    http = await gateways.http(await gateways.start(cache={"ttl_seconds": 1.5}, store_options={"clock": clock}))
    for stream in (False, True):
        text = f"stream {stream}"
        bodies = [(await ask(http, text=text, stream=stream)).content for _ in range(4)]
        assert len(set(bodies[1:])) == 1
        again = await ask(http, text=text, stream=stream)
        assert said(again) in ("cachecore; hit; ttl=1", "cachecore; hit; ttl=0")
        while said(again).startswith("cachecore; hit"):
            clock.advance(0.1)
            again = await ask(http, text=text, stream=stream)
        assert said(again).startswith("cachecore; fwd=miss")
    assert provider.calls == 4


async def test_hit_again_echoes_its_own_caller(gateways: Gateways) -> None:
    """What an answer repeats of a request is the asking one's, by the shorter way, too."""
    http = await gateways.http(await gateways.start())
    for who in ("caller-1", "caller-2", "caller-1", "caller-2", "caller-1"):
        for stream in (False, True):
            raw = await http.post(
                "/v1/responses", json={"model": "m", "input": "Hi", "metadata": {"who": who}, "stream": stream}
            )
            assert f'"who":"{who}"' in raw.text.replace(" ", "")
            assert ("caller-1" in raw.text) == (who == "caller-1")


async def test_purged_answer_is_no_hit_again(gateways: Gateways, provider: LocalProvider) -> None:
    running = await gateways.start()
    http = await gateways.http(running)
    for _ in range(3):
        await ask(http)
    await running.gateway.cache.invalidate_model("m")
    assert said(await ask(http)).startswith("cachecore; fwd=miss")
    assert provider.calls == 2
