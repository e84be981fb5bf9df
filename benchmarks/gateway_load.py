"""The load of `benchmarks.gateway`: raw HTTP/1.1 over many connections, and what a server's process used for it.

A client of a library would take longer for a request than the servers that are measured.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONTENT: Final = re.compile(rb'"content": ?"[^"]')
_END: Final = b"data: [DONE]"


def request_of(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a POST."""
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


class RefusedError(Exception):
    """A server answered with something else than a 200. Holds the beginning of what it sent."""


class Connection(asyncio.Protocol):
    """One connection. `answered` gets the seconds of each whole answer, and returns the next request or None."""

    def __init__(self, answered: Callable[[float], bytes | None]) -> None:
        self._answered = answered
        self._received, self._missing, self._began = b"", -1, 0.0
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.head = b""
        """Of the last answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes) -> None:
        self._began = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._received += data
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head, length = self._received[: end + 2], _LENGTH.search(self._received, 0, end + 2)
            if not self.head.startswith(b"HTTP/1.1 200") or length is None:
                self.failed.set_exception(RefusedError(self._received[:600]))
                self.transport.close()
                return
            self._missing = int(length[1]) - (len(self._received) - end - 4)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._received, self._missing = b"", -1
            request = self._answered(time.perf_counter() - self._began)
            if request is not None:
                self.send(request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.failed.done():
            self.failed.set_exception(ConnectionError("the server closed the connection"))


async def connected(port: int, answered: Callable[[float], bytes | None]) -> Connection:
    """Return an open connection."""
    return (await asyncio.get_running_loop().create_connection(lambda: Connection(answered), "127.0.0.1", port))[1]


@dataclass(slots=True)
class Round:
    """What a server did in one round."""

    seconds: float
    processor: float
    """Seconds that the server's process computed."""
    times: list[float]
    """Seconds of each answer."""


async def closed_loop(port: int, pid: int, request: bytes, *, connections: int, seconds: float) -> Round:
    """Ask over `connections` for `seconds`, each for its next answer when it has one."""
    times: list[float] = []
    done = asyncio.get_running_loop().create_future()
    left = connections

    def answered(took: float) -> bytes | None:
        nonlocal left
        times.append(took)
        if time.perf_counter() < deadline:
            return request
        left -= 1
        if not left and not done.done():
            done.set_result(None)
        return None

    opened = [await connected(port, answered) for _ in range(connections)]
    computed, began = processor_of(pid), time.perf_counter()
    deadline = began + seconds
    for one in opened:
        one.send(request)
    await asyncio.wait([done, *(one.failed for one in opened)], return_when=asyncio.FIRST_COMPLETED)
    took = Round(time.perf_counter() - began, processor_of(pid) - computed, times)
    await _closed(opened)
    return took


class Asking:
    """One connection for one request after another, each with its own body."""

    def __init__(self, connection: Connection, took: list[float], answered: asyncio.Event) -> None:
        self._connection, self._took, self._answered = connection, took, answered

    @classmethod
    async def at(cls, port: int) -> Asking:
        took: list[float] = []
        answered = asyncio.Event()

        def note(seconds: float) -> None:
            took.append(seconds)
            answered.set()

        return cls(await connected(port, note), took, answered)

    async def ask(self, request: bytes) -> float:
        """Return the seconds until the answer had come."""
        self._answered.clear()
        self._connection.send(request)
        waiting = asyncio.ensure_future(self._answered.wait())
        both: list[asyncio.Future[Any]] = [waiting, self._connection.failed]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if self._connection.failed.done():
            waiting.cancel()
            self._connection.failed.result()
        return self._took[-1]

    @property
    def head(self) -> bytes:
        """Return status and headers of the last answer."""
        return self._connection.head

    async def close(self) -> None:
        await _closed([self._connection])


async def _closed(opened: list[Connection]) -> None:
    """Close connections. Raises what made one of them fail."""
    failed = [error for one in opened if one.failed.done() and (error := one.failed.exception()) is not None]
    for one in opened:
        one.transport.close()
    await asyncio.wait([one.failed for one in opened])
    for one in opened:
        one.failed.exception()
    if failed:
        raise failed[0]


class Stream(asyncio.Protocol):
    """One connection that asks for a stream, and notes when its first content and its end came."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[float] = loop.create_future()
        self.ended: asyncio.Future[float] = loop.create_future()
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        text = self._tail + data
        if not self.first.done() and _CONTENT.search(text):
            self.first.set_result(time.perf_counter())
        if _END in text and not self.ended.done():
            self.ended.set_result(time.perf_counter())
            self.transport.close()
        self._tail = text[-4096:] if not self.first.done() else text[-len(_END) :]

    def connection_lost(self, exc: Exception | None) -> None:
        for one in (self.first, self.ended):
            if not one.done():
                one.set_exception(ConnectionError(f"a stream broke off: {self._tail[:300]!r}"))
                one.exception()  # the first one that is awaited tells of it


@dataclass(slots=True)
class Crowd:
    """What a server did for many streams of one prompt that began at once."""

    first: list[float]
    """Seconds to the first content of each."""
    whole: float
    """Seconds to the end of the last one."""
    processor: float
    bytes_per_stream: float
    """By which the process is larger while all are open."""


async def crowd(port: int, pid: int, request: bytes, streams: int) -> Crowd:
    """Ask for `streams` at once, over connections that are open already."""
    loop = asyncio.get_running_loop()
    idle = resident(pid)
    opened = [(await loop.create_connection(Stream, "127.0.0.1", port))[1] for _ in range(streams)]
    computed, began = processor_of(pid), time.perf_counter()
    for one in opened:
        one.transport.write(request)
    first = [moment - began for moment in await asyncio.gather(*(one.first for one in opened))]
    open_now = resident(pid)
    ended = await asyncio.gather(*(one.ended for one in opened))
    return Crowd(first, max(ended) - began, processor_of(pid) - computed, (open_now - idle) / streams)


def processor_of(pid: int) -> float:
    """Return the seconds that all threads of a process have computed, from Linux' scheduler."""
    nanoseconds = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        nanoseconds += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def quantile(times: Sequence[float], share: float) -> float:
    """Return the value that `share` of `times` do not exceed."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median_ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the ratios of one round each."""
    return statistics.median(one / other for one, other in zip(ours, others, strict=True))
