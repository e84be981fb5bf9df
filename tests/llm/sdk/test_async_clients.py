"""The asynchronous SDKs over cached clients: what hits, what is shared, what is the provider's own word."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx2
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from cachecore_llm import CacheConfig, ResponseCache
from cachecore_llm.sdk import async_cached_client, async_cached_transport
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.sdk.conftest import PATIENT, Clients, messages, text_of


def asked(client: AsyncOpenAI, text: str, **more: Any) -> Any:
    return client.chat.completions.create(model="m", messages=messages(text), **more)


async def status(client: AsyncOpenAI, text: str, **more: Any) -> tuple[str, str | None]:
    """The text of an answer to a chat, and its `Cache-Status`."""
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=messages(text), **more)
    return raw.parse().choices[0].message.content or "", raw.headers.get("cache-status")


async def test_second_request_is_a_hit_and_says_so(clients: Clients) -> None:
    """The first is the provider's own answer, the second equal to it; headers tell, as RFC 9211 and 9111 say."""
    client = await clients.openai()
    first = await client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"))
    second = await client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"), user="ann")
    assert clients.provider.calls == 1
    assert first.parse() == second.parse()
    key = first.headers["cache-status"].partition("key=")[2]
    assert first.headers["cache-status"] == f"cachecore; fwd=miss; stored; key={key}"
    assert second.headers["cache-status"].startswith("cachecore; hit; ttl=")
    assert second.headers["cache-status"].endswith(f"key={key}")
    assert len(key) == 66
    assert 0 <= int(second.headers["age"]) < 60
    assert "age" not in first.headers
    assert first.headers["x-request-id"] == second.headers["x-request-id"]
    assert "date" not in second.headers


async def test_all_protocols_hit(clients: Clients) -> None:
    """Responses, embeddings and Anthropic's messages, whole; what is no call passes through each time."""
    client, anthropic = await clients.openai(), await clients.anthropic()
    for _ in range(2):
        response = await client.responses.create(model="m", input="Hi", metadata={"who": "ann"})
        assert response.output_text
        assert response.metadata == {"who": "ann"}
        vectors = await client.embeddings.create(model="e", input=["a", "b"])
        assert [vector.index for vector in vectors.data] == [0, 1]
        message = await anthropic.messages.create(model="m", max_tokens=50, messages=messages("Hi"))
        assert message.content
        assert [model.id async for model in client.models.list()]
    assert clients.provider.calls == 3


async def test_embeddings_are_kept_one_by_one(clients: Clients) -> None:
    """A batch that is partly known asks for the rest; the vectors are those of the plain provider, in order."""
    client = await clients.openai()
    plain = AsyncOpenAI(base_url=clients.provider.openai_url, api_key="k")
    wanted = await plain.embeddings.create(model="e", input=["a", "b", "c"])
    await plain.close()
    await client.embeddings.create(model="e", input=["b", "a"])
    clients.provider.reset()
    raw = await client.embeddings.with_raw_response.create(model="e", input=["a", "b", "c"])
    assert raw.headers["cache-status"] == "cachecore; fwd=partial; stored"
    assert [vector.embedding for vector in raw.parse().data] == [vector.embedding for vector in wanted.data]
    (sent,) = clients.provider.requests
    assert sent.body["input"] == "c" or sent.body["input"] == ["c"]
    raw = await client.embeddings.with_raw_response.create(model="e", input="a")
    assert raw.headers["cache-status"].startswith("cachecore; hit; ttl=")
    assert 0 <= int(raw.headers["age"]) < 60
    raw = await client.embeddings.with_raw_response.create(model="e", input=["a", "b"])
    assert raw.headers["cache-status"] == "cachecore; hit"
    assert len(clients.provider.requests) == 1


async def test_one_call_for_twenty_callers(clients: Clients, answers: ResponseCache) -> None:
    """Whole answers asked for at once are one call; the others say that they were collapsed into it."""
    client = await clients.openai()
    flights = answers.flow.root._engine.state().flights
    clients.provider.hold()
    callers = [asyncio.ensure_future(status(client, "Hi")) for _ in range(20)]
    async with asyncio.timeout(60):  # the SDK asks a thread before its first request: one that comes later is a hit
        while sum(flight.waiters for known in flights._tasks.values() for flight in known) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    clients.provider.release()
    told = await asyncio.gather(*callers)
    assert clients.provider.calls == 1
    assert len({text for text, _ in told}) == 1
    assert sum("collapsed" in (said or "") for _, said in told) == 19


@pytest.mark.parametrize("protocol", ["chat", "responses", "messages"])
async def test_twenty_streams_of_one_prompt_are_one_call(clients: Clients, protocol: str) -> None:
    """All get all of it, also if the first reader leaves in the middle; then it is replayed, and served whole."""
    client, anthropic = await clients.openai(), await clients.anthropic()
    prompt = "[[words 40]] Tell me"

    async def streamed(leave: bool = False) -> str:
        said = ""
        if protocol == "messages":
            async with anthropic.messages.stream(model="m", max_tokens=99, messages=messages(prompt)) as stream:
                async for text in stream.text_stream:
                    said += text
                    if leave:
                        break
            return said
        if protocol == "chat":
            async with await asked(client, prompt, stream=True) as chunks:
                async for chunk in chunks:
                    assert chunk.choices  # nobody asked for usage
                    said += chunk.choices[0].delta.content or ""
                    if leave and said:
                        break
            return said
        async with client.responses.stream(model="m", input=prompt) as events:
            async for event in events:
                if event.type == "response.output_text.delta":
                    said += event.delta
                    if leave:
                        break
        return said

    clients.provider.hold(after=8)
    first = asyncio.ensure_future(streamed(leave=True))
    others = [asyncio.ensure_future(streamed()) for _ in range(19)]
    await clients.provider.until(lambda: clients.provider.held == 1)
    assert await first
    clients.provider.release()
    told = set(await asyncio.gather(*others))
    assert len(told) == 1
    told.add(await streamed())
    if protocol == "chat":
        told.add((await asked(client, prompt)).choices[0].message.content)
    elif protocol == "messages":
        whole = await anthropic.messages.create(model="m", max_tokens=99, messages=messages(prompt))
        told.add("".join(block.text for block in whole.content if block.type == "text"))
    else:
        told.add((await client.responses.create(model="m", input=prompt)).output_text)
    assert len(told) == 1
    assert clients.provider.calls == 1


async def test_usage_is_given_to_callers_that_asked_for_it(clients: Clients) -> None:
    """Upstream is always asked for it; a caller that did not ask never sees a chunk without choices."""
    client = await clients.openai()
    without = [chunk async for chunk in await asked(client, "Hi", stream=True)]
    assert all(chunk.choices and chunk.usage is None for chunk in without)
    with_usage = [
        chunk async for chunk in await asked(client, "Hi", stream=True, stream_options={"include_usage": True})
    ]
    assert with_usage[-1].usage is not None
    assert with_usage[-1].usage.completion_tokens > 0
    assert clients.provider.calls == 1
    (sent,) = clients.provider.requests
    assert sent.body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


async def test_endpoint_without_stream_options_is_asked_without(clients: Clients) -> None:
    """A server that refuses the field gets the request once more without it, and from then on at once."""
    client = await clients.openai()
    assert await text_of(await asked(client, "[[compat no-stream-options]] a", stream=True))
    assert clients.provider.calls == 2
    assert await text_of(await asked(client, "[[compat no-stream-options]] b", stream=True))
    assert clients.provider.calls == 3


async def test_errors_are_the_providers_own(clients: Clients) -> None:
    """Status, body and headers of an error reach the SDK as they came, for whole and streamed requests alike."""
    client = await clients.openai()
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as bad:
            await asked(client, "[[error 400]]", stream=stream)
        assert bad.value.body is not None
        with pytest.raises(openai.RateLimitError) as limited:
            await asked(client, "[[error 429 retry-after=7]]", stream=stream)
        assert limited.value.response.headers["retry-after"] == "7"
        assert limited.value.response.headers["cache-status"] == "cachecore; fwd=miss; fwd-status=429"
    retrying = await clients.openai(retries=2)
    assert (await asked(retrying, "[[error 503 times=2]] then well")).choices
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve("none")


@pytest.mark.parametrize(
    "directive", ["cut 3", "truncate 3", "fail 3", "finish length", "finish content_filter", "empty", "refusal no"]
)
async def test_what_is_not_whole_and_good_is_not_stored(clients: Clients, directive: str) -> None:
    """Cut, broken, failed, truncated, filtered, empty and refused answers are given out once and asked for again."""
    client = await clients.openai()
    prompt = f"[[{directive}]] [[words 20]] Hi"
    for stream in (True, False):
        before = clients.provider.calls
        for _ in range(2):
            try:
                got = await asked(client, prompt, stream=stream)
                if stream:
                    await text_of(got)
            except (openai.OpenAIError, ValueError):  # JSON that breaks off is a ValueError of the SDK's
                pass
        assert clients.provider.calls == before + 2


async def test_cut_stream_is_an_error_for_all_who_read_it(clients: Clients) -> None:
    """A connection that breaks in the middle is no end: no SDK would notice one."""
    client = await clients.openai()
    clients.provider.hold(after=3)
    readers = [
        asyncio.ensure_future(text_of(await one))
        for one in [asyncio.ensure_future(asked(client, "[[cut 6]] [[words 20]] Hi", stream=True)) for _ in range(3)]
    ]
    await clients.provider.until(lambda: clients.provider.held == 1)
    clients.provider.release()
    ends = await asyncio.gather(*readers, return_exceptions=True)
    assert clients.provider.calls == 1
    assert [type(end) for end in ends] == [openai.APIConnectionError] * 3


async def test_stream_that_cannot_be_read_on_is_an_error_and_no_end() -> None:
    """What came before is the reader's; a clean end after it would look like a whole answer."""
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": null}]}\n\n'

    class Broken(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            headers = {"content-type": "text/event-stream"}
            return httpx2.Response(200, headers=headers, content=chunk + b"data: {broken\n\n" + chunk)

    async with async_cached_client("memory://", transport=Broken()) as http:
        client = AsyncOpenAI(base_url="https://api.test/v1", api_key="k", http_client=http, max_retries=0)
        with pytest.raises(openai.APIConnectionError):
            await text_of(await asked(client, "Hi", stream=True))


async def test_credentials_never_share_unless_told_so(clients: Clients) -> None:
    """A key, an organisation or a tenant of its own has answers of its own; a scope is shared by all who give it."""
    for client in (
        await clients.openai("k-1"),
        await clients.openai("k-2"),
        (await clients.openai("k-1")).with_options(organization="o"),
        await clients.openai("k-1", tenant="acme"),
    ):
        await asked(client, "Hi")
    assert clients.provider.calls == 4
    for key in ("k-1", "k-2", "k-3"):
        await asked(await clients.openai(key, scope="team"), "Hi")
    assert clients.provider.calls == 5


async def test_what_the_provider_keeps_for_one_customer_is_never_shared(clients: Clients) -> None:
    """Under a common scope, a request that names a file or an earlier answer is its own customer's alone."""
    for key in ("k-1", "k-1", "k-2"):
        client = await clients.openai(key, scope="team")
        await client.responses.create(model="m", input="Hi", previous_response_id="resp_1")
    assert clients.provider.calls == 2


async def test_credential_that_is_renewed_is_an_error_with_the_way_out(clients: Clients) -> None:
    """Not tried three times, and not asked of the provider; with a scope it works."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1}).encode()).decode().rstrip("=")
    token = f"eyJhbGciOiJ4In0.{claims}.c2ln"
    client = await clients.openai(token, retries=2)
    with pytest.raises(openai.BadRequestError, match="scope='my-service'"):
        await asked(client, "Hi")
    assert clients.provider.calls == 0
    assert (await asked(await clients.openai(token, scope="app"), "Hi")).choices


async def test_cache_control_of_a_request(clients: Clients) -> None:
    """max-age, no-cache, no-store and only-if-cached as RFC 9111 says; a 504 of our own is not tried again."""
    client = await clients.openai(retries=2)

    async def told(directives: str, text: str = "Hi") -> str | None:
        return (await status(client, text, extra_headers={"Cache-Control": directives}))[1]

    with pytest.raises(openai.InternalServerError) as missing:
        await told("only-if-cached")
    assert missing.value.status_code == 504
    assert missing.value.response.headers["x-should-retry"] == "false"
    assert clients.provider.calls == 0
    assert "fwd=miss" in (await told("max-age=60") or "")
    assert "hit" in (await told("max-age=60") or "")
    assert "hit" in (await told("only-if-cached") or "")
    assert "fwd=miss" in (await told("no-cache") or "")
    assert clients.provider.calls == 2
    await told("no-store", "other")
    assert "fwd=miss" in (await told("max-age=60", "other") or "")
    assert "hit" in (await told("unheard-of, max-age=60", "other") or "")


async def test_similar_answers_by_the_cache_control_of_a_request(clients: Clients) -> None:
    """`similar` allows one before the provider is asked, `no-similar` forbids it where it is switched on for all."""
    client = await clients.openai()
    known = await status(client, "How do I order a card?")
    text, told = await status(client, "How can I order the card?", extra_headers={"Cache-Control": "similar"})
    assert (text, clients.provider.calls) == (known[0], 1)
    assert told is not None
    assert told.endswith("detail=similar")
    assert "fwd=miss; stored" in ((await status(client, "How can I order the card?"))[1] or "")
    async with ResponseCache("memory://", CacheConfig(similar_first=True), **PATIENT) as store:
        on = await clients.openai(store=store)
        await status(on, "How do I order a card?")
        forbidden = await status(on, "How can I order a card?", extra_headers={"Cache-Control": "no-similar"})
        assert "stored" in (forbidden[1] or "")
        assert "similar" in ((await status(on, "How would I order a card?"))[1] or "")


async def test_callers_own_timeout_bounds_its_wait_and_leaves_the_call(clients: Clients) -> None:
    """One caller gives up as with the SDK's own client; the other gets the answer of the same call."""
    patient, hasty = await clients.openai(), await clients.openai(timeout=0.05)
    clients.provider.hold()
    waiting = asyncio.ensure_future(asked(patient, "Hi"))
    await clients.provider.until(lambda: clients.provider.held == 1)
    with pytest.raises(openai.APITimeoutError):
        await asked(hasty, "Hi")
    clients.provider.release()
    assert (await waiting).choices
    assert clients.provider.calls == 1


async def test_stale_answer_covers_an_outage_and_no_mistake() -> None:
    """A provider that fails is covered by an answer past its ttl, marked so; a wrong key is not."""
    async with LocalProvider() as provider:
        config = CacheConfig(ttl_seconds=0.05, stale_if_error=600)
        async with async_cached_client("memory://", config) as http:
            client = AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0)
            text, _ = await status(client, "Hi")
            vector = await client.embeddings.create(model="e", input="Hi")
            await asyncio.sleep(0.06)  # the ttl is what is waited for
            provider.queue("[[error 503]]")
            raw = await client.embeddings.with_raw_response.create(model="e", input="Hi")
            assert raw.parse().data == vector.data
            assert raw.headers["cache-status"].endswith("detail=stale")
            assert 0 <= int(raw.headers["age"]) < 60
            provider.queue("[[error 503]]", "[[error 401]]")
            again, told = await status(client, "Hi")
            assert again == text
            assert "detail=stale" in (told or "")
            assert "ttl=-" in (told or "")
            with pytest.raises(openai.AuthenticationError):
                await status(client, "Hello")


async def test_stale_answer_while_the_provider_is_slow() -> None:
    """A caller waits no longer than `soft_timeout` where an answer past its ttl is stored."""
    async with LocalProvider() as provider:
        config = CacheConfig(ttl_seconds=0.05, stale_if_error=600, soft_timeout=0.05)
        async with async_cached_client("memory://", config) as http:
            client = AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0)
            text, _ = await status(client, "Hi")
            await asyncio.sleep(0.06)  # the ttl is what is waited for
            provider.hold()
            again, told = await status(client, "Hi")
            assert again == text
            assert "detail=stale" in (told or "")
            provider.release()


async def test_httpx_of_older_sdks() -> None:
    """The same over `httpx`, and a transport alone in a client of the program's own."""
    import httpx

    told: list[str] = []
    async with LocalProvider() as provider, async_cached_client("memory://", library="httpx") as http:
        assert isinstance(http, httpx.AsyncClient)
        for _ in range(2):
            answer = await http.post(
                f"{provider.openai_url}/chat/completions",
                json={"model": "m", "messages": messages("Hi")},
                headers={"authorization": "Bearer k"},
            )
            assert answer.json()["choices"]
            told.append(answer.headers["cache-status"])
        assert told[1].startswith("cachecore; hit")
        transport = async_cached_transport("memory://", library="httpx")
        assert isinstance(transport, httpx.AsyncBaseTransport)
        async with httpx.AsyncClient(transport=transport) as own:
            assert (
                await own.get(f"{provider.openai_url}/models", headers={"authorization": "Bearer k"})
            ).status_code == 200


async def test_bytes_of_a_request_reach_the_provider_as_they_came(clients: Clients) -> None:
    """Numbers that JSON cannot hold, and the order of fields, are not the cache's to change."""
    sent: list[bytes] = []

    class Catching(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            sent.append(await request.aread())
            assert request.headers["content-length"] == str(len(sent[-1]))
            return httpx2.Response(200, json={"choices": [], "object": "chat.completion"})

    body = b'{"model": "m",  "temperature": 1e999, "messages": [{"role": "user", "content": "\\ud800"}]}'
    async with async_cached_client("memory://", transport=Catching()) as http:
        await http.post("https://api.test/v1/chat/completions", content=body)
        streamed = body[:-1] + b', "stream": true}'
        await http.post("https://api.test/v1/chat/completions", content=streamed)
    assert sent[0] == body
    options = b'{"stream_options": {"include_usage": true, "include_obfuscation": false}, '
    assert sent[1] == options + streamed[1:]


async def test_anthropic_key_counts_in_whichever_header(provider: LocalProvider) -> None:
    """`x-api-key` and `Authorization: Bearer` with one key are one customer."""
    async with ResponseCache("memory://", **PATIENT) as answers:
        given: list[dict[str, Any]] = [{"api_key": "k"}, {"auth_token": "k"}]
        for more in given:
            http = async_cached_client(answers)
            async with AsyncAnthropic(base_url=provider.url, http_client=http, max_retries=0, **more) as client:
                await client.messages.create(model="m", max_tokens=9, messages=messages("Hi"))
    assert provider.calls == 1
