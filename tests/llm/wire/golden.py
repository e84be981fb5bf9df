"""Streams written by hand from the providers' public references, each beside the body that it must become.

`<protocol>/<name>.sse` is a stream as a server sends it; `<name>.json` says what is right: the body, whether the stream
is complete, whether the body may be given to callers that do not stream (`whole`), whether it gives back the very
events (`exact`), some facts, and whether the provider's SDK can be asked at all (`sdk`, with the reason in `why`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachecore_llm.wire import PROTOCOLS, EventDecoder, JsonObject, ProtocolName, RequestFacts, WireProtocol

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Golden:
    protocol: WireProtocol
    name: str
    sent: bytes
    right: dict[str, Any]

    @property
    def events(self) -> list[JsonObject]:
        return events_in(self.protocol, self.sent)

    @property
    def request(self) -> RequestFacts:
        return RequestFacts(model=None, stream=True, include_usage=True, n=self.right.get("n", 1))

    def __str__(self) -> str:
        return f"{self.protocol.name}-{self.name}"


def events_in(protocol: WireProtocol, sent: bytes) -> list[JsonObject]:
    """Return the neutral events of a stream."""
    events = (protocol.event_of(event) for event in EventDecoder().feed(sent))
    return [protocol.neutral(event) for event in events if event is not None]


def stream_of(protocol: WireProtocol, events: list[JsonObject]) -> bytes:
    """Return events as the body of a streamed HTTP response."""
    return b"".join(map(protocol.frame, events)) + protocol.end_frame


def streams(*names: ProtocolName) -> list[Golden]:
    """Return the golden streams of the protocols."""
    return [
        Golden(PROTOCOLS[name], path.stem, path.read_bytes(), json.loads(path.with_suffix(".json").read_text()))
        for name in names
        for path in sorted((FOLDER / name).glob("*.sse"))
    ]


ALL = streams("openai.chat", "openai.responses", "anthropic.messages")
