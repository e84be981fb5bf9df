"""A request as it comes: its route, its caller, its end as it is counted and logged."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from cachecore_llm.wire import ProtocolName
from cachecore_proxy.activity import Outcome
from cachecore_proxy.asking import AccessError, Sender
from cachecore_proxy.settings import Family

_CALLS: Final[dict[str, tuple[str, ProtocolName, Family]]] = {
    "/v1/chat/completions": ("/v1/chat/completions", "openai.chat", "openai"),
    "/v1/responses": ("/v1/responses", "openai.responses", "openai"),
    "/v1/embeddings": ("/v1/embeddings", "openai.embeddings", "openai"),
    "/v1/messages": ("/v1/messages", "anthropic.messages", "anthropic"),
    # Programs whose base address has no /v1.
    "/chat/completions": ("/v1/chat/completions", "openai.chat", "openai"),
    "/responses": ("/v1/responses", "openai.responses", "openai"),
    "/embeddings": ("/v1/embeddings", "openai.embeddings", "openai"),
}
"""The paths that are cached."""


@dataclass(slots=True, eq=False)
class Incoming:
    """One request."""

    scope: dict[str, Any]
    began: float = field(default_factory=time.perf_counter)
    sender: Sender | None = None
    model: str | None = None
    prompt: str | None = None
    protocol: ProtocolName | None = None
    outcome: Outcome = "failed"
    status: int = 0
    streams: bool = False
    reason: str | None = None
    """Why the cache had no answer, or the class of an error."""
    seconds: float | None = None
    """To the first byte of a stream, or the end of a whole answer; None while that is not known."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers, with names in lower case."""
        found: list[tuple[bytes, bytes]] = self.scope["headers"]
        return found

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of that name, in lower case."""
        for one, value in self.scope["headers"]:
            if one == name:
                return bytes(value)
        return None

    @property
    def tenant(self) -> str | None:
        """Return the tenant as counts and logs name it."""
        return None if self.sender is None else self.sender.shown

    def answered(self, outcome: Outcome, status: int) -> None:
        """Record how it was answered, now."""
        self.outcome, self.status = outcome, status
        self.seconds = time.perf_counter() - self.began


def call_of(scope: dict[str, Any]) -> tuple[str, ProtocolName, Family] | None:
    """Return path, protocol and family of a request that is a call to a model; None if it is another."""
    if scope["method"] != "POST":
        return None
    found = _CALLS.get(scope["path"])
    return found or _CALLS.get(scope["path"].rstrip("/"))


def family_of(incoming: Incoming) -> Family:
    """Return whose API a request is for that is no call to a model."""
    path: str = incoming.scope["path"]
    if path.startswith("/v1/messages") or incoming.header(b"anthropic-version") is not None:
        return "anthropic"
    return "openai"


def path_of(scope: dict[str, Any]) -> str:
    """Return the path as it came. Raises AccessError for one that would leave the provider's own addresses."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("ascii")
    decoded: str = scope["path"]
    segments = decoded.split("/")
    if not path.startswith("/") or "." in segments or ".." in segments or "\\" in decoded or not decoded.isprintable():
        raise AccessError(400, "invalid_request_error", "the path holds dot segments or control characters")
    return path if path.startswith("/v1/") or path == "/v1" else "/v1" + path
