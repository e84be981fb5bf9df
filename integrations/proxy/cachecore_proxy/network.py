"""The way to a provider: straight to it for calls, and by httpx2 for uploads in parts, other methods and proxies."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx2

from cachecore_proxy.http11 import DirectTransport

_MOST: Final = 5_000
"""Connections to one provider."""
_MOST_IDLE: Final = 200


class Network(httpx2.AsyncBaseTransport):
    """Sends requests to the provider at `address`. Where the environment names a proxy, httpx2 sends all of them."""

    def __init__(self, address: str) -> None:
        limits = httpx2.Limits(max_connections=_MOST, max_keepalive_connections=_MOST_IDLE)
        self._client = httpx2.AsyncClient(timeout=None, limits=limits, follow_redirects=False)
        # Cookies would be of one caller and go out with the requests of another.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        proxies = getproxies()
        proxied = proxies.get(urlsplit(address).scheme) or proxies.get("all")
        self._direct = None if proxied else DirectTransport(address, most=_MOST, most_idle=_MOST_IDLE)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer once its head is there. Raises httpx2.TransportError."""
        if self._direct is not None and request.method == "POST" and isinstance(request.stream, httpx2.ByteStream):
            return await self._direct.handle_async_request(request)
        return await self._client.send(request, stream=True)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        if self._direct is not None:
            await self._direct.aclose()
