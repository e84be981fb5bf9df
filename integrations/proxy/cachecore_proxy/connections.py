"""The HTTP connections of the gateway: uvicorn's, with bounds on the head of a request that it does not have.

A connection that sends nothing, a head byte by byte, or a body that stands still, is closed after a deadline; a head
over its bound gets a 431.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cachecore_proxy.held import HeldTransport
from cachecore_proxy.settings import Bounds

TRANSPORT: Final = "cachecore.transport"
"""Where the scope of a request has its connection, so that a client that does not read can be cut off."""

_TOO_LARGE: Final = (
    b'{"error": {"message": "cachecore: the head of the request is too large", "type": "invalid_request_error"}}'
)


def protocol_of(bounds: Bounds) -> type[asyncio.Protocol]:
    """Return the class of connections within `bounds`."""
    return type("Connection", (Connection,), {"bounds": bounds})


class Connection(HttpToolsProtocol):
    """One connection."""

    bounds: Bounds

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._packet = 0
        """Bytes of what came last: a head that begins in it may follow another request."""
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None
        self._in_body = False
        self._last_part = 0.0
        self._body_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a head."""
        super().connection_made(HeldTransport(transport))  # type: ignore[arg-type]  # of a TCP server it is a Transport
        self._await_head()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the deadline."""
        self._head_is_there()
        self._in_body = False
        if self._body_deadline is not None:
            self._body_deadline.cancel()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Parse, and count the bytes of a head that is not complete."""
        self._packet = len(data)
        if self._in_head:
            self._head_bytes += self._packet
        super().data_received(data)
        if self._in_body:
            self._last_part = self.loop.time()
            if self._body_deadline is None:
                self._body_deadline = self.loop.call_later(self.bounds.body_timeout, self._look_at_body)
        if self._in_head and self._head_bytes:
            self._await_head()
        if self._in_head and self._head_bytes > self.bounds.max_head_bytes and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[typeddict-unknown-key]  # a name of our own
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Begin the request, unless its head is over the bound: then it is answered here."""
        # What came since the last request bounds the head: it is measured only where it may be too large.
        most, largest = self.bounds.max_head_bytes, self._head_bytes + self._packet
        self._head_is_there()
        self._in_body = True
        if largest > most and len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > most:
            self.app = _too_large
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Count anew for the next request."""
        super().on_message_complete()
        self._in_head, self._head_bytes, self._in_body = True, 0, False

    def _look_at_body(self) -> None:
        """Close a connection whose body stands still, unless it is the provider that does not take it."""
        self._body_deadline = None
        if not self._in_body or self.transport.is_closing():
            return
        idle = self.loop.time() - self._last_part
        if self.flow.read_paused:
            idle = 0.0
        if idle >= self.bounds.body_timeout:
            self.transport.abort()
        else:
            self._body_deadline = self.loop.call_later(self.bounds.body_timeout - idle, self._look_at_body)

    def _await_head(self) -> None:
        self._in_head = True
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.bounds.head_timeout, self._late)

    def _head_is_there(self) -> None:
        self._in_head, self._head_bytes = False, 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.abort()
        else:
            self._await_head()  # the head of the next request, while this one is answered

    def _refuse(self) -> None:
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: " + str(len(_TOO_LARGE)).encode() + b"\r\n\r\n" + _TOO_LARGE
        )
        self.transport.close()


async def _too_large(scope: Any, receive: Any, send: Any) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"connection", b"close"),
        (b"content-length", str(len(_TOO_LARGE)).encode()),
    ]
    await send({"type": "http.response.start", "status": 431, "headers": headers})
    await send({"type": "http.response.body", "body": _TOO_LARGE})
