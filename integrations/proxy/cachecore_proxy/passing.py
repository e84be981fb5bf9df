"""Requests that are no calls to models: passed on both ways as they come, bodies in parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import httpx2

from cachecore_llm.http.answer_headers import cache_status
from cachecore_llm.upstream.headers import is_credential
from cachecore_proxy.asking import Sender
from cachecore_proxy.clients import Client, While
from cachecore_proxy.provider import HOP_BY_HOP, HttpProvider, raw_body, raw_headers
from cachecore_proxy.requests import Incoming
from cachecore_proxy.settings import AccessSettings, Bounds

_OWN: Final = frozenset({"host", "expect", "cache-control"})


class Passing:
    """Passes requests on to the first provider of their family."""

    def __init__(self, access: AccessSettings, bounds: Bounds) -> None:
        self._left_out = HOP_BY_HOP | _OWN | {name for name in (access.tenant_header, access.prompt_header) if name}
        self._bounds = bounds

    async def __call__(
        self,
        incoming: Incoming,
        client: Client,
        provider: HttpProvider,
        path: str,
        *,
        body: bytes | None = None,
        detail: str | None = None,
    ) -> None:
        """Pass a request on; `body`: all of it, if it was read already. Raises httpx2.TransportError."""
        sender = incoming.sender
        if sender is None:
            raise RuntimeError("a request is passed on for a caller that is known")
        async with While(client):
            await self._passed(incoming, client, provider, path, sender, body, detail)

    async def _passed(
        self,
        incoming: Incoming,
        client: Client,
        provider: HttpProvider,
        path: str,
        sender: Sender,
        body: bytes | None,
        detail: str | None,
    ) -> None:
        response = await self._begun(incoming, client, provider, path, sender, body)
        try:
            headers = [
                *raw_headers(response),
                (b"cache-status", cache_status(forward="bypass", detail=detail).encode()),
            ]
            await client.start(response.status_code, headers)
            incoming.answered("passed" if body is None else "bypass", response.status_code)
            async with asyncio.timeout(None) as idle:
                async for chunk in raw_body(response):
                    await client.part(chunk)
                    idle.reschedule(asyncio.get_running_loop().time() + provider.settings.idle_timeout)
            await client.end()
        finally:
            await response.aclose()

    async def _begun(
        self, incoming: Incoming, client: Client, provider: HttpProvider, path: str, sender: Sender, body: bytes | None
    ) -> httpx2.Response:
        query = incoming.scope["query_string"].decode("latin-1")
        content: bytes | AsyncIterator[bytes] | None = body
        if body is None and _has_body(incoming):
            content = client.parts()
        elif body is None:
            client.ended()
        request = httpx2.Request(
            incoming.scope["method"],
            provider.address(path, query),
            headers=self._headers(incoming, provider, sender),
            content=content,
            extensions={"timeout": _timeouts(provider)},
        )
        return await provider.pass_on(request, sender)

    def _headers(self, incoming: Incoming, provider: HttpProvider, sender: Sender) -> list[tuple[str, str]]:
        own = provider.credentials(sender, known=False)
        named = {one.strip().lower() for one in (incoming.header(b"connection") or b"").decode("latin-1").split(",")}
        passed = [
            (name, value.decode("latin-1"))
            for name, value in ((raw.decode("latin-1"), value) for raw, value in incoming.headers)
            if name not in self._left_out and name not in named and not is_credential(name)
        ]
        length = incoming.header(b"content-length")
        if length is not None:  # the body goes on as it is, with its length, not in chunks
            passed.append(("content-length", length.decode("latin-1")))
        return [*passed, *own.items()]


def _has_body(incoming: Incoming) -> bool:
    length = incoming.header(b"content-length")
    return (length is not None and length != b"0") or incoming.header(b"transfer-encoding") is not None


def _timeouts(provider: HttpProvider) -> dict[str, float | None]:
    return {"connect": 5.0, "pool": 5.0, "write": 60.0, "read": provider.settings.timeout}
