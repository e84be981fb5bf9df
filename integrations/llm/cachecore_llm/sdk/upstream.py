"""The way to the provider: a client of the library's own, with the SDKs' limits and the environment's proxies.

A transport that is given to an HTTP client turns the environment's proxies off and has the library's small pool, so
requests go on through a client and not through a bare transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final
from weakref import WeakKeyDictionary

from cachecore_llm.sdk.libraries import Library

MAX_CONNECTIONS: Final = 1000
MAX_KEEPALIVE_CONNECTIONS: Final = 100
"""Both SDKs' own."""

TIMEOUT: Final = 600.0
CONNECT_TIMEOUT: Final = 5.0
"""Both SDKs' own, in seconds."""


class AsyncUpstream:
    """Sends requests on and returns streamed answers, from any event loop: each has connections of its own.

    Args:
        library: the one that requests and answers are made of.
        transport: asked in place of a client, such as a transport with a certificate of one's own; closed with this.
        options: of the client, such as `verify` or `proxy`.
    """

    def __init__(self, library: Library, transport: Any = None, **options: Any) -> None:
        self._library = library
        self._transport = transport
        self._options = options
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        if transport is None:
            self._client()  # a wrong option is an error here, not at the first request

    async def send(self, request: Any) -> Any:
        """Return the answer, whose body is not read yet. Raises the library's errors."""
        if self._transport is not None:
            response = await self._transport.handle_async_request(request)
            response.request = request
            return response
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self._client()
        return await client.send(request, stream=True, auth=None, follow_redirects=False)

    async def handle_async_request(self, request: Any) -> Any:
        """As `send`: this is a transport, too."""
        return await self.send(request)

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        client = self._transport
        if client is None:
            client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _client(self) -> Any:
        return self._library.module.AsyncClient(**_options(self._library, self._options))


class InThreads:
    """A transport for threads, asked from an event loop: each call of it has a thread of its own."""

    def __init__(self, library: Library, transport: Any) -> None:
        self._library, self._transport = library, transport

    async def handle_async_request(self, request: Any) -> Any:
        """Return the answer, whose body is not read yet. Raises the library's errors."""
        response = await asyncio.to_thread(self._transport.handle_request, request)
        body = self._library.async_body(self._chunks(response))
        return self._library.module.Response(
            response.status_code, headers=response.headers, stream=body, extensions=response.extensions
        )

    async def _chunks(self, response: Any) -> AsyncIterator[bytes]:
        chunks = iter(response.stream)
        try:
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                yield chunk
        finally:
            await asyncio.to_thread(response.close)

    async def aclose(self) -> None:
        """Close the transport."""
        await asyncio.to_thread(self._transport.close)


class Upstream:
    """As `AsyncUpstream`, for threads."""

    def __init__(self, library: Library, transport: Any = None, **options: Any) -> None:
        self._transport = transport
        self._client = None if transport is not None else library.module.Client(**_options(library, options))

    def send(self, request: Any) -> Any:
        """Return the answer, whose body is not read yet. Raises the library's errors."""
        if self._client is None:
            response = self._transport.handle_request(request)
            response.request = request
            return response
        return self._client.send(request, stream=True, auth=None, follow_redirects=False)

    def handle_request(self, request: Any) -> Any:
        """As `send`: this is a transport, too."""
        return self.send(request)

    def close(self) -> None:
        """Close all connections."""
        (self._transport if self._client is None else self._client).close()


def limits(library: Library) -> Any:
    """Return the limits of both SDKs' own clients."""
    return library.module.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEEPALIVE_CONNECTIONS)


def timeout(library: Library) -> Any:
    """Return the timeout of both SDKs' own clients."""
    return library.module.Timeout(timeout=TIMEOUT, connect=CONNECT_TIMEOUT)


def _options(library: Library, given: dict[str, Any]) -> dict[str, Any]:
    # Each request brings its timeout along.
    return {"limits": limits(library), "timeout": None, **given}
