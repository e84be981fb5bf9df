"""The way to the provider: a client of the library's own, with the SDKs' limits and the environment's proxies.

A transport that is given to an HTTP client turns the environment's proxies off and has the library's small pool, so
requests go on through a client and not through a bare transport.
"""

from __future__ import annotations

from typing import Any, Final

from cachecore_llm.sdk.libraries import Library

MAX_CONNECTIONS: Final = 1000
MAX_KEEPALIVE_CONNECTIONS: Final = 100
"""Both SDKs' own."""

TIMEOUT: Final = 600.0
CONNECT_TIMEOUT: Final = 5.0
"""Both SDKs' own, in seconds."""


class AsyncUpstream:
    """Sends requests on and returns streamed answers.

    Args:
        library: the one that requests and answers are made of.
        transport: asked in place of a client, such as a transport with a certificate of one's own; closed with this.
        options: of the client, such as `verify` or `proxy`.
    """

    def __init__(self, library: Library, transport: Any = None, **options: Any) -> None:
        self._transport = transport
        self._client = None if transport is not None else library.module.AsyncClient(**_options(library, options))

    async def send(self, request: Any) -> Any:
        """Return the answer, whose body is not read yet. Raises the library's errors."""
        if self._client is None:
            response = await self._transport.handle_async_request(request)
            response.request = request
            return response
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)

    async def handle_async_request(self, request: Any) -> Any:
        """As `send`: this is a transport, too."""
        return await self.send(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await (self._transport if self._client is None else self._client).aclose()


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
