"""`DirectTransport` against servers that answer by the byte: what is an answer, and which connection lives on."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from cachecore_proxy.http11 import DirectTransport

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NO_ANSWER = 30.0
"""Seconds that no test takes: a bound on those that hang."""


class Provider:
    """A server that reads one request after another and sends what it was given for each, in these very pieces."""

    def __init__(self, *answers: bytes | list[bytes], closes: bool = False) -> None:
        self._answers, self._closes = list(answers), closes
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = asyncio.Event()
        """Whether a client has closed a connection."""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self._answers.pop(0)
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self._closes:
                    return
        self.closed.set()


@contextlib.asynccontextmanager
async def serving(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve `talk` on loopback; yield the address."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=context)
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def transport_to(
    talk: Talk, **given: Any
) -> AsyncIterator[tuple[DirectTransport, Callable[..., httpx2.Request]]]:
    """A transport to a server, and a function that makes requests to it."""
    async with serving(talk) as url, DirectTransport(url, **given) as transport:

        def post(content: bytes = b"{}", **more: Any) -> httpx2.Request:
            seconds = {"connect": NO_ANSWER, "read": NO_ANSWER, "write": NO_ANSWER, "pool": NO_ANSWER}
            timeout = {**seconds, **more.pop("timeout", {})}
            return httpx2.Request("POST", f"{url}/v1", content=content, extensions={"timeout": timeout}, **more)

        yield transport, post


async def body_of(response: httpx2.Response) -> bytes:
    try:
        return b"".join([part async for part in response.aiter_bytes()])
    finally:
        await response.aclose()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(NO_ANSWER):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)


def ok(body: bytes, *headers: bytes) -> bytes:
    head = b"\r\n".join([b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers, b"", b""])
    return head + body


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body", "kept"),
    [
        (ok(b"abc"), b"abc", True),
        (ok(b""), b"", True),
        (CHUNKED + b"1\r\na\r\n2;ext=1\r\nbc\r\n0\r\ntrailer: x\r\n\r\n", b"abc", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + ok(b"abc"), b"abc", True),
        (ok(b"abc", b"connection: close"), b"abc", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"abc", False),
        (ok(b"abc") + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong", b"abc", False),
        (ok(b"abc") + b"junk behind the answer", b"abc", False),
        (ok(gzip.compress(b"abc", mtime=0), b"content-encoding: gzip"), b"abc", True),
        (ok(b"abc", b"upgrade: h2c", b"connection: upgrade, keep-alive"), b"abc", True),
    ],
    ids=["whole", "empty", "chunks", "204", "interim", "close", "1.0", "two", "junk", "gzip", "upgrade"],
)
@pytest.mark.parametrize("by_the_byte", [False, True])
async def test_answers_of_all_shapes(answer: bytes, body: bytes, kept: bool, by_the_byte: bool) -> None:
    """Whole, in chunks, after interim answers, in any pieces. Only a connection without a doubt is used again."""
    pieces = [answer[place : place + 1] for place in range(len(answer))] if by_the_byte else [answer]
    provider = Provider(pieces, ok(b"second"))
    async with transport_to(provider.talk) as (transport, post):
        response = await transport.handle_async_request(post(b'{"a": 1}'))
        assert await body_of(response) == body
        if not by_the_byte or kept:  # by the byte, what follows an answer comes after its connection was given back
            assert (transport.idle, transport.open) == ((1, 1) if kept else (0, transport.open))
        assert "link" not in response.headers
        assert "trailer" not in response.headers
        assert provider.requests[0].endswith(b'\r\n\r\n{"a": 1}')
        if kept:
            assert await body_of(await transport.handle_async_request(post())) == b"second"
            assert provider.connections == 1
        elif not by_the_byte:
            provider._answers[:] = [ok(b"second")]
            assert await body_of(await transport.handle_async_request(post())) == b"second"
            assert provider.connections == 2


async def test_answer_without_a_length_ends_with_its_connection() -> None:
    provider = Provider([b"HTTP/1.1 200 OK\r\n\r\nab", b"c"], closes=True)
    async with transport_to(provider.talk) as (transport, post):
        assert await body_of(await transport.handle_async_request(post())) == b"abc"
        assert transport.idle == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc",
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"z\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na b: c\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000 + b"\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000 + ok(b"abc"),
        CHUNKED + b"3;" + b"a" * 200_000 + b"\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_whole_answer_is_an_error(answer: bytes) -> None:
    """Cut, out of form, of two lengths, without bounds: never taken for an answer, and the connection is closed."""
    pieces = [answer[place : place + 10_000] for place in range(0, len(answer), 10_000)]
    provider = Provider(pieces, closes=True)
    async with transport_to(provider.talk) as (transport, post):
        with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
            await body_of(await transport.handle_async_request(post()))
        assert transport.idle == 0


async def test_parts_before_a_break_are_given_first() -> None:
    provider = Provider(CHUNKED + b"3\r\nabc\r\n", closes=True)
    async with transport_to(provider.talk) as (transport, post):
        response = await transport.handle_async_request(post())
        parts = response.aiter_bytes()
        assert await anext(parts) == b"abc"
        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(parts)


async def test_connection_that_speaks_unasked_is_closed() -> None:
    """An answer that no request asked for is never given to the next one."""
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        provider.connections += 1
        await reader.readuntil(b"{}")
        writer.write(ok(b"own"))
        await go.wait()
        writer.write(ok(b"planted"))
        await reader.read()

    provider = Provider()
    async with transport_to(talk) as (transport, post):
        assert await body_of(await transport.handle_async_request(post())) == b"own"
        go.set()
        await until(lambda: transport.open == 0)
        assert await body_of(await transport.handle_async_request(post())) == b"own"
        assert provider.connections == 2


@pytest.mark.parametrize(
    ("method", "headers", "content"),
    [
        ("POST", [(b"x", b"a\r\nevil: 1")], b"{}"),
        ("POST", [(b"x", b"a\nevil: 1")], b"{}"),
        ("POST", [(b"x", b"a\x00")], b"{}"),
        ("POST", [(b"x y", b"a")], b"{}"),
        ("POST", [(b"x: 1\r\nevil", b"a")], b"{}"),
        ("POST", [(b"content-length", b"1")], b"{}"),
        ("POST", [(b"content-length", b"2"), (b"content-length", b"2")], b"{}"),
        ("POST", [(b"transfer-encoding", b"chunked")], b"{}"),
        ("GET", [], b""),
    ],
)
async def test_request_that_could_be_two_is_refused(method: str, headers: Any, content: bytes) -> None:
    provider = Provider()
    async with transport_to(provider.talk) as (transport, post):
        request = httpx2.Request(method, post().url, headers=headers, content=content)
        with pytest.raises(httpx2.LocalProtocolError) as caught:
            await transport.handle_async_request(request)
        assert "evil" not in str(caught.value)
        assert provider.connections == 0


async def test_other_server_is_refused() -> None:
    async with transport_to(Provider().talk) as (transport, _):
        with pytest.raises(httpx2.UnsupportedProtocol):
            await transport.handle_async_request(httpx2.Request("POST", "http://127.0.0.1:1/v1", content=b"{}"))


async def test_reader_that_stops_stops_the_provider() -> None:
    """An endless answer that is not read takes bounded memory; it goes on when it is read."""
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"{}")
        writer.write(CHUNKED)
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
                sent += 0x10000

    async with transport_to(talk) as (transport, post):
        response = await transport.handle_async_request(post())
        before = -1
        async with asyncio.timeout(NO_ANSWER):
            while sent != before:  # nothing tells that a sender stands still
                before = sent
                await asyncio.sleep(0.05)
        assert sent < 32 * 1024 * 1024  # what sockets of loopback hold, and a little more
        read = 0
        async for part in response.aiter_raw():
            read += len(part)
            if read > before + 8 * 1024 * 1024:
                break
        await response.aclose()
        assert transport.idle == 0


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelled_caller_closes_its_connection(begun: bool) -> None:
    """Before the head of the answer and in its body; the slot is another's at once."""
    provider = Provider(CHUNKED + b"1\r\na\r\n" if begun else b"", ok(b"next"))
    async with transport_to(provider.talk, most=1) as (transport, post):

        async def ask() -> bytes:
            return await body_of(await transport.handle_async_request(post()))

        task = asyncio.ensure_future(ask())
        await until(lambda: bool(provider.requests))
        async with asyncio.timeout(NO_ANSWER):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await provider.closed.wait()
            assert await ask() == b"next"


async def test_answer_that_is_not_read_is_closed() -> None:
    provider = Provider(ok(b"abc" * 100_000), ok(b"next"))
    async with transport_to(provider.talk) as (transport, post):
        response = await transport.handle_async_request(post())
        await response.aclose()
        await response.aclose()
        assert transport.idle == 0
        assert await body_of(await transport.handle_async_request(post())) == b"next"
        assert provider.connections == 2


async def test_timeouts_name_what_was_late() -> None:
    """Reading, waiting for a slot, writing to a provider that does not read, and connecting."""
    silent, connections = asyncio.Event(), 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await silent.wait()

    async with transport_to(talk, most=1) as (transport, post):
        with pytest.raises(httpx2.ReadTimeout):
            await transport.handle_async_request(post(timeout={"read": 0.05}))
        with pytest.raises(httpx2.WriteTimeout):
            await transport.handle_async_request(post(b"x" * 2**26, timeout={"write": 0.05}))
        first = asyncio.ensure_future(transport.handle_async_request(post()))
        await until(lambda: connections == 3)
        with pytest.raises(httpx2.PoolTimeout):
            await transport.handle_async_request(post(timeout={"pool": 0.05}))
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        silent.set()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = f"https://127.0.0.1:{full.getsockname()[1]}/"
        async with DirectTransport(address) as transport:  # the port takes connections, and never a handshake
            request = httpx2.Request("POST", address, content=b"{}", extensions={"timeout": {"connect": 0.2}})
            with pytest.raises(httpx2.ConnectTimeout):
                await transport.handle_async_request(request)
            assert transport.open == 0


async def test_early_answer_to_a_large_body_is_taken() -> None:
    """A provider may refuse a body that it has not read."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno")
        await hold.wait()

    hold = asyncio.Event()
    async with transport_to(talk) as (transport, post):
        response = await transport.handle_async_request(post(b"x" * 2**26))
        assert (response.status_code, await body_of(response)) == (413, b"no")
        assert transport.idle == 0
        hold.set()


async def test_many_at_once_share_few_connections() -> None:
    """More callers than slots: each gets its own answer, and no slot is lost."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(ok(await reader.readexactly(4)))

    async with transport_to(echo, most=5, most_idle=3) as (transport, post):

        async def ask(number: int) -> bool:
            content = b"%04d" % number
            return await body_of(await transport.handle_async_request(post(content))) == content

        for _ in range(2):
            assert all(await asyncio.gather(*map(ask, range(60))))
        await until(lambda: transport.open == 3)
        assert transport.idle == 3


async def test_closed_transport_ends_answers_with_an_error() -> None:
    """Also one whose end is that of its connection: what came is not the whole of it."""
    hold = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nab")
        await hold.wait()

    async with transport_to(talk) as (transport, post):
        response = await transport.handle_async_request(post())
        await transport.aclose()
        with pytest.raises(httpx2.ReadError):
            await body_of(response)
        hold.set()
