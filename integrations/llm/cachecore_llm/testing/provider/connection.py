"""HTTP/1.1 on one connection: strict parsing by h11 within bounds; answers whole, chunked, or broken off on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, cast

import h11
import msgspec

_MAX_HEAD: Final = 65_536  # bytes of a request's line and headers
_MAX_PIPELINED: Final = 65_536  # bytes of later requests that wait for the answer to this one

Headers = list[tuple[str, str]]
Serve = Callable[["Exchange"], Coroutine[Any, Any, None]]


@dataclass(slots=True, eq=False)
class Exchange:
    """One request, and the way to answer it. Header names are lower case; repeated ones are joined by a comma."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    connection: Connection = field(repr=False)

    @property
    def abandoned(self) -> bool:
        """The client has closed the connection."""
        return self.connection.lost

    def start(self, status: int, headers: Headers) -> None:
        """Send status and headers. Without a content-length the body is chunked."""
        self.connection.write(h11.Response(status_code=status, headers=headers))

    async def send(self, data: bytes) -> None:
        """Send a part of the body: one chunk, where it is chunked."""
        self.connection.write(h11.Data(data=data))
        await self.connection.drain()

    def end(self) -> None:
        """End the body cleanly."""
        self.connection.write(h11.EndOfMessage())

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.start(status, [*headers, ("content-length", str(len(body)))])
        await self.send(body)
        self.end()

    def cut(self) -> None:
        """Close the connection after all that was sent, without an end of the body."""
        self.connection.close()


class Connection(asyncio.Protocol):
    """One client's connection. `serve` answers each request in a task of its own, one after the other."""

    def __init__(self, serve: Serve, *, max_body_bytes: int, on_lost: Callable[[Connection], None]) -> None:
        self._serve = serve
        self._max_body = max_body_bytes
        self._on_lost = on_lost
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._head: h11.Request | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self.lost = False

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        # The loop hands a TCP connection to a Protocol as a Transport always.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read requests."""
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        """Close: a client that ends its side of a connection has left."""
        return False

    def pause_writing(self) -> None:
        """Let `drain` wait."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let `drain` return."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer that is on its way."""
        self.lost = True
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()
        self._on_lost(self)

    # Called by an exchange

    def write(self, event: h11.Event) -> None:
        """Send one event of HTTP. Raises ConnectionError if the connection is gone."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionAbortedError("the client has closed the connection")
        if data := self._http.send(event):
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait while the client reads more slowly than the server writes."""
        if self._writable is not None:
            await self._writable

    def close(self) -> None:
        """Close the connection once all that was written is sent."""
        if self._transport is not None:
            self._transport.close()

    @property
    def answering(self) -> asyncio.Task[None] | None:
        """The task of the answer that is on its way."""
        return self._task

    def abort(self) -> None:
        """Close the connection at once, and end its answer."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # Requests

    def _advance(self) -> None:
        """Read the next request as far as it has come."""
        if self._task is not None:
            if len(self._http.trailing_data[0]) > _MAX_PIPELINED and self._transport is not None:
                self._transport.pause_reading()
            return
        try:
            while self._task is None:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        self.write(h11.InformationalResponse(status_code=100, headers=[]))
                    return
                if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return
                if isinstance(event, h11.Request):
                    self._head, self._parts, self._size = event, [], 0
                elif isinstance(event, h11.Data):
                    self._size += len(event.data)
                    if self._size > self._max_body:
                        self._refuse(413, f"the body is larger than {self._max_body:,} bytes (max_body_bytes=)")
                        return
                    self._parts.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._start()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, f"this is not HTTP/1.1: {error}")

    def _start(self) -> None:
        head = self._head
        if head is None:
            raise RuntimeError("a request ended that never began")
        headers: dict[str, str] = {}
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        path = head.target.decode("latin-1").partition("?")[0]
        exchange = Exchange(head.method.decode("ascii"), path, headers, b"".join(self._parts), self)
        self._parts = []
        self._task = asyncio.get_running_loop().create_task(self._serve(exchange))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError):
            task.get_loop().call_exception_handler(
                {"message": "the local provider failed", "exception": error, "task": task}
            )
        if self.lost or self._transport is None or self._transport.is_closing():
            return
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self.close()  # the answer was broken off, or one of both wants no further request
            return
        self._http.start_next_cycle()
        self._transport.resume_reading()
        self._advance()

    def _refuse(self, status: int, reason: str) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            error = {"message": reason, "type": "invalid_request_error", "param": None, "code": None}
            body = msgspec.json.encode({"error": error})
            length = ("content-length", str(len(body)))
            headers = [("content-type", "application/json"), length, ("connection", "close")]
            self.write(h11.Response(status_code=status, headers=headers))
            self.write(h11.Data(data=body))
            self.write(h11.EndOfMessage())
        self.close()
