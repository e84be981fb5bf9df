"""A lane: one connection that all tasks of an event loop share.

Commands of one tick of the loop leave in one write; replies are matched to them in order; pushes of the server go to
whoever watches. A caller that is cancelled abandons its reply, never the stream. There is one deadline for the lane,
not one for each command: a lane whose oldest reply is late is given up, with everything that waits in it, because
what comes out of it later could not be told from other lateness.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import hiredis

from cachecore.contract.options import KIB

_SWEEPS: Final = 4
"""Looks at the oldest reply within one deadline; a reply counts as late at most one look after its deadline."""
_PATIENCE: Final = 4
"""Deadlines that the oldest reply may take while bytes keep coming: a large value on a slow link is not lateness."""

_BUFFER_BYTES: Final = 128 * KIB

_MORE: Final = object()

Reply = Any
"""What hiredis makes of a reply: bytes, int, None, float, list, dict, set, or a `hiredis.ReplyError`."""


class NotRedisError(ConnectionError):
    """What came in is no RESP, or an answer that nobody asked for."""


class Waiting(Protocol):
    """Who gets a reply: a future, or whoever has these three of its methods."""

    def done(self) -> bool:
        """Return whether nobody waits any more."""

    def set_result(self, reply: Reply, /) -> None:
        """Take the reply."""

    def set_exception(self, error: Exception, /) -> None:
        """Take the loss of the lane."""


class _Batch:
    """Several replies that one future waits for."""

    __slots__ = ("future", "left", "replies")

    def __init__(self, future: asyncio.Future[list[Reply]], count: int) -> None:
        self.future = future
        self.left = count
        self.replies: list[Reply] = []


class Lane(asyncio.BufferedProtocol):
    """One connection to one server. Not reusable: once it is lost, it stays so.

    Everything here happens in the loop that made it. `owner` is kept alive as long as the connection: it is what
    opened the transport.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self.alive = False
        self.born = 0.0
        self.on_push: Callable[[list[Any]], None] | None = None
        self.on_lost: Callable[[Lane], None] | None = None
        self.owner: object = None
        self.error: Exception | None = None
        """Why it was lost."""
        self.protocol = 2
        """The RESP that was asked for when it was opened."""
        self.notes: dict[str, int] = {}
        """What was learned of the server at the other end by those who use this lane; gone with it."""
        self._loop = loop
        self._call_soon = loop.call_soon
        self._create_future = loop.create_future
        self._transport: asyncio.Transport | None = None
        self._reader: Any = hiredis.Reader(notEnoughData=_MORE)  # its stub knows no buffers
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._pending: deque[Waiting | _Batch] = deque()
        self._out: list[bytes] = []
        self._flushing = False
        self._writable: asyncio.Future[None] | None = None
        self._retiring = False
        # The watch over lateness: how many replies were owed and had come at the last few looks.
        self._interval = timeout / _SWEEPS
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.served = 0
        self._owed: deque[int] = deque(maxlen=_SWEEPS * _PATIENCE)
        self._silent = 0
        self._heard = False

    def __repr__(self) -> str:
        return f"<Lane {'alive' if self.alive else 'lost'}, {len(self._pending)} replies owed>"

    def attach(self, transport: asyncio.Transport, owner: object, leftover: bytes = b"") -> None:
        """Take over an open, authenticated connection and what was already read from it."""
        self._transport = transport
        self.owner = owner
        self.alive = True
        self.born = self._loop.time()
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

    def request(self, command: bytes) -> asyncio.Future[Reply]:
        """Send one command; the future gets its reply, an error reply as a `ReplyError` object.

        Raises:
            ConnectionResetError: the lane is lost. The future raises it too, or TimeoutError, when it is lost later.
        """
        future: asyncio.Future[Reply] = self._create_future()
        self._submit(command, future)
        return future

    def request_for(self, command: bytes, waiting: Waiting) -> None:
        """Send one command whose reply goes to `waiting`, as to a future. Raises as `request`."""
        self._submit(command, waiting)

    def request_many(self, commands: list[bytes]) -> asyncio.Future[list[Reply]]:
        """Send several commands together; the future gets the list of their replies."""
        future: asyncio.Future[list[Reply]] = self._create_future()
        self._submit(b"".join(commands), _Batch(future, len(commands)))
        return future

    def send(self, command: bytes) -> asyncio.Future[Reply]:
        """Send one command whose reply nobody need look at; the future may be thrown away."""
        future = self.request(command)
        future.add_done_callback(_look_away)
        return future

    def write(self, command: bytes) -> None:
        """Send a command that has no reply: one that is confirmed by a push."""
        if self.alive:
            self._out.append(command)
            self._flush()

    def _submit(self, payload: bytes, waiting: Waiting | _Batch) -> None:
        if not self.alive:
            raise ConnectionResetError("the connection is closed")
        pending = self._pending
        if pending:
            # Replies are owed, so the server is busy with us and the rest of this tick costs no time to wait for.
            self._out.append(payload)
            if not self._flushing:
                self._flushing = True
                self._call_soon(self._flush)
        else:
            self._transport.write(payload)  # type: ignore[union-attr] # alive means attached
        pending.append(waiting)
        if self._timer is None:
            self._watch()

    def _flush(self) -> None:
        self._flushing = False
        out = self._out
        if out and self.alive:
            payload = out[0] if len(out) == 1 else b"".join(out)
            self._transport.write(payload)  # type: ignore[union-attr] # alive means attached
        out.clear()

    # What the transport calls

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what comes in: one buffer for good, since a new one for each read takes longer."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand out the replies in what came in."""
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
                # Off the queue before it is handed out: whatever happens then, the next reply is the next one's.
                pending.popleft()
                served += 1
                if not head.done():  # type: ignore[union-attr] # a future, by the line above
                    head.set_result(reply)  # type: ignore[union-attr]
        except (hiredis.ProtocolError, IndexError):
            # No RESP, or an answer nobody asked for: which reply belongs to whom is not known any more.
            self._lose(NotRedisError("the server does not speak the protocol"))
        except BaseException:
            self._call_soon(self.received, b"")  # the replies that came with it
            raise
        finally:
            # Pushes are no sign that the replies will come. What completes neither is part of a reply, unless it begins
            # as a push does.
            if served > self.served or not (pushed or data[:1] == b">"):
                self._heard = True
            self.served = served
        if self._retiring and not pending:
            self.close()

    def eof_received(self) -> bool:
        """Let the transport close: a server that sends no more has nothing for us."""
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Fail what still waits."""
        self._lose(exc if isinstance(exc, OSError) else ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        """Remember that the server does not take what is sent."""
        if self._writable is None:
            self._writable = self._create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    async def drained(self) -> None:
        """Return once the server takes what is sent; for large values, so that they don't pile up here."""
        while self._writable is not None:
            await asyncio.shield(self._writable)

    # The end

    def close(self) -> None:
        """Close now; what still waits fails with ConnectionResetError."""
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
            self._transport.abort()  # not close(): a peer that is stuck would keep the buffer, and us, for minutes
        self._out.clear()
        pending, self._pending = self._pending, deque()
        try:
            if self.on_lost is not None:
                self.on_lost(self)  # first: who is told of the loss may ask again at once
        finally:
            for waiting in pending:
                future = waiting.future if type(waiting) is _Batch else waiting
                if not future.done():  # type: ignore[union-attr] # a future, by the line above
                    future.set_exception(type(error)(*error.args))  # type: ignore[union-attr] # one each: tracebacks grow
            self.resume_writing()

    # The watch

    def _watch(self) -> None:
        self._owed.clear()
        self._silent = 0
        self._heard = False
        self._due = self._loop.time() + self._interval
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        pending = self._pending
        if not pending:
            self._timer = None  # armed again by the next command: an idle lane costs nothing
            return
        now = self._loop.time()
        stalled = now - self._due > self._interval
        self._due = now + self._interval
        self._timer = self._loop.call_at(self._due, self._look)
        if stalled:
            return  # the loop stood still, not the server: replies may lie in the socket unread
        self._silent = 0 if self._heard else self._silent + 1
        self._heard = False
        owed = self._owed
        looks = len(owed)
        if (
            looks >= _SWEEPS
            and self.served < owed[-_SWEEPS]
            and (self._silent or (looks == owed.maxlen and self.served < owed[0]))
        ):
            self._lose(TimeoutError("the reply is late"))
            return
        owed.append(self.served + len(pending))


def _look_away(future: asyncio.Future[Reply]) -> None:
    if not future.cancelled():
        future.exception()
