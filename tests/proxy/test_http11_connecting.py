"""Connections of `DirectTransport` as they are opened: addresses in turn, refusals, certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import httpx2
import pytest
import trustme

from cachecore_proxy.http11 import DirectTransport
from cachecore_proxy.http11.dialing import dialled
from tests.proxy.test_http11 import NO_ANSWER, Provider, body_of, ok, serving


async def test_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with DirectTransport(f"http://127.0.0.1:{port}", most=1) as transport:
            for _ in range(3):  # no slot is lost
                with pytest.raises(httpx2.ConnectError):
                    await transport.handle_async_request(
                        httpx2.Request("POST", f"http://127.0.0.1:{port}/", content=b"{}")
                    )


async def test_addresses_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that refuses, and one that says nothing, cost at most a quarter of a second each."""
    async with serving(Provider().talk) as url:
        port = int(url.rpartition(":")[2])
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect
        never = asyncio.Event()

        async def addresses(host: str, port: int, **_: Any) -> list[Any]:
            kinds = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            refused, silent, good = ("127.0.0.1", 1), ("127.0.0.2", port), ("127.0.0.1", port)
            return [(socket.AF_INET, *kinds, one) for one in (refused, silent, good)]

        async def connected(made: socket.socket, address: Any) -> None:
            if address[0] == "127.0.0.2":
                await never.wait()
            await connect(made, address)

        monkeypatch.setattr(loop, "getaddrinfo", addresses)
        monkeypatch.setattr(loop, "sock_connect", connected)
        async with asyncio.timeout(NO_ANSWER):
            with await dialled("provider", port) as made:
                assert made.getpeername() == ("127.0.0.1", port)


async def test_tls_is_verified() -> None:
    """A certificate that is trusted and names the host; any other is refused before a key is sent."""
    authority, own = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(own)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    provider = Provider(ok(b"secret"), ok(b"again"))
    async with serving(provider.talk, own) as url:
        async with DirectTransport(url, context=trusting) as transport:
            for answer in (b"secret", b"again"):
                request = httpx2.Request("POST", f"{url}/v1", content=b"{}")
                assert await body_of(await transport.handle_async_request(request)) == answer
        assert provider.connections == 1
        for address, context in ((url, None), (url.replace("localhost", "127.0.0.1"), trusting)):
            async with DirectTransport(address, context=context) as transport:
                with pytest.raises(httpx2.ConnectError):
                    await transport.handle_async_request(httpx2.Request("POST", f"{address}/v1", content=b"{}"))
        assert len(provider.requests) == 2
