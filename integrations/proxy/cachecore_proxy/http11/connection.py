"""One connection to a provider, and the exchange that it carries: one request, one answer, read as it is taken."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

import httptools
import httpx2

_HIGH: Final = 256 * 1024
"""Bytes of an answer that wait for their reader until the provider is paused."""
_MOST_BETWEEN: Final = 100 * 1024
"""Bytes of a head, of trailers or of a chunk's extensions (as in httpx2)."""
_BODYLESS: Final = frozenset({204, 304})


class Connection(asyncio.Protocol):
    """One connection. It is in `all_open` while it is open."""

    transport: asyncio.Transport

    def __init__(self, all_open: set[Connection]) -> None:
        self._all_open = all_open
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._unread = 0
        """Bytes since the last head or part of a body."""
        self.writable = True
        self.closed = False
        self.expires = math.inf
        """Seconds of the loop until which it may be used again."""

    def begin(self, exchange: Exchange) -> None:
        """Carry `exchange` from now on."""
        self._exchange, self._unread = exchange, 0

    def end(self) -> None:
        """Carry nothing any more."""
        self._exchange = None

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        self.transport.abort()

    # asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._all_open.add(self)
        self.transport = transport  # type: ignore[assignment]  # of a TCP connection it is one

    def data_received(self, data: bytes) -> None:
        """Parse a part of the answer. A provider that speaks unasked is not listened to."""
        if self._exchange is None:
            self.abort()
            return
        self._unread += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the provider's answer is no HTTP/1.1 ({type(error).__name__})")
        if self._unread > _MOST_BETWEEN:
            self._fail("the head of the provider's answer, or what stands between the parts of its body, is too large")

    def connection_lost(self, error: Exception | None) -> None:
        """End the exchange with what has come. An end of our own making is none of the answer's."""
        if self._exchange is not None:
            self._exchange.cut(error or (ConnectionAbortedError() if self.closed else None))
        self.closed = True
        self._all_open.discard(self)

    def pause_writing(self) -> None:
        """Note that the provider takes no more for now."""
        self.writable = False

    def resume_writing(self) -> None:
        """Note that it does again."""
        self.writable = True
        if self._exchange is not None:
            self._exchange.wake()

    def _fail(self, message: str) -> None:
        if self._exchange is not None:
            self._exchange.fail(httpx2.RemoteProtocolError(message))
        self.abort()

    # httptools'

    def on_message_begin(self) -> None:
        """Begin an answer: one behind another belongs to no request."""
        if self._exchange is not None and self._exchange.complete:
            self._exchange.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those of trailers are dropped."""
        exchange = self._exchange
        if exchange is not None and not exchange.began:
            exchange.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the head, unless it is an interim one (RFC 9110, 15.2)."""
        exchange = self._exchange
        if exchange is None or exchange.began:
            return
        status = self._parser.get_status_code()
        if status < 200:
            exchange.headers.clear()
            return
        self._unread = 0
        exchange.head(status, keep=self._parser.should_keep_alive())

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        self._unread = 0
        if self._exchange is not None:
            self._exchange.part(data)

    def on_message_complete(self) -> None:
        """End the answer, unless it was an interim one."""
        if self._exchange is not None and self._exchange.began:
            self._exchange.ended()


class Exchange(httpx2.AsyncByteStream):
    """A request under way, then the body of its answer as a stream.

    `release` gets the connection back once, when the answer was read or given up; `True`: it may be used again.
    """

    def __init__(
        self,
        connection: Connection,
        request: httpx2.Request,
        read_timeout: float | None,
        release: Callable[[Connection, bool], None],
    ) -> None:
        self._connection: Connection | None = connection
        self._request, self._read_timeout, self._release = request, read_timeout, release
        self._waiter: asyncio.Future[None] | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = self._until_end = False
        self._error: httpx2.TransportError | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.began = self.complete = False
        """Whether the head of the answer is there, and whether all of it is."""
        self.reusable = True
        connection.begin(self)

    # The provider's side

    def head(self, status: int, *, keep: bool) -> None:
        """Take the head of the answer."""
        self.status, self.began, self.reusable = status, True, self.reusable and keep
        fields = [(name.lower(), value) for name, value in self.headers]
        codings = [value.strip().lower() for name, value in fields if name == b"transfer-encoding"]
        if codings and codings != [b"chunked"]:
            self.fail(httpx2.RemoteProtocolError("the provider's answer has a transfer-encoding other than chunked"))
        sized = status in _BODYLESS or any(name == b"content-length" for name, _ in fields)
        self._until_end = not codings and not sized
        self.wake()

    def part(self, data: bytes) -> None:
        """Take a part of the body."""
        if self.complete or self._connection is None:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _HIGH and not self._paused:
            self._paused = True
            self._connection.transport.pause_reading()
        self.wake()

    def ended(self) -> None:
        """Take the end of the answer."""
        self.complete = True
        self.wake()

    def cut(self, error: Exception | None) -> None:
        """Take the end of the connection, which is that of an answer without a length."""
        self.reusable = False
        if self.complete:
            return
        if error is not None:
            self.fail(httpx2.ReadError(f"the connection to the provider broke ({type(error).__name__})"))
        elif self.began and self._until_end:
            self.ended()
        else:
            self.fail(httpx2.RemoteProtocolError("the provider closed the connection before its answer was whole"))

    def fail(self, error: httpx2.TransportError) -> None:
        """End with `error`, behind the parts that came before it."""
        if self._error is None and not (self.complete and self.began):
            error.request = self._request
            self._error = error
        self.reusable = False
        self.wake()

    def wake(self) -> None:
        """Let the reader, or the writer, look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The reader's side

    async def until(
        self, holds: Callable[[], bool], seconds: float | None, late: type[httpx2.TimeoutException]
    ) -> None:
        """Wait until `holds()`, or an error or the end of the answer; raise `late` after `seconds` without news."""
        loop = asyncio.get_running_loop()
        while not holds() and self._error is None and not self.complete:
            self._waiter = waiter = loop.create_future()
            timer = None if seconds is None else loop.call_later(seconds, _expire, waiter)
            try:
                await waiter
            except TimeoutError:
                raise late(f"no news of the provider for {seconds} s", request=self._request) from None
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()

    async def answer(self, write_timeout: float | None) -> None:
        """Wait for the head of the answer. Raises httpx2.TransportError."""
        connection = self._connection
        if connection is not None and not connection.writable:  # a provider may answer before it has read all
            await self.until(lambda: connection.writable or self.began, write_timeout, httpx2.WriteTimeout)
        await self.until(lambda: self.began, self._read_timeout, httpx2.ReadTimeout)
        if self._error is not None:
            raise self._error

    def __aiter__(self) -> Exchange:
        return self

    async def __anext__(self) -> bytes:
        """Return the parts of the body that have come. Raises httpx2.TransportError."""
        await self.until(lambda: bool(self._chunks), self._read_timeout, httpx2.ReadTimeout)
        if self._chunks:
            chunks, self._chunks, self._size = self._chunks, [], 0
            if self._paused and self._connection is not None:
                self._paused = False
                self._connection.transport.resume_reading()
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._error is not None:
            raise self._error
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the connection back. One with an answer that was not read to its end is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end()
            unsent = connection.transport.get_write_buffer_size()
            self._release(connection, self.reusable and self.complete and not self._paused and not unsent)


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
