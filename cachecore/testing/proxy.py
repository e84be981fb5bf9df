"""A TCP proxy that behaves as badly as a network: slow, cut off, silent, gone. Loopback only.

    with Proxy(server.port) as proxy:
        backend = from_url(proxy.url)
        proxy.blackhole()      # connections stay, nothing passes
        proxy.heal()           # held bytes arrive, late

It runs in a thread with a loop of its own, so it goes on while the loop under test stands still. All methods may be
called from any thread, also from a running loop; they return when the change is in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

_CHUNK: Final = 65536
_TIMEOUT: Final = 10.0  # seconds for the proxy's own thread to react
_RESET_WHEN_CLOSED: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: the peer gets a reset, not an end


class Link:
    """One connection of a client and, unless it was lost, its connection to the server."""

    def __init__(self, number: int, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.lost = False  # the server's side is gone and the client was not told
        self.left: int | None = None  # bytes of replies until it is cut
        self.tasks: list[asyncio.Task[None]] = []

    def end(self, *, reset: bool = False) -> None:
        """Close both sides; the client gets a reset if so asked."""
        if reset:
            raw = self.client.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):  # closed by the client in this moment
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_WHEN_CLOSED)
            self.client.transport.abort()
        for writer in (self.client, self.server):
            writer.close()

    def was_reset(self) -> bool:
        """Tell whether the client has reset its connection, also while bytes of before are unread."""
        raw = self.client.get_extra_info("socket")
        return raw is None or bool(raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def abort(self) -> None:
        """Reset the client and drop the server, with all bytes still on their way to it."""
        self.end(reset=True)
        self.server.transport.abort()


OnReply = Callable[[Link, bytes], Iterable[tuple[Link, bytes]]]
"""Called with each piece of a reply; returns the replacements: (connection, bytes)."""


class Proxy:
    """Forwards a free loopback port to `port` of `host`, as well or as badly as it is told.

    `connects`, `bytes_up` and `bytes_down` count accepted connections, and bytes sent to and received from the server.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", *, chance: random.Random | None = None) -> None:
        self.port = 0
        self.connects = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self._target = (host, port)
        self._chance = chance or random.Random(0)  # noqa: S311 - jitter, not secrets
        self._thread: threading.Thread | None = None
        # Everything below belongs to the proxy's own loop.
        self._loop = asyncio.new_event_loop()
        self._links: set[Link] = set()
        self._listener: socket.socket | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._delay = self._jitter = 0.0
        self._bytes_per_second: float | None = None
        self._up_per_second: float | None = None
        self._cut_after: int | None = None
        self._on_reply: OnReply | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join(_TIMEOUT)
        self._loop.close()

    @property
    def url(self) -> str:
        """The address of a Redis behind the proxy, database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def links(self) -> int:
        """How many connections there are now."""
        return len(self._links)

    # Weather

    def slow(self, delay: float = 0.0, *, jitter: float = 0.0, bytes_per_second: float | None = None) -> None:
        """Let every reply arrive `delay` and up to `jitter` seconds late, and no faster than `bytes_per_second`."""

        def change() -> None:
            self._delay, self._jitter, self._bytes_per_second = delay, jitter, bytes_per_second

        self._do(change)

    def throttle(self, bytes_per_second: float) -> None:
        """Let requests reach the server no faster than this, on each connection by itself.

        A client that resets its connection keeps back what has not passed, as if it were still unsent.
        """

        def change() -> None:
            self._up_per_second = bytes_per_second

        self._do(change)

    def blackhole(self) -> None:
        """Let nothing pass in either direction; connections stay, new ones are accepted and hear nothing.

        After `heal` the held bytes arrive, as after a network found its way again.
        """
        self._do(self._flowing.clear)

    def cut(self, after_bytes: int = 0) -> None:
        """Close each connection, also later ones, once it has received this many more bytes of replies."""

        def change() -> None:
            self._cut_after = after_bytes
            for link in self._links:
                link.left = after_bytes

        self._do(change)

    def reset(self) -> None:
        """Reset the connections there are now; new ones work."""
        self._do(self._end_links)

    def lose(self) -> None:
        """Close the server's side of the connections there are now without telling the clients (half-open).

        They stay silent for ever, after `heal` too; new ones work.
        """

        def change() -> None:
            for link in self._links:
                link.lost = True
                link.server.close()

        self._do(change)

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, on the same port until `heal`."""

        def change() -> None:
            self._stop_listening()
            self._end_links()

        self._do(change)

    def alter_replies(self, on_reply: OnReply | None) -> None:
        """Let `on_reply` replace each piece of a reply. It runs in the proxy's thread."""

        def change() -> None:
            self._on_reply = on_reply

        self._do(change)

    def swap_replies(self) -> None:
        """Give replies that come at about the same time to each other's connections."""
        held: list[tuple[Link, bytes]] = []

        def swap(link: Link, piece: bytes) -> list[tuple[Link, bytes]]:
            if not held:
                held.append((link, piece))
                return []
            other, earlier = held.pop()
            return [(other, piece), (link, earlier)]

        self.alter_replies(swap)

    def heal(self) -> None:
        """Be a good network again."""

        def change() -> None:
            self._delay = self._jitter = 0.0
            self._bytes_per_second = self._up_per_second = self._cut_after = self._on_reply = None
            for link in self._links:
                link.left = None
            self._flowing.set()
            if self._listener is None:
                self._listen()

        self._do(change)

    # The proxy's own loop

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_TIMEOUT)

    def _do(self, change: Callable[[], object]) -> None:
        async def run() -> None:
            change()

        self._run(run())

    # Not `asyncio.start_server`: a connection that it is about to take when it is closed is neither served nor closed,
    # and it complains in the log of those that are cancelled.

    def _listen(self) -> None:
        self._listener = listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.port = listener.getsockname()[1]
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept, listener)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # no more of them now
            while True:
                raw, _ = listener.accept()
                raw.setblocking(False)
                # asyncio does so for sockets of its own making; else a second small reply waits for the first one's
                # acknowledgement, 40 ms.
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = self._loop.create_task(self._serve(raw))
                self._serving.add(task)
                task.add_done_callback(partial(self._served, raw))

    def _served(self, raw: socket.socket, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        raw.close()  # a task that was cancelled before it began has not closed it

    def _end_links(self) -> None:
        for link in list(self._links):
            link.end(reset=True)

    async def _close(self) -> None:
        self._stop_listening()
        for serving in self._serving:
            serving.cancel()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # transports tell of their end in the next turn

    async def _serve(self, raw: socket.socket) -> None:
        self.connects += 1
        from_client, client = await asyncio.open_connection(sock=raw)
        try:
            from_server, server = await asyncio.open_connection(*self._target)
        except BaseException as error:  # a cancellation, too: the client must not stay open
            client.transport.abort()
            if isinstance(error, OSError):
                return  # the server is down: so is its proxy
            raise
        if self._listener is None:  # refused meanwhile
            client.transport.abort()
            server.transport.abort()
            return
        link = Link(self.connects, client, server)
        link.left = self._cut_after
        self._links.add(link)
        link.tasks = [
            asyncio.create_task(self._upwards(link, from_client)),
            asyncio.create_task(self._downwards(link, from_server)),
        ]
        for task in link.tasks:
            task.add_done_callback(self._report)
        try:
            # The first side to close ends both, save that a lost link ends when its client closes.
            await asyncio.wait(link.tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in link.tasks:
                task.cancel()
            link.end()
            self._links.discard(link)
            await asyncio.wait(link.tasks)
            for writer in (client, server):
                with contextlib.suppress(OSError):
                    await writer.wait_closed()  # bytes written before arrive
        finally:
            for task in link.tasks:
                task.cancel()
            link.abort()
            self._links.discard(link)
            await asyncio.wait(link.tasks)
            for writer in (client, server):
                with contextlib.suppress(OSError):  # such as a reset by the client in this moment
                    await writer.wait_closed()

    def _report(self, task: asyncio.Task[None]) -> None:
        bug = None if task.cancelled() else task.exception()
        if bug is not None:  # in `on_reply`
            self._loop.call_exception_handler({"message": "a link of the proxy failed", "exception": bug})

    async def _upwards(self, link: Link, source: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):  # however it ends, it ends
            while piece := await source.read(_CHUNK):
                await self._flowing.wait()
                if link.lost:
                    continue
                if self._up_per_second is not None and link.was_reset():
                    link.server.transport.abort()
                    return
                self.bytes_up += len(piece)
                link.server.write(piece)
                await link.server.drain()
                if self._up_per_second is not None:
                    await asyncio.sleep(len(piece) / self._up_per_second)

    async def _downwards(self, link: Link, source: asyncio.StreamReader) -> None:
        pieces: asyncio.Queue[tuple[float, Link, bytes]] = asyncio.Queue(64)
        delivery = asyncio.create_task(self._deliver(pieces))
        due = 0.0
        try:
            with contextlib.suppress(OSError):
                while piece := await source.read(_CHUNK):
                    self.bytes_down += len(piece)
                    now = self._loop.time()
                    due = max(due, now + self._delay + self._chance.uniform(0, self._jitter))
                    if self._bytes_per_second is not None:
                        due += len(piece) / self._bytes_per_second
                    sent = [(link, piece)] if self._on_reply is None else self._on_reply(link, piece)
                    for to, part in sent:
                        await pieces.put((due, to, part))
            if link.lost:
                await asyncio.Event().wait()  # the client is not told; it closes one day
            await pieces.put((due, link, b""))
            await delivery
        finally:
            delivery.cancel()
            await asyncio.wait([delivery])
            link.client.close()

    async def _deliver(self, pieces: asyncio.Queue[tuple[float, Link, bytes]]) -> None:
        """Write pieces when they are due, in their order; an empty one is the end."""
        with contextlib.suppress(OSError):
            while True:
                due, link, piece = await pieces.get()
                wait = due - self._loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._flowing.wait()
                if not piece:
                    return
                if link.left is not None:
                    piece, link.left = piece[: link.left], max(0, link.left - len(piece))
                link.client.write(piece)
                if link.left == 0:
                    await link.client.drain()
                    link.end()
                    return
                await link.client.drain()
