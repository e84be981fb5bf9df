"""What a provider answered in place of an answer: carried through the flow, and given to each caller as it came."""

from __future__ import annotations

from collections.abc import Mapping


class HTTPFailure(Exception):  # noqa: N818 - it is an answer, and becomes one again
    """A provider answered with an HTTP error. The text names the status; the body may hold a part of a prompt."""

    def __init__(self, status_code: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status_code, headers, body)
        self.status_code, self.headers, self.body = status_code, headers, body

    def __str__(self) -> str:
        return f"the provider answered with HTTP status {self.status_code}"


class UnreadableAnswer(HTTPFailure, ValueError):  # noqa: N818 - as above
    """A provider answered with a success whose body is no answer of the protocol; it is passed on and not stored."""

    def __str__(self) -> str:
        return f"the provider answered with {len(self.body)} bytes that are no answer of the protocol"
