"""One connection, shared by all tasks of an event loop.

Commands of one tick of the loop leave in one write; replies are matched to them in order; pushes of the server go to
`on_push`. A cancelled caller abandons its reply, never the stream. There is one deadline for the connection, not one
for each command: when a reply is owed and nothing comes for so long, the connection is closed and every command on it
fails, because all other replies come behind that one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import hiredis

from cachecore.contract.options import KIB

_CHECKS: Final = 4
"""Checks of the oldest reply within one deadline; a late reply is noticed at most one check after its deadline."""
_PATIENCE: Final = 4
"""Deadlines that the oldest reply may take while bytes keep coming: a large value on a slow link is not late."""

_BUFFER_BYTES: Final = 128 * KIB
_UNSENT_IS_DROPPED: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # SO_LINGER on, 0 s

_MORE: Final = object()

Reply = Any
"""A reply as hiredis parses it: bytes, int, None, float, list, dict, set, or a `hiredis.ReplyError`."""


class NotRedisError(ConnectionError):
    """The server sent bytes that are no RESP, or more replies than there were commands."""


class Receiver(Protocol):
    """Takes one reply: a future, or an object with these three of its methods."""

    def done(self) -> bool:
        """Return whether the reply is no longer wanted."""

    def set_result(self, reply: Reply, /) -> None:
        """Take the reply."""

    def set_exception(self, error: Exception, /) -> None:
        """Take the error with which the connection was lost."""


class _Batch:
    """The replies to commands sent together; `future`, or another receiver, gets all of them as one list."""

    __slots__ = ("future", "left", "replies")

    def __init__(self, future: Receiver, count: int) -> None:
        self.future = future
        self.left = count
        self.replies: list[Reply] = []


class Connection(asyncio.BufferedProtocol):
    """One connection to one server. Once lost, it stays lost.

    Used only in the loop that made it. `owner`, the object that opened the transport, is kept alive as long as the
    connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self.alive = False
        self.born = 0.0
        self.address = ""
        """Host and port of its server, or the path of the socket."""
        self.on_push: Callable[[list[Any]], None] | None = None
        self.on_lost: Callable[[Connection], None] | None = None
        self.owner: object = None
        self.error: Exception | None = None
        """The reason of its loss; None before."""
        self.protocol = 2
        """The version of RESP that was requested when it was opened."""
        self.notes: dict[str, int] = {}
        """Facts learned about the server, by name; they hold for this connection alone. Written by `node/swap`."""
        self.joins_writes = False
        """Whether small writes wait for the next command of the tick, or its end: more is likely to go right behind."""
        self.loop = loop
        self._call_soon = loop.call_soon
        self._create_future = loop.create_future
        self._transport: asyncio.Transport | None = None
        self._reader: Any = hiredis.Reader(notEnoughData=_MORE)  # its stub lacks buffers
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._pending: deque[Receiver | _Batch] = deque()
        self._out: list[bytes] = []
        self._flushing = False
        self._awaits_more = False
        self._writable: asyncio.Future[None] | None = None
        self._retiring = False
        # For the checks of lateness; `_owed` has the count of replies received plus owed at each of the last checks.
        self._interval = timeout / _CHECKS
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.served = 0
        self._owed: deque[int] = deque(maxlen=_CHECKS * _PATIENCE)
        self._silent = 0
        self._heard = False

    def __repr__(self) -> str:
        return f"<Connection {'alive' if self.alive else 'lost'}, {len(self._pending)} replies owed>"

    def attach(self, transport: asyncio.Transport, owner: object, leftover: bytes = b"") -> None:
        """Take over an open, authenticated transport and the bytes already read from it."""
        self._transport = transport
        self.owner = owner
        self.alive = True
        self.born = self.loop.time()
        transport.set_protocol(self)
        transport.resume_reading()
        if leftover:
            self.received(leftover)
        if transport.is_closing():
            self.connection_lost(None)

    @property
    def idle(self) -> bool:
        """Whether no reply is owed."""
        return not self._pending

    def request(self, command: bytes, *, write: bool = False) -> asyncio.Future[Reply]:
        """Send one command; the future gets its reply, an error reply as a `ReplyError` object.

        `write`: a small write; see `joins_writes`.

        Raises:
            ConnectionResetError: the connection is lost. If it is lost later, the future raises this or TimeoutError.
        """
        future: asyncio.Future[Reply] = self._create_future()
        self._submit(command, future, write)
        return future

    def request_for(self, command: bytes, receiver: Receiver) -> None:
        """Send one command; `receiver` gets its reply. Raises as `request`."""
        self._submit(command, receiver)

    def request_many(self, commands: list[bytes], *, write: bool = False) -> asyncio.Future[list[Reply]]:
        """Send several commands together; the future gets the list of their replies. `write` as in `request`."""
        future: asyncio.Future[list[Reply]] = self._create_future()
        self._submit(b"".join(commands), _Batch(future, len(commands)), write)
        return future

    def request_many_for(
        self, commands: list[bytes], receiver: Receiver, *, write: bool = False, more: bool = False
    ) -> None:
        """Send several commands together; `receiver` gets the list of their replies. Raises as `request`.

        `more`: the next command follows in this turn, and is sent in one packet with these.
        """
        self._submit(b"".join(commands), _Batch(receiver, len(commands)), write, more)

    def send(self, command: bytes) -> asyncio.Future[Reply]:
        """Send one command; the future of its reply may be thrown away."""
        future = self.request(command)
        future.add_done_callback(_retrieve)
        return future

    def write(self, command: bytes) -> None:
        """Send a command that has no reply because the server confirms it by a push."""
        if self.alive:
            self._out.append(command)
            self._flush()

    def _submit(self, payload: bytes, receiver: Receiver | _Batch, write: bool = False, more: bool = False) -> None:
        if not self.alive:
            raise ConnectionResetError("the connection is closed")
        pending = self._pending
        if more or (write and self.joins_writes):
            self._awaits_more = True
            self._join(payload)
        elif self._awaits_more:
            self._out.append(payload)
            self._send_joined()
        elif pending:
            # Replies are owed, so the server is busy: joining the other commands of this tick delays nothing.
            self._join(payload)
        else:
            self._transport.write(payload)  # type: ignore[union-attr] # alive means attached
        pending.append(receiver)
        if self._timer is None:
            self._start_checks()

    def _join(self, payload: bytes) -> None:
        self._out.append(payload)
        if not self._flushing:
            self._flushing = True
            self._call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._send_joined()

    def _send_joined(self) -> None:
        self._awaits_more = False
        out = self._out
        if out and self.alive:
            payload = out[0] if len(out) == 1 else b"".join(out)
            self._transport.write(payload)  # type: ignore[union-attr] # alive means attached
        out.clear()

    # Called by the transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for incoming bytes: always the same one, because allocating one for each read is slower."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand out the replies in the first `nbytes` of the buffer."""
        self.received(self._buffer[:nbytes])

    def received(self, data: bytes | memoryview) -> None:
        """Hand out the replies in `data`."""
        pending = self._pending
        served = self.served
        pushed = False
        try:
            self._reader.feed(data)
            gets = self._reader.gets
            while (reply := gets()) is not _MORE:
                if type(reply) is hiredis.PushNotification:
                    pushed = True
                    if self.on_push is not None:
                        self.on_push(reply)
                    continue
                head = pending[0]
                if type(head) is _Batch:
                    head.replies.append(reply)
                    head.left -= 1
                    if head.left:
                        continue
                    pending.popleft()
                    served += 1
                    if not head.future.done():
                        head.future.set_result(head.replies)
                    continue
                # Dequeued before its receiver runs: if that raises, the next reply still goes to the next receiver.
                pending.popleft()
                served += 1
                if not head.done():  # type: ignore[union-attr] # a future, by the line above
                    head.set_result(reply)  # type: ignore[union-attr]
        except (hiredis.ProtocolError, IndexError):
            # No RESP, or a reply too many: replies can no longer be matched to commands.
            self._lose(NotRedisError("the server does not speak the protocol"))
        except BaseException:
            self._call_soon(self.received, b"")  # the replies behind this one
            raise
        finally:
            # Pushes are no sign that the replies will come. Bytes that complete neither a push nor a reply are part
            # of a reply, unless they begin as a push does.
            if served > self.served or not (pushed or data[:1] == b">"):
                self._heard = True
            self.served = served
        if self._retiring and not pending:
            self.close()

    def eof_received(self) -> bool:
        """Let the transport close: the server sends nothing more."""
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Fail all unanswered commands."""
        self._lose(exc if isinstance(exc, OSError) else ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        """Let `drained` wait: the send buffer is full."""
        if self._writable is None:
            self._writable = self._create_future()

    def resume_writing(self) -> None:
        """Let `drained` return."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    async def drained(self) -> None:
        """Return once the send buffer has room. Awaited before large values, so that they do not pile up in memory."""
        while self._writable is not None:
            await asyncio.shield(self._writable)

    # The end

    def close(self) -> None:
        """Close now; unanswered commands fail with ConnectionResetError."""
        self._lose(ConnectionResetError("the connection was closed"))

    def retire(self) -> None:
        """Close as soon as no reply is owed."""
        self._retiring = True
        if not self._pending:
            self.close()

    def _lose(self, error: Exception) -> None:
        if not self.alive:
            return
        self.alive = False
        self.error = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._drop_unsent(self._transport)
            self._transport.abort()  # not close(): a peer that is stuck would keep the buffer alive for minutes
        self._out.clear()
        pending, self._pending = self._pending, deque()
        try:
            if self.on_lost is not None:
                self.on_lost(self)  # first: receivers may ask again at once, and must find another connection
        finally:
            for receiver in pending:
                future = receiver.future if type(receiver) is _Batch else receiver
                if not future.done():  # type: ignore[union-attr] # a future, by the line above
                    future.set_exception(type(error)(*error.args))  # type: ignore[union-attr] # a shared one gathers tracebacks
            self.resume_writing()

    def _drop_unsent(self, transport: asyncio.Transport) -> None:
        """Let the kernel forget what it has not sent, too: a write that it sends later would undo newer ones."""
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != getattr(socket, "AF_UNIX", None):
            with contextlib.suppress(OSError, ValueError):  # closed already; uvloop raises ValueError
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _UNSENT_IS_DROPPED)

    # Lateness

    def _start_checks(self) -> None:
        self._owed.clear()
        self._silent = 0
        self._heard = False
        self._due = self.loop.time() + self._interval
        self._timer = self.loop.call_at(self._due, self._check)

    def _check(self) -> None:
        pending = self._pending
        if not pending:
            self._timer = None  # armed again by the next command: an idle connection costs nothing
            return
        now = self.loop.time()
        stalled = now - self._due > self._interval
        self._due = now + self._interval
        self._timer = self.loop.call_at(self._due, self._check)
        if stalled:
            return  # the loop stood still, not the server: replies may lie in the socket unread
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        owed = self._owed
        checks = len(owed)
        late = checks >= _CHECKS and self.served < owed[-_CHECKS]
        if late and (self._silent >= _CHECKS or (checks == owed.maxlen and self.served < owed[0])):
            self._lose(TimeoutError("the reply is late"))
            return
        owed.append(self.served + len(pending))


def _retrieve(future: asyncio.Future[Reply]) -> None:
    if not future.cancelled():
        future.exception()
