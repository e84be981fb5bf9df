"""The connections to one provider: kept for the next request, bounded in number, each for one request at a time."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

import httpx2

from cachecore_proxy.http11.connection import Connection, Exchange
from cachecore_proxy.http11.dialing import dialled
from cachecore_proxy.http11.head import head_of

_KEPT_SECONDS: Final = 5.0
"""For which an idle connection is kept, as by httpx2: a server may close it at any time."""
_PORTS: Final = {"http": 80, "https": 443}


class DirectTransport(httpx2.AsyncBaseTransport):
    """HTTP/1.1 to one server, for POSTs with whole bodies, within the timeouts of `request.extensions`.

    Belongs to one event loop.

    Args:
        address: a URL of the server.
        most: requests under way at once; one more waits for the end of another, within its `pool` timeout.
        most_idle: connections that are kept open beside them.
        context: of TLS; None: httpx2's.
    """

    def __init__(
        self, address: str, *, most: int = 5_000, most_idle: int = 200, context: ssl.SSLContext | None = None
    ) -> None:
        url = httpx2.URL(address)
        self._origin = url.scheme, url.netloc
        self._host, self._port = url.host, url.port or _PORTS[url.scheme]
        self._tls: dict[str, Any] = {}
        if url.scheme == "https":
            context = context or httpx2.create_ssl_context()
            context.set_alpn_protocols(["http/1.1"])
            self._tls = {"ssl": context, "server_hostname": url.host}
        self._slots, self._most_idle = asyncio.Semaphore(most), most_idle
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        """Those that were used last are at the end."""

    @property
    def open(self) -> int:
        """Return the number of connections."""
        return len(self._open)

    @property
    def idle(self) -> int:
        """Return the number of connections without a request."""
        return len(self._idle)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer once its head is there; its stream must be read or closed. Raises httpx2.TransportError."""
        data, limits = head_of(request) + request.content, request.extensions.get("timeout", {})
        if (request.url.scheme, request.url.netloc) != self._origin:
            raise httpx2.UnsupportedProtocol("the address is another server's", request=request)
        if self._slots.locked():
            await self._awaited(request, limits.get("pool"))
        else:
            await self._slots.acquire()  # which does not wait
        try:
            connection = self._kept() or await self._opened(request, limits.get("connect"))
        except BaseException:
            self._slots.release()
            raise
        exchange = Exchange(connection, request, limits.get("read"), self._release)
        try:
            connection.transport.write(data)
            await exchange.answer(limits.get("write"))
        except BaseException:
            await exchange.aclose()
            raise
        return httpx2.Response(exchange.status, headers=exchange.headers, stream=exchange, request=request)

    async def aclose(self) -> None:
        """Close all connections, those in use included."""
        for connection in list(self._open):
            connection.abort()

    async def _awaited(self, request: httpx2.Request, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise httpx2.PoolTimeout("too many requests to the provider are under way", request=request) from None

    def _kept(self) -> Connection | None:
        """Return the idle connection that was used last; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.expires > asyncio.get_running_loop().time() and not connection.transport.is_closing():
                return connection
            connection.abort()
        return None

    async def _opened(self, request: httpx2.Request, seconds: float | None) -> Connection:
        try:
            async with asyncio.timeout(seconds):
                made = await dialled(self._host, self._port)
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(lambda: Connection(self._open), sock=made, **self._tls)
        except TimeoutError:
            raise httpx2.ConnectTimeout(f"no connection within {seconds} s", request=request) from None
        except OSError as error:
            raise httpx2.ConnectError(f"no connection ({type(error).__name__})", request=request) from error
        if connection.closed:
            raise httpx2.ConnectError("the provider closed the connection at once", request=request)
        return connection

    def _release(self, connection: Connection, reusable: bool) -> None:
        """Keep a connection for the next request, or close it."""
        self._slots.release()
        now = asyncio.get_running_loop().time()
        self._idle = [one for one in self._idle if not one.closed]
        while self._idle and self._idle[0].expires < now:
            self._idle.pop(0).abort()
        if reusable and not connection.closed and len(self._idle) < self._most_idle:
            connection.expires = now + _KEPT_SECONDS
            self._idle.append(connection)
        else:
            connection.abort()
