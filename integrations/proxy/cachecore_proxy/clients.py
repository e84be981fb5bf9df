"""The client of one request: its body within bounds, its leaving, and answers within its time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Final, Self

from cachecore_proxy.connections import TRANSPORT
from cachecore_proxy.held import HeldTransport
from cachecore_proxy.settings import Bounds

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_DRAIN_SECONDS: Final = 2.0
_DRAIN_BYTES: Final = 256 * 1024 * 1024
_LET_GO_SECONDS: Final = 5.0
_ONE_PACKET: Final = 64 * 1024
"""Bytes of a body up to which it is copied behind its head, so that both are one write."""
_LOW_WATER: Final = 16 * 1024
"""Bytes that wait for a client up to which its connection is not paused (asyncio's own): then sending does not wait."""


class ClientGoneError(Exception):
    """The client has left, or does not read its answer."""


class BodyError(Exception):
    """A body is refused: it is too large, or too slow."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message


class Client:
    """The client of the request of `scope`. `receive` and `send` are those of ASGI."""

    __slots__ = ("_awaited", "_bounds", "_receive", "_send", "_transport", "answered", "body_ended", "sent", "started")

    def __init__(self, scope: Message, receive: Receive, send: Send, bounds: Bounds) -> None:
        self._receive, self._send, self._bounds = receive, send, bounds
        self._transport: HeldTransport | None = scope.get(TRANSPORT)
        self.body_ended = False
        self._awaited: asyncio.Future[None] | None = None
        self.started = False
        """Whether an answer has begun."""
        self.answered = False
        """Whether it was sent to its end: a client that leaves then takes nothing with it."""
        self.sent = 0
        """Bytes of its body."""

    async def body(self, length: bytes | None) -> bytes:
        """Return the whole body; `length` is the header. Raises BodyError and ClientGoneError."""
        most = self._bounds.max_body_bytes
        if length is not None and int(length[:18]) > most:  # the parser refuses all but a number
            raise BodyError(413, f"the body is larger than {most} bytes")
        message = await self._part()  # the connection ends one that stands still
        part: bytes = message.get("body", b"")
        if not message.get("more_body"):
            self.ended()
            if len(part) > most:
                raise BodyError(413, f"the body is larger than {most} bytes")
            return part
        content = bytearray(part)
        try:
            async with asyncio.timeout(self._bounds.body_timeout):
                while message.get("more_body"):
                    message = await self._part()
                    content += message.get("body", b"")
                    if len(content) > most:
                        raise BodyError(413, f"the body is larger than {most} bytes")
        except TimeoutError:
            raise BodyError(408, f"the body took more than {self._bounds.body_timeout:g} s") from None
        self.ended()
        return bytes(content)

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises BodyError and ClientGoneError."""
        most, size, more = self._bounds.max_upload_bytes, 0, True
        while more:
            try:
                async with asyncio.timeout(self._bounds.body_timeout):
                    message = await self._part()
            except TimeoutError:
                raise BodyError(408, f"the body stood still for {self._bounds.body_timeout:g} s") from None
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > most:
                raise BodyError(413, f"the body is larger than {most} bytes")
            if part:
                yield part
        self.ended()

    async def discard(self) -> None:
        """Read and drop the rest of a refused body for a while: a client that still writes would not see its answer."""
        with contextlib.suppress(TimeoutError, ClientGoneError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                size, more = 0, not self.body_ended
                while more and size < _DRAIN_BYTES:
                    message = await self._part()
                    size += len(message.get("body", b""))
                    more = message.get("more_body", False)

    async def _part(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message

    def ended(self) -> None:
        """Say that the body has been read, or that there is none."""
        self.body_ended = True
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    async def left(self) -> None:
        """Return when the client has left. While its body is read, the reader learns it."""
        if not self.body_ended:
            self._awaited = asyncio.get_running_loop().create_future()
            await self._awaited
        while (await self._receive())["type"] != "http.disconnect":
            pass

    # Answers

    @property
    def ready(self) -> bool:
        """Whether it takes an answer without being waited for."""
        return self._transport is not None and self._transport.get_write_buffer_size() <= _LOW_WATER

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head of an answer."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer, in one packet if it is small."""
        headers.append((b"content-length", b"%d" % len(body)))
        self.started = self.answered = True
        self.sent += len(body)
        transport = self._transport if len(body) <= _ONE_PACKET else None
        if transport is not None:
            transport.hold()
        try:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})
        finally:
            if transport is not None:
                transport.release()

    async def part(self, body: bytes) -> None:
        """Send a part of an answer. Raises ClientGoneError if the client does not take it in its time."""
        self.sent += len(body)
        if self.ready:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            return
        try:
            async with asyncio.timeout(self._bounds.send_timeout):
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except TimeoutError:
            self.abort()  # closing would wait for the client to read
            raise ClientGoneError from None

    async def end(self) -> None:
        """Send the end of an answer in parts."""
        await self._send({"type": "http.response.body", "body": b""})

    def abort(self) -> None:
        """Break the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def cut(self) -> None:
        """Break the connection after the parts that were sent: a clean end would look like a whole answer."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            async with asyncio.timeout(_LET_GO_SECONDS):
                await self.left()
        except TimeoutError:
            self._transport.abort()
            await self.left()


class While:
    """Ends a block when its client leaves: `async with While(client):` raises ClientGoneError then.

    An answer that is there without waiting costs no task: the client is watched from the loop's next turn on.
    """

    __slots__ = ("_cancelling", "_client", "_gone", "_handle", "_task", "_watcher")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a client is watched from a task")
        self._task, self._cancelling = task, task.cancelling()
        self._handle = asyncio.get_running_loop().call_soon(self._begin)
        return self

    def _begin(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        await self._client.left()
        if self._client.answered:  # the server says of each answered request that its client has left
            return
        self._gone = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if not self._gone:
            return
        if kind is None:  # the cancellation has not been delivered yet
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        if self._task.uncancel() <= self._cancelling and (kind is None or issubclass(kind, asyncio.CancelledError)):
            raise ClientGoneError from None
