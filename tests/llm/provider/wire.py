"""Requests without an SDK: bytes over a socket, where an SDK would send or show something else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
EMBEDDINGS = "/v1/embeddings"
_HEADERS = {"host": "127.0.0.1", "authorization": "Bearer key", "anthropic-version": "2023-06-01"}


def request(path: str, body: Any, *, method: str = "POST", **headers: str) -> bytes:
    """Return a request as bytes; `body` is JSON, or bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {
        **_HEADERS,
        "content-length": str(len(raw)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + raw


def body_for(path: str, text: str, **more: Any) -> dict[str, Any]:
    """Return a small request of the protocol at `path`."""
    if path == RESPONSES:
        return {"model": "m", "input": text, **more}
    return {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **more}


async def exchange(port: int, sent: bytes, *, until: bytes = b"") -> bytes:
    """Send bytes and return all that comes until the server closes, or until `until` was received."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(60):
            return await (reader.readuntil(until) if until else reader.read())
    finally:
        writer.close()
        await writer.wait_closed()


async def post(port: int, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a request on a connection of its own; chunk framing stays in the body."""
    answer = await exchange(port, request(path, body, connection="close", **headers))
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), rest


def events_in(body: bytes) -> list[bytes]:
    """Return the chunks of a chunked body; fails if it did not end cleanly."""
    chunks: list[bytes] = []
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            assert body == b"\r\n"
            return chunks
        chunks.append(body[:length])
        assert body[length : length + 2] == b"\r\n"
        body = body[length + 2 :]
