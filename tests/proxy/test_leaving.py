"""Clients that leave, do not read, or are too many; and a gateway that stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import openai
import pytest

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.server import serving
from cachecore_proxy.settings import Bounds, Settings
from tests.proxy.conftest import NO_END, PATIENT, Gateways, chat, messages, text_of, until


async def asked_by_hand(port: int, body: Any, limit: int = 2**16) -> Any:
    """Send a request, and return reader and writer of its connection."""
    sent = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k-1\r\n"
    writer.write(f"{head}content-length: {len(sent)}\r\n\r\n".encode() + sent)
    return reader, writer


@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_leaves_frees_what_only_it_needed(
    gateways: Gateways, provider: LocalProvider, stream: bool
) -> None:
    """The provider's connection is closed while it works; the request counts as left."""
    running = await gateways.start()
    provider.hold(after=3 if stream else 0)
    _, writer = await asked_by_hand(running.port, chat("[[words 40]] Hi", stream=stream))
    await provider.until(lambda: provider.held == 1)
    writer.close()
    await provider.until(lambda: provider.active == 0)
    await until(lambda: running.gateway.activity.under_way == 0)
    assert provider.requests[0].outcome == "abandoned"
    outcomes = [row.outcomes for row in running.gateway.activity.rows.values()]
    assert outcomes in ([{"left": 1}], [{"miss": 1}] if stream else [])
    provider.release()


async def test_client_that_leaves_takes_nothing_from_others(gateways: Gateways, provider: LocalProvider) -> None:
    """The first of two that wait for one call leaves; the other gets the answer of that same call."""
    running = await gateways.start()
    client = await gateways.openai(running)
    await client.chat.completions.create(model="m", messages=messages("warm"))
    provider.hold()
    first = asyncio.ensure_future(client.chat.completions.create(model="m", messages=messages("Hi")))
    await provider.until(lambda: provider.held == 1)
    second = asyncio.ensure_future(client.chat.completions.create(model="m", messages=messages("Hi")))
    await until(lambda: running.gateway.activity.under_way == 2)
    first.cancel()
    await until(lambda: running.gateway.activity.under_way == 1)
    provider.release()
    assert (await second).choices[0].message.content
    assert provider.calls == 2


async def test_client_that_leaves_while_it_is_passed_through(gateways: Gateways) -> None:
    """Also where nothing is cached: the provider's connection does not stay behind."""
    gone = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            taken.set()
            await reader.read()
        gone.set()
        writer.close()

    taken = asyncio.Event()
    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server, asyncio.timeout(NO_END):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        http = await gateways.http(await gateways.start(upstreams=[gateways.upstream(url=url)]))
        asking = asyncio.ensure_future(http.get("/v1/models"))
        await taken.wait()
        asking.cancel()
        await gone.wait()


async def test_client_that_does_not_read_is_cut_off(gateways: Gateways, provider: LocalProvider) -> None:
    """Its connection is aborted after the deadline; a reader of the same stream gets all of it."""
    running = await gateways.start(bounds=Bounds(send_timeout=2.0))
    client = await gateways.openai(running)
    await client.chat.completions.create(model="m", messages=messages("warm"))
    text = "[[words 900000]] [[chunks 60]] Hi"  # more than the sockets hold
    reader, writer = await asked_by_hand(running.port, chat(text, stream=True), limit=1)
    await reader.read(1)
    writer.transport.pause_reading()
    said = await text_of(await client.chat.completions.create(model="m", messages=messages(text), stream=True))
    assert len(said) > 1_000_000
    await until(lambda: running.gateway.activity.under_way == 0)
    assert running.gateway.activity.streams_open == 0
    writer.transport.abort()
    assert provider.calls == 2


async def test_one_request_too_many_is_told_to_come_again(gateways: Gateways, provider: LocalProvider) -> None:
    running = await gateways.start(bounds=Bounds(max_requests=2, max_streams=1))
    client = await gateways.openai(running)
    provider.hold(after=2)
    asking = [
        asyncio.ensure_future(client.chat.completions.create(model="m", messages=messages(f"{n}"))) for n in range(2)
    ]
    await provider.until(lambda: provider.held == 2)
    with pytest.raises(openai.InternalServerError) as raised:
        await client.chat.completions.create(model="m", messages=messages("3"))
    assert raised.value.status_code == 503
    assert raised.value.response.headers["retry-after"] == "1"
    http = await gateways.http(running)
    assert (await http.get("/healthz")).status_code == 200
    provider.release()
    await asyncio.gather(*asking)
    provider.hold(after=3)
    stream = asyncio.ensure_future(
        client.chat.completions.create(model="m", messages=messages("[[words 9]] 4"), stream=True)
    )
    await provider.until(lambda: provider.held == 1)
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="m", messages=messages("5"), stream=True)
    assert (await client.chat.completions.create(model="m", messages=messages("0"))).choices  # a hit
    provider.release()
    assert await text_of(await stream)


async def test_stop_lets_streams_end(gateways: Gateways, provider: LocalProvider) -> None:
    """It takes no new connections, says so, and waits for what is under way."""
    stop = asyncio.Event()
    started = asyncio.get_running_loop().create_future()
    settings = Settings(upstreams=(gateways.upstream(),), port=0, store_options=PATIENT)

    async def run() -> None:
        async with serving(settings) as running:
            started.set_result(running)
            await stop.wait()

    serve = asyncio.ensure_future(run())
    running = await started
    client = await gateways.openai(running)
    provider.hold(after=3)
    stream = await client.chat.completions.create(model="m", messages=messages("[[words 40]] Hi"), stream=True)
    await provider.until(lambda: provider.held == 1)
    stop.set()
    await until(lambda: running.gateway.stopping)
    async with asyncio.timeout(NO_END):
        with pytest.raises(OSError, match=r"."):
            while True:  # uvicorn looks ten times a second whether it should stop
                _, writer = await asyncio.open_connection("127.0.0.1", running.port)
                writer.close()
                await asyncio.sleep(0.01)
    assert not serve.done()
    provider.release()
    assert len((await text_of(stream)).split()) >= 10
    await asyncio.wait_for(serve, NO_END)


async def test_stop_does_not_wait_for_ever(gateways: Gateways, provider: LocalProvider) -> None:
    """A stream that does not end is cut off at the deadline."""
    settings = Settings(
        upstreams=(gateways.upstream(),), port=0, store_options=PATIENT, bounds=Bounds(stop_timeout=1.0)
    )
    async with asyncio.timeout(NO_END):
        async with serving(settings) as running:
            client = await gateways.openai(running)
            provider.hold(after=3)
            stream = await client.chat.completions.create(model="m", messages=messages("[[words 40]]"), stream=True)
            await provider.until(lambda: provider.held == 1)
        with pytest.raises(Exception, match=r"."):
            await text_of(stream)
    provider.release()
