"""HTTP itself: strict, within bounds, and as a client may speak it."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from cachecore_llm.testing.provider import LocalProvider
from tests.llm.provider import wire

HI = wire.body_for(wire.CHAT, "[[say hello]]")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"not http at all\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # without a host
        (b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"POST /v1/responses HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 70_000, 431),
        (b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * 5000, 413),
        (
            b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n"
            + b"x" * 2000
            + b"\r\n",
            413,
        ),
        (b"POST /v1/responses HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(sent: bytes, status: int) -> None:
    async with LocalProvider(max_body_bytes=1000) as provider:
        answer = await wire.exchange(provider.port, sent)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (await wire.post(provider.port, wire.CHAT, HI))[0] == 200


async def test_one_connection_carries_many_requests(provider: LocalProvider) -> None:
    """Also sent at once: they are answered one after the other, in order."""
    bodies = [wire.body_for(wire.CHAT, f"[[say answer{n}]]", stream=n % 2 == 1) for n in range(5)]
    sent = b"".join(
        wire.request(wire.CHAT, body, **({"connection": "close"} if n == 4 else {})) for n, body in enumerate(bodies)
    )
    answer = await wire.exchange(provider.port, sent)
    assert answer.count(b"HTTP/1.1 200") == 5
    places = [answer.index(f"answer{n}".encode()) for n in range(5)]
    assert places == sorted(places)
    assert provider.most_at_once == 1


async def test_a_client_may_send_slowly_in_chunks_and_ask_first(provider: LocalProvider) -> None:
    raw = json.dumps(HI).encode()
    head = wire.request(wire.CHAT, b"", expect="100-continue", transfer_encoding="chunked").replace(
        b"content-length: 0\r\n", b""
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
    for byte in head:
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    for part in (raw[:10], raw[10:]):
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
    writer.write(b"0\r\n\r\n")
    assert b"200" in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_flood_of_requests_behind_an_answer_is_not_read(provider: LocalProvider) -> None:
    """Bytes behind a request that is being answered are kept up to a bound; then the client has to wait."""
    provider.hold()
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
    writer.write(wire.request(wire.CHAT, HI))
    await provider.until(lambda: provider.held == 1)
    flood = wire.request(wire.CHAT, HI) * 100_000
    writer.write(flood)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await writer.drain()
    assert writer.transport.get_write_buffer_size() > len(flood) // 2
    writer.transport.abort()
    provider.release()
    await provider.until(lambda: provider.connections == 0)
    await provider.until(lambda: provider.active == 0)
    del reader


async def test_a_slow_reader_holds_the_server_back(provider: LocalProvider) -> None:
    """While one client does not read, another one gets as long an answer whole; the first then gets its own."""
    words = 25_000  # about 7 MB, more than the system takes in between
    body = wire.body_for(wire.CHAT, f"[[words {words}]]", stream=True, max_tokens=words)
    sent = wire.request(wire.CHAT, body, connection="close")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", provider.port))
    reader, writer = await asyncio.open_connection(sock=raw)
    writer.write(sent)
    await provider.until(lambda: provider.calls == 1 and provider.requests[0].events > 1000)
    await wire.exchange(provider.port, sent)
    slow, quick = provider.requests
    assert [call.outcome for call in provider.requests] == ["pending", "complete"]
    assert slow.events < words
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # now it reads quickly
    while not reader.at_eof():
        await reader.read(1 << 20)
    assert slow.outcome == "complete"
    assert slow.events == quick.events
    writer.close()
    await writer.wait_closed()


async def test_methods_and_encodings(provider: LocalProvider) -> None:
    answer = await wire.exchange(provider.port, wire.request(wire.CHAT, b"", method="GET", connection="close"))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert (await wire.post(provider.port, wire.CHAT, HI, content_encoding="gzip"))[0] == 415
    assert (await wire.post(provider.port, f"{wire.CHAT}?api-version=1", HI))[0] == 200
    status, _, text = await wire.post(
        provider.port, wire.MESSAGES, wire.body_for(wire.MESSAGES, "a"), anthropic_version=""
    )
    assert status == 200
    sent = wire.request(wire.MESSAGES, wire.body_for(wire.MESSAGES, "a"), connection="close").replace(
        b"anthropic-version", b"x-other"
    )
    assert b"anthropic-version: header is required" in await wire.exchange(provider.port, sent)
    assert b"usage" in text


async def test_headers_of_one_call(provider: LocalProvider) -> None:
    """Those that a cache must not replay are there: ids, limits, a cookie, a date."""
    _, first, _ = await wire.post(provider.port, wire.CHAT, HI)
    _, other, _ = await wire.post(provider.port, wire.MESSAGES, wire.body_for(wire.MESSAGES, "a"))
    assert {
        "x-request-id",
        "openai-organization",
        "x-ratelimit-remaining-requests",
        "set-cookie",
        "date",
    } <= first.keys()
    assert {
        "request-id",
        "anthropic-organization-id",
        "anthropic-ratelimit-requests-remaining",
        "set-cookie",
        "date",
    } <= other.keys()
