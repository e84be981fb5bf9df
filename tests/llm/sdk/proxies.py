"""An HTTPS proxy on loopback: takes requests in absolute form over TLS, and sends them on in plain HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import trustme


class HTTPSProxy:
    """Sends what it gets on to where it is addressed, one request a connection, and counts."""

    def __init__(self) -> None:
        self.requests = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            method, target, version = head.split(b"\r\n", 1)[0].decode().split(" ")
            parts = urlsplit(target)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            there, away = await asyncio.open_connection(parts.hostname, parts.port)
            lines = [line for line in head.split(b"\r\n")[1:-2] if not line.lower().startswith(b"connection:")]
            away.write(b"\r\n".join([f"{method} {path} {version}".encode(), *lines, b"Connection: close", b"", b""]))
            sending = asyncio.ensure_future(_pumped(reader, away))
            await _pumped(there, writer)
            sending.cancel()
            away.close()
        writer.close()


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


@contextlib.asynccontextmanager
async def https_proxy(folder: Path) -> AsyncIterator[tuple[HTTPSProxy, Path]]:
    """A running proxy, and the file of the certificate that vouches for it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    proxy = HTTPSProxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy, trusted
