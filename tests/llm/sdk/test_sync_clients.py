"""The SDKs for threads over cached clients, and processes that share a store."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from cachecore import LoopThread, OptionsError
from cachecore_llm import CacheConfig, ResponseCache
from cachecore_llm.sdk import async_cached_client, cached_client, cached_transport
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.sdk.conftest import messages

Threaded = tuple[LocalProvider, OpenAI, Anthropic]


def asked(client: OpenAI, text: str, **more: Any) -> Any:
    return client.chat.completions.create(model="m", messages=messages(text), **more)


def text_of(stream: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_threads_hit_in_all_protocols(threaded: Threaded) -> None:
    """Whole and streamed; what is no call passes through; headers tell."""
    provider, client, anthropic = threaded
    for _ in range(2):
        assert asked(client, "Hi").choices
        assert text_of(asked(client, "[[words 30]] Hi", stream=True))
        assert client.responses.create(model="m", input="Hi").output_text
        assert client.embeddings.create(model="e", input=["a", "b"]).data
        assert anthropic.messages.create(model="m", max_tokens=50, messages=messages("Hi")).content
        with anthropic.messages.stream(model="m", max_tokens=50, messages=messages("More")) as stream:
            assert stream.get_final_text()
        assert list(client.models.list())
    assert provider.calls == 6
    raw = client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"))
    assert raw.headers["cache-status"].startswith("cachecore; hit; ttl=")


def test_twenty_threads_are_one_call(threaded: Threaded) -> None:
    """Whole answers and streams that are asked for at once; a reader that leaves takes nothing from the others."""
    provider, client, _ = threaded
    with ThreadPoolExecutor(20) as pool:
        provider.hold()
        whole = [pool.submit(asked, client, "Hi") for _ in range(20)]
        provider.wait_until(lambda: provider.held == 1)
        provider.release()
        assert len({future.result().choices[0].message.content for future in whole}) == 1
        assert provider.calls == 1
        provider.hold(after=5)
        streams = [pool.submit(lambda: text_of(asked(client, "[[words 30]] Hi", stream=True))) for _ in range(19)]
        provider.wait_until(lambda: provider.held == 1)
        leaver = asked(client, "[[words 30]] Hi", stream=True)
        next(iter(leaver))
        leaver.close()
        provider.release()
        assert len({future.result() for future in streams}) == 1
        assert provider.calls == 2


def test_hit_in_memory_is_given_in_the_callers_thread() -> None:
    """Also while the thread of the cache stands still; a request for something newer goes to the provider."""
    with LocalProvider() as provider, cached_transport("memory://") as transport:
        client = OpenAI(
            base_url=provider.openai_url, api_key="k", http_client=httpx2.Client(transport=transport), max_retries=0
        )
        wanted = asked(client, "Hi")
        reached, release = threading.Event(), threading.Event()

        async def stand_still() -> None:
            reached.set()
            release.wait(60)

        blocked = transport._thread.submit(stand_still())
        try:
            assert reached.wait(60)
            raw = client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"))
            assert raw.parse() == wanted
            assert raw.headers["cache-status"].startswith("cachecore; hit; ttl=")
            assert 0 <= int(raw.headers["age"]) < 60
        finally:
            release.set()
            blocked.result(60)
        assert provider.calls == 1
        asked(client, "Hi", extra_headers={"Cache-Control": "no-cache"})
        assert provider.calls == 2
        with pytest.raises(openai.BadRequestError, match="renewed every few minutes"):
            asked(client, "Hi", extra_headers={"Authorization": "AWS4-HMAC-SHA256 Credential=x"})


class Slow(httpx2.SyncByteStream):
    """Sends the second chunk of a stream when it is told that the first one was read."""

    def __init__(self, read: threading.Event, end: Exception | None) -> None:
        self._read, self._end = read, end

    def __iter__(self) -> Any:
        for text in ("one", "two", *["more"] * 200):
            yield self._event({"role": "assistant", "content": text}, None)
            if text == "one" and not self._read.wait(60):
                raise AssertionError("the first chunk was held back")
        if self._end is not None:
            raise self._end
        yield self._event({}, "stop")
        yield b"data: [DONE]\n\n"

    def _event(self, delta: dict[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return f"data: {json.dumps(chunk)}\n\n".encode()


def test_chunks_come_one_by_one_or_together_as_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk waits for no other, a stored stream takes a few trips between the threads, a break comes where it was."""
    trips: list[None] = []
    submit = LoopThread.submit

    def counted(thread: LoopThread, call: Any, **more: Any) -> Any:
        trips.append(None)
        return submit(thread, call, **more)

    monkeypatch.setattr(LoopThread, "submit", counted)
    for end in (None, httpx2.ReadError("cut")):
        read, texts = threading.Event(), []

        def answer(_: httpx2.Request, read: threading.Event = read, end: Any = end) -> httpx2.Response:
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Slow(read, end))

        http = cached_client("memory://", transport=httpx2.MockTransport(answer))
        with OpenAI(base_url="https://api.test/v1", api_key="k", http_client=http, max_retries=0) as client:
            try:
                for chunk in asked(client, "Hi", stream=True):
                    texts.append(chunk.choices[0].delta.content)
                    read.set()
            except openai.APIConnectionError:
                assert end is not None
            assert texts[:202] == ["one", "two", *["more"] * 200]
            if end is None:
                trips.clear()
                assert len(text_of(asked(client, "Hi", stream=True))) == 806
                assert len(trips) < 10


def test_errors_and_breaks_are_the_providers_own(threaded: Threaded) -> None:
    """An HTTP error before the stream, a connection that breaks within it."""
    provider, client, _ = threaded
    with pytest.raises(openai.BadRequestError):
        asked(client, "[[error 400]]", stream=True)
    for _ in range(2):
        with pytest.raises(openai.APIConnectionError):
            text_of(asked(client, "[[cut 6]] [[words 20]] Hi", stream=True))
    assert provider.calls == 3


def test_transport_of_ones_own_is_asked_in_place_of_the_network() -> None:
    """A transport for threads, whole and streamed; what was opened with it is closed with it."""
    closed = threading.Event()
    lines = (
        b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    )

    class Own(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            assert request.read()
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=lines)

        def close(self) -> None:
            closed.set()

    with cached_client("memory://", transport=Own()) as http:
        client = OpenAI(base_url="https://api.test/v1", api_key="k", http_client=http)
        assert [text_of(asked(client, "Hi", stream=True)) for _ in range(2)] == ["Hi", "Hi"]
    assert closed.is_set()


def test_wrong_arguments_are_told_at_once() -> None:
    """A library that there is not, an empty scope, settings beside a cache that has its own."""
    with pytest.raises(OptionsError, match="'httpx2' or 'httpx', not 'requests'"):
        cached_client("memory://", library="requests")  # type: ignore[call-overload]  # what is tested
    with pytest.raises(OptionsError, match="a scope must be text and not empty"):
        async_cached_client("memory://", scope="")
    with pytest.raises(OptionsError, match="has its own settings"):
        cached_transport(ResponseCache("memory://"), CacheConfig())
    with pytest.raises(TypeError, match="retires"):
        cached_client("memory://", retires=5)


PROCESS = """
import sys
from openai import OpenAI
from cachecore_llm.sdk import cached_client
url, store = sys.argv[1:]
with cached_client(store) as http:
    client = OpenAI(base_url=url, api_key="k", http_client=http, max_retries=0)
    print("ready", flush=True)
    sys.stdin.readline()
    messages = [{"role": "user", "content": "Hi"}]
    print(client.chat.completions.create(model="m", messages=messages).choices[0].message.content)
"""


async def test_two_processes_share_one_call(redis_url: str) -> None:
    """Whole answers asked for in two processes at once are one call."""
    async with LocalProvider() as provider:
        command = (sys.executable, "-c", PROCESS, provider.openai_url, redis_url)
        pipe = asyncio.subprocess.PIPE
        both = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(2)]
        for one in both:
            assert one.stdout is not None
            assert await one.stdout.readline() == b"ready\n"
        provider.hold()
        for one in both:
            assert one.stdin is not None
            one.stdin.write(b"go\n")
        await provider.until(lambda: provider.held == 1)
        provider.release()
        told = [(await one.communicate())[0] for one in both]
        assert provider.calls == 1
        assert told[0] == told[1] != b""


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ttl": 60}, r"ttl= is a setting .* CacheConfig\(ttl_seconds=60\) after the store"),
        ({"similar": True}, r"CacheConfig\(similar=True\)"),
        ({"tenant": 5}, r"a tenant must be text, not 5"),
        ({"tenant": ""}, "a tenant must not be empty"),
        ({"scope": 5}, "a scope must be text and not empty, or a function of the headers, not 5"),
        ({"scope": ""}, "a scope must be text"),
    ],
)
def test_wrong_arguments_are_refused_at_once(wrong: dict[str, Any], told: str) -> None:
    """They name the value and the way out, also beside a transport, which takes no further options."""
    given: Any = cached_client
    for more in ({}, {"transport": httpx2.HTTPTransport()}):
        with pytest.raises(OptionsError, match=told):
            given("memory://", **wrong, **more)


def test_vectors_that_do_not_answer_the_inputs_are_passed_on_and_not_stored() -> None:
    """As without the cache: of a batch of which a part is stored, the provider is asked for the whole."""
    asked_for: list[Any] = []

    def vectors(request: httpx2.Request) -> httpx2.Response:
        inputs = json.loads(request.content)["input"]
        asked_for.append(inputs)
        answered = ["a"] if "short" in inputs else inputs
        data = [{"object": "embedding", "index": n, "embedding": [float(n), 1.0]} for n in range(len(answered))]
        return httpx2.Response(200, json={"object": "list", "model": "e", "data": data})

    with cached_client("memory://", transport=httpx2.MockTransport(vectors)) as http:
        client = OpenAI(base_url="http://provider/v1", api_key="k", http_client=http, max_retries=0)
        assert len(client.embeddings.create(model="e", input=["a", "b"]).data) == 2
        for _ in range(2):
            raw = client.embeddings.with_raw_response.create(model="e", input=["a", "short", "more"])
            assert len(raw.parse().data) == 1
            assert "stored" not in raw.headers["cache-status"]
        part, whole = ["short", "more"], ["a", "short", "more"]
        assert asked_for == [["a", "b"], part, whole, part, whole]


def test_a_chat_without_a_bound_is_cached_and_one_that_cannot_be_read_passes_through() -> None:
    """`max_tokens=-1` is how servers of open models say "no bound"; some of them take `"5"` for 5."""
    calls: list[Any] = []

    def chat(request: httpx2.Request) -> httpx2.Response:
        calls.append(json.loads(request.content))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        return httpx2.Response(200, json=body)

    with cached_client("memory://", transport=httpx2.MockTransport(chat)) as http:
        client = OpenAI(base_url="http://provider/v1", api_key="k", http_client=http, max_retries=0)
        for number, more in enumerate(({"max_tokens": -1}, {"max_completion_tokens": -1}), start=1):
            for _ in range(2):
                assert asked(client, "Hi", **more).choices[0].message.content == "Hello"
                assert text_of(asked(client, "Hi", stream=True, **more)) == "Hello"
            assert len(calls) == number
        unreadable: list[dict[str, Any]] = [{"max_tokens": "5"}, {"n": -1}, {"n": 1.5}, {"model": 5}]
        unreadable += [{"modalities": "text"}, {"stream_options": True}, {"web_search_options": "low"}]
        for body in unreadable:
            raw = client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"), extra_body=body)
            assert raw.headers["cache-status"] == "cachecore; fwd=bypass; detail=unreadable"
            assert raw.parse().choices[0].message.content == "Hello"


@pytest.mark.parametrize("inputs", [[], 5, ["a", None]], ids=["none", "a number", "one is null"])
def test_inputs_that_are_none_get_the_providers_own_answer(inputs: Any) -> None:
    """A batch from which a filter left nothing: some providers answer with no vectors, others with an error."""
    body = {"object": "list", "model": "e", "data": [], "usage": {"prompt_tokens": 0, "total_tokens": 0}}
    refusal = {"error": {"message": "input cannot be empty", "type": "invalid_request_error"}}
    replies = [httpx2.Response(200, json=body), httpx2.Response(400, json=refusal)]
    with cached_client("memory://", transport=httpx2.MockTransport(lambda _: replies.pop(0))) as http:
        client = OpenAI(base_url="http://provider/v1", api_key="k", http_client=http, max_retries=0)
        raw = client.embeddings.with_raw_response.create(model="e", input=inputs, encoding_format="float")
        assert raw.parse().data == []
        assert raw.headers["cache-status"] == "cachecore; fwd=bypass; detail=unreadable"
        with pytest.raises(openai.BadRequestError, match="cannot be empty"):
            client.embeddings.create(model="e", input=inputs, encoding_format="float")


def test_a_stream_that_the_collector_leaves_in_the_loops_own_thread_holds_nothing_up() -> None:
    """A reader that left after one chunk, in a cycle of references: the collector may run in any thread."""
    with LocalProvider() as provider, cached_transport("memory://") as transport:
        client = OpenAI(
            base_url=provider.openai_url, api_key="k", http_client=httpx2.Client(transport=transport), max_retries=0
        )
        cycle: list[Any] = [iter(asked(client, "[[words 50]] Hi", stream=True))]
        cycle.append(cycle)
        next(cycle[0])
        del cycle

        async def collected() -> None:
            gc.collect()

        transport._thread.submit(collected()).result(60)
        assert asked(client, "Hi").choices


LEAVES = """
import sys
from openai import OpenAI
from cachecore_llm.sdk import cached_client
client = OpenAI(base_url=sys.argv[1], api_key="k", http_client=cached_client("memory://"), max_retries=0)
messages = [{"role": "user", "content": "[[words 50]] Hi"}]
for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
    break
"""
LEAVES_THEN_CLOSES = f"""
{LEAVES}
stream = iter(client.chat.completions.create(model="m", messages=messages, stream=True))
next(stream)
client.close()
del stream
"""


@pytest.mark.parametrize("program", [LEAVES, LEAVES_THEN_CLOSES], ids=["closes nothing", "closes the client"])
def test_a_program_that_ends_beside_an_open_stream_is_quiet(program: str) -> None:
    """It left the stream after one chunk."""
    with LocalProvider() as provider:
        command = (sys.executable, "-c", program, provider.openai_url)
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
