"""A listening socket on loopback and its connections, on one event loop; stopped without anything left behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from cachecore_llm.testing.provider.connection import Connection, Serve

_MAX_CONNECTIONS = 4096


class Server:
    """Serves from `start` to `stop`, both called on the same loop. `changed` is called when a connection is gone."""

    # Not `asyncio.start_server`: a connection that it is about to take while it is closed is neither served nor closed.

    def __init__(self, serve: Serve, *, max_body_bytes: int, changed: Callable[[], None]) -> None:
        self._serve = serve
        self._changed = changed
        self._max_body_bytes = max_body_bytes
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[object]] = set()
        self._empty: asyncio.Future[None] | None = None

    @property
    def connections(self) -> int:
        """How many connections there are now."""
        return len(self._connections)

    def start(self, port: int) -> int:
        """Listen on `port` of 127.0.0.1, 0 for a free one, and return it. Raises OSError if it is taken."""
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        listener.setblocking(False)
        try:
            loop.add_reader(listener, self._accept, listener, loop)
        except NotImplementedError:
            listener.close()
            raise RuntimeError(
                f"{type(loop).__name__} cannot watch a listening socket: use `with LocalProvider()`"
            ) from None
        self._listener = listener
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(OSError):  # no more of them now
            while True:
                raw, _ = listener.accept()
                if len(self._connections) >= _MAX_CONNECTIONS:
                    raw.close()
                    continue
                raw.setblocking(False)
                # asyncio does so only where the listener names its protocol: without it the body of an answer would
                # wait 40 ms for the delayed acknowledgement of its head.
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = loop.create_task(loop.connect_accepted_socket(self._connection, raw))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)

    def _connection(self) -> Connection:
        connection = Connection(self._serve, max_body_bytes=self._max_body_bytes, on_lost=self._lost)
        self._connections.add(connection)
        return connection

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._changed()
        if not self._connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def stop(self) -> None:
        """Stop listening, end all answers, close all connections, and wait until they are closed."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        while self._opening:
            await asyncio.wait(self._opening)
        answering = [task for connection in self._connections if (task := connection.answering) is not None]
        if self._connections:
            self._empty = loop.create_future()
            for connection in tuple(self._connections):
                connection.abort()
            await self._empty
        if answering:
            await asyncio.wait(answering)
