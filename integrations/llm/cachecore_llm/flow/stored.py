"""The stored form: the provider's answer as JSON, how its stream came, and the little that is said beside it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from cachecore_llm.wire import PROTOCOLS, JsonObject, Pieces, ProtocolName, Recording, replays_exactly
from cachecore_llm.wire.objects import dump, load
from cachecore_llm.wire.pieces import UnreadablePiecesError

_MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
"""The most bytes of events that are unpacked: stored bytes may be of another program."""


class StoredAnswer(msgspec.Struct, frozen=True, omit_defaults=True, eq=False, weakref=True):
    """One answer. Bytes and texts only, so that callers may share it.

    The question is in the payload and not in the entry's header, because a payload can be encrypted.
    """

    protocol: ProtocolName
    body: bytes
    """The answer's body as JSON, less the fields that are for one caller only."""
    provider: str = ""
    fallback: bool = False
    latency: float = 0.0
    """Seconds that the provider took."""
    pieces: bytes | None = None
    """In which pieces the text came, if it came as a stream."""
    events: bytes | None = None
    """The events as they came, packed, where body and pieces do not give them back."""
    whole: bool = True
    """Whether it may be given to callers that do not stream: not if its stream had a shape that this version does not
    know."""
    question: str | None = None
    """The question it answers; None if no other question may be answered with it."""
    headers: tuple[tuple[str, str], ...] = ()
    """The part of the provider's HTTP headers that is kept."""
    fields: bytes | None = None
    """Digests of the request's fields, packed: `flow.fields`."""

    def read(self) -> JsonObject:
        """Return the body, made anew. Raises UnreadableStreamError."""
        return load(self.body)

    def replay(self) -> Iterator[JsonObject]:
        """Yield the events of the answer, with usage, as the provider would stream it."""
        if self.events is not None:
            yield from _unpacked(self.events)
            return
        pieces = None
        if self.pieces is not None:
            try:
                pieces = Pieces.decode(self.pieces)
            except UnreadablePiecesError:
                pieces = None
        yield from PROTOCOLS[self.protocol].events_of(self.read(), pieces)


def packed(protocol: ProtocolName, events: list[JsonObject], recording: Recording) -> tuple[bytes | None, bytes | None]:
    """Return the pieces of a recorded stream, and its events if body and pieces do not give them back."""
    pieces = recording.pieces.encode() if recording.pieces is not None else None
    if replays_exactly(PROTOCOLS[protocol], events, recording):
        return pieces, None
    return None, zlib.compress(b"\n".join(map(dump, events)), 6)


def _unpacked(data: bytes) -> Iterable[JsonObject]:
    unpacker = zlib.decompressobj()
    lines = unpacker.decompress(data, _MAX_EVENT_BYTES)
    return [json.loads(line) for line in lines.splitlines()]
