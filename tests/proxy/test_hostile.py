"""Hostile and broken clients and providers: refused or bounded, nothing leaked, and everybody else is served."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.server import Running
from cachecore_proxy.settings import AccessSettings, Bounds, KeySettings
from tests.proxy.conftest import NO_END, Gateways, chat, messages, text_of, until

MIB = 1024 * 1024


@contextlib.asynccontextmanager
async def connection(running: Running) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to a gateway."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(length: int | None = None, *lines: str) -> bytes:
    given = ["POST /v1/chat/completions HTTP/1.1", "host: x", "authorization: Bearer k-1", *lines]
    if length is not None:
        given.append(f"content-length: {length}")
    return "\r\n".join([*given, "", ""]).encode()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Everything that comes until the connection ends."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(NO_END):
            return await reader.read()
    return b""


async def served(gateways: Gateways, running: Running) -> None:
    """Others are answered. On a busy machine they may be as slow as what is refused here, and try again as SDKs do."""
    client = await gateways.openai(running, "other", max_retries=9)
    assert (await client.chat.completions.create(model="m", messages=messages("Still there?"))).choices


class TestBodies:
    async def test_100_mb_are_refused_unread(
        self, gateways: Gateways, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Announced, or sent in chunks: 413 in the form of the protocol, in the memory of a small request."""
        monkeypatch.setattr("cachecore_proxy.clients._DRAIN_SECONDS", NO_END)
        running = await gateways.start()
        http = await gateways.http(running)
        async with connection(running) as (reader, writer):
            writer.write(head(100 * MIB, "expect: 100-continue"))
            assert (await ended(reader)).startswith(b"HTTP/1.1 413 ")
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(100):
                sent += MIB
                yield b" " * MIB

        tracemalloc.start()
        try:
            raw = await http.post("/v1/messages", content=body())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert raw.status_code == 413
        assert raw.json()["error"]["type"] == "request_too_large"
        assert sent <= 100 * MIB
        assert peak < 80 * MIB  # 32 MiB are read before the bound is met, and joined
        assert provider.calls == 0
        await served(gateways, running)

    async def test_body_that_stands_still_is_given_up(self, gateways: Gateways) -> None:
        running = await gateways.start(bounds=Bounds(body_timeout=0.3))
        async with connection(running) as (reader, writer):
            writer.write(head(100) + b'{"model"')
            said = await ended(reader)
            assert said == b"" or said.startswith(b"HTTP/1.1 408 ")
        await served(gateways, running)

    async def test_body_byte_by_byte_is_given_up(self, gateways: Gateways) -> None:
        """A slow loris in the body: each byte comes soon, all together do not."""
        running = await gateways.start(bounds=Bounds(body_timeout=0.5))
        async with connection(running) as (reader, writer):
            writer.write(head(10_000))
            ending = asyncio.ensure_future(ended(reader))
            while not ending.done():
                with contextlib.suppress(ConnectionError):
                    writer.write(b" ")
                await asyncio.sleep(0.05)
            said = await ending
            assert said == b"" or said.startswith(b"HTTP/1.1 408 ")
        await until(lambda: running.gateway.activity.under_way == 0)

    async def test_deep_and_broken_json_is_passed_on(self, gateways: Gateways, provider: LocalProvider) -> None:
        http = await gateways.http(await gateways.start())
        for sent in (b"[" * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b'{"model": "\xff"}', b"\x00" * 1000):
            assert (await http.post("/v1/chat/completions", content=sent)).status_code == 400
        assert provider.calls == 4


class TestHeads:
    async def test_slow_loris_is_closed(self, gateways: Gateways) -> None:
        """A connection that says nothing, and one that sends its head byte by byte."""
        running = await gateways.start(bounds=Bounds(head_timeout=0.4))
        for text in (b"", head(2)):
            async with connection(running) as (reader, writer):
                ending = asyncio.ensure_future(ended(reader))
                for place in range(len(text)):
                    if ending.done():
                        break
                    with contextlib.suppress(ConnectionError):
                        writer.write(text[place : place + 1])
                    await asyncio.sleep(0.02)
                assert await ending == b""
        await served(gateways, running)

    async def test_head_over_its_bound_is_refused(self, gateways: Gateways, provider: LocalProvider) -> None:
        """Complete or endless, in one header, in many, or in the address."""
        running = await gateways.start(bounds=Bounds(max_head_bytes=8_000))
        heads = (
            head(2, "x: " + "y" * 9_000) + b"{}",
            head(2, *(f"x-{n}: 1" for n in range(1_000))) + b"{}",
            b"GET /v1/" + b"x" * 9_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nx: " + b"y" * 200_000,
        )
        for sent in heads:
            async with connection(running) as (reader, writer):
                writer.write(sent)
                said = await ended(reader)
                # A client that still writes may be told by a reset alone.
                assert said.startswith(b"HTTP/1.1 431 ") or (said == b"" and len(sent) > 100_000)
        assert provider.calls == 0
        await served(gateways, running)

    @pytest.mark.parametrize(
        "lines",
        [
            ("content-length: 2", "transfer-encoding: chunked"),
            ("content-length: 2", "content-length: 3"),
            ("x-a: 1\rx-b: 2",),
            ("x-a : 1",),
            ("content-length: -1",),
            ("transfer-encoding: chunked, identity",),
        ],
    )
    async def test_smuggled_requests_are_refused(
        self, gateways: Gateways, provider: LocalProvider, lines: tuple[str, ...]
    ) -> None:
        """Two lengths, bare line ends and the like: one server would read another request than the next one."""
        running = await gateways.start()
        async with connection(running) as (reader, writer):
            writer.write(head(None, *lines) + b"{}")
            writer.write_eof()
            said = await ended(reader)
        assert b" 200 " not in said.partition(b"\r\n")[0]
        assert provider.calls == 0

    async def test_nothing_is_injected_into_an_answer(self, gateways: Gateways, provider: LocalProvider) -> None:
        """Line ends in directives, tenants, prompts and models are data or refused, and no header of an answer."""
        running = await gateways.start(access=AccessSettings(tenant_header="x-tenant", prompt_header="x-prompt"))
        http = await gateways.http(running)
        for headers in ({"x-tenant": "a\tb"}, {"x-prompt": "a b"}):
            assert (await http.post("/v1/chat/completions", json=chat(), headers=headers)).status_code == 400
        for model in ("m\r\nset-cookie: a=b", 'm"\r\n\r\n<script>'):
            raw = await http.post("/v1/chat/completions", json=chat(model=model))
            assert "a=b" not in str(raw.headers)
            assert len(raw.headers.get_list("date")) == 1
            assert raw.status_code == 200
        raw = await http.get("/metrics")
        assert not [line for line in raw.text.splitlines() if line.startswith("set-cookie")]
        assert "\r" not in raw.text
        assert provider.calls == 2

    async def test_paths_stay_below_the_providers_own(self, gateways: Gateways, provider: LocalProvider) -> None:
        running = await gateways.start(upstreams=[gateways.upstream(url=f"{provider.url}/team/v1")])
        for path in ("/v1/../../secret", "/v1/%2e%2e/x", "/v1/..%2fx", "/v1/a\\b", "/v1/%0d%0ax"):
            async with connection(running) as (reader, writer):
                writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
                assert (await ended(reader)).startswith(b"HTTP/1.1 400 "), path
        async with connection(running) as (reader, writer):
            writer.write(b"GET http://169.254.169.254/v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert b'"cachecore; fwd=bypass"' not in await ended(reader)


class TestKeys:
    async def test_key_in_the_address_is_refused_and_not_shown(
        self, gateways: Gateways, provider: LocalProvider
    ) -> None:
        http = await gateways.http(await gateways.start())
        for path in ("/v1/chat/completions", "/v1/models", "/v1/files"):
            for name in ("key", "api_key", "API-Key", "access_token", "x-secret", "sig"):
                raw = await http.request("POST" if "chat" in path else "GET", path, params={name: "s3cret-value"})
                assert raw.status_code == 400
                assert name in raw.text
                assert "s3cret-value" not in raw.text
        assert (await http.get("/v1/files?after=x&page_token=y")).status_code == 404  # the provider's word
        assert provider.calls == 0

    async def test_two_keys_in_one_request_are_refused(self, gateways: Gateways, provider: LocalProvider) -> None:
        running = await gateways.start()
        async with connection(running) as (reader, writer):
            writer.write(head(2, "authorization: Bearer k-2", "connection: close") + b"{}")
            assert (await ended(reader)).startswith(b"HTTP/1.1 400 ")
        assert provider.calls == 0

    async def test_10_000_keys(self, gateways: Gateways, provider: LocalProvider) -> None:
        """Own ones are found as fast as one; forwarded ones take bounded memory; none gets another's answer."""
        keys = tuple(
            KeySettings(name=f"k{n}", sha256=hashlib.sha256(f"own-{n}".encode()).hexdigest()) for n in range(10_000)
        )
        running = await gateways.start(
            upstreams=[gateways.upstream(credential="p")], access=AccessSettings(keys=keys, forward_keys=True)
        )
        http = await gateways.http(running, None)
        body = json.dumps(chat()).encode()

        async def ask(key: str) -> str:
            raw = await http.post("/v1/chat/completions", content=body, headers={"authorization": f"Bearer {key}"})
            assert raw.status_code == 200
            return str(raw.headers["cache-status"])

        for key in ("own-0", "own-5000", "own-9999", "k-1"):
            assert "fwd=miss" in await ask(key)
            assert "hit" in await ask(key)
        asking = running.gateway._asking
        for n in range(10_000):
            asking.sender("openai", [(b"authorization", f"Bearer fwd-{n}".encode())])
        assert len(asking._senders) <= 4096
        assert "hit" in await ask("own-5000")
        assert provider.calls == 4

    async def test_nothing_secret_is_logged_or_told(
        self, gateways: Gateways, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Neither keys nor prompts are in logs, metrics or errors, however a request ends."""
        caplog.set_level("DEBUG", logger="cachecore")
        caplog.set_level("DEBUG", logger="uvicorn")
        running = await gateways.start(upstreams=[gateways.upstream(credential="provider-s3cret")])
        http = await gateways.http(running, "caller-s3cret")
        for text in (
            "prompt-s3cret",
            "prompt-s3cret [[error 500]]",
            "prompt-s3cret [[cut 0]]",
            "prompt-s3cret [[empty]]",
        ):
            for stream in (False, True):
                with contextlib.suppress(httpx2.TransportError):
                    raw = await http.post("/v1/chat/completions", json=chat(text, stream=stream))
                    if raw.status_code >= 500 and "cachecore" in raw.text:
                        assert "s3cret" not in raw.text
        with contextlib.suppress(httpx2.TransportError):
            await http.post("/v1/chat/completions", json=chat("prompt-s3cret [[words 40]] [[cut 20]]", stream=True))
        metrics = (await http.get("/metrics")).text
        out, err = capsys.readouterr()
        assert "s3cret" not in caplog.text + metrics + out + err
        assert "s3cret" not in repr(running.gateway.settings)


class TestProviders:
    async def test_half_open_provider_is_given_up(self, gateways: Gateways) -> None:
        """It takes the request and says nothing: 504 in its time, not to be retried; the next one is spared."""
        async with silent() as (port, connections):
            upstream = gateways.upstream(
                url=f"http://127.0.0.1:{port}", timeout=0.4, first_content_timeout=0.4, idle_timeout=0.4
            )
            client = await gateways.openai(await gateways.start(upstreams=[upstream]))
            with pytest.raises(openai.InternalServerError) as raised:
                await client.chat.completions.create(model="m", messages=messages("Hi"))
            assert raised.value.status_code == 504
            assert raised.value.response.headers["x-should-retry"] == "false"
            with pytest.raises(openai.InternalServerError) as raised:
                await client.chat.completions.create(model="m", messages=messages("Hi"), stream=True)
            assert raised.value.status_code == 503
            assert int(raised.value.response.headers["retry-after"]) >= 1
            assert len(connections) == 1

    async def test_stream_that_falls_silent_breaks(self, gateways: Gateways, provider: LocalProvider) -> None:
        client = await gateways.openai(await gateways.start(upstreams=[gateways.upstream(idle_timeout=0.4)]))
        with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
            await text_of(
                await client.chat.completions.create(
                    model="m", messages=messages("[[words 40]] [[hang 20]]"), stream=True
                )
            )
        await provider.until(lambda: provider.active == 0)

    async def test_endless_answer_is_given_up(self, gateways: Gateways) -> None:
        bounds = Bounds(max_answer_bytes=20_000)
        client = await gateways.openai(await gateways.start(bounds=bounds))
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(model="m", messages=messages("[[words 20000]]"))
        assert raised.value.status_code == 502

    async def test_provider_that_is_down(self, gateways: Gateways) -> None:
        async with silent() as (port, _):
            pass
        client = await gateways.openai(
            await gateways.start(upstreams=[gateways.upstream(url=f"http://127.0.0.1:{port}")])
        )
        with pytest.raises(openai.InternalServerError) as raised:
            await client.chat.completions.create(model="m", messages=messages("Hi"))
        assert raised.value.status_code == 502
        with pytest.raises(openai.InternalServerError):
            [model async for model in client.models.list()]

    async def test_cookies_of_one_caller_reach_no_other(self, gateways: Gateways) -> None:
        """What a provider sets is the caller's alone, whose request it answered."""
        seen: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while request := await reader.readuntil(b"\r\n\r\n"):
                seen.append(request.decode())
                body = b'{"data": []}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\nset-cookie: who=ann\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
                )

        server = await asyncio.start_server(_until_gone(serve), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            running = await gateways.start(upstreams=[gateways.upstream(url=f"http://127.0.0.1:{port}")])
            for key in ("ann", "bob"):
                raw = await (await gateways.http(running, key)).get("/v1/models")
                assert raw.headers["set-cookie"] == "who=ann"
        assert len(seen) == 2
        assert "cookie" not in seen[1].lower()


def _until_gone(serve: Any) -> Any:
    async def served_until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()

    return served_until_gone


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[tuple[int, list[Any]]]:
    """A server that takes connections and requests and never says a word."""
    taken: list[Any] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], taken
