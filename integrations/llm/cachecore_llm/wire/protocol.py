"""The interface of all wire protocols, so that service, SDK transport and gateway are written once for all of them.

An *event* is the JSON object of one data event of a stream. `pieces` say in which pieces the text of an answer came.
Everything is pure: no I/O, no clock, no SDK.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import filterfalse, starmap, zip_longest
from operator import eq
from typing import Protocol

from cachecore_llm.wire.call import JsonObject, ProtocolName, RequestFacts
from cachecore_llm.wire.facts import AnswerFacts, ErrorFacts
from cachecore_llm.wire.pieces import Pieces
from cachecore_llm.wire.sse import ServerEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The answer assembled from a stream so far."""

    body: JsonObject | None
    """The answer as the provider would have sent it whole; None if no event said anything about one."""
    pieces: Pieces | None
    """How to make the events again; None if the bounds of `Pieces` were reached."""
    complete: bool
    """Whether the stream ended as the protocol says a complete answer ends."""
    whole: bool
    """Whether `body` may be given to callers that do not stream. False after any shape this version does not know."""
    error: ErrorFacts | None = None
    """The error that the stream carried, if any. The answer is then not complete."""


class Assembly(Protocol):
    """Makes a body of events, one by one. Not for use by several threads at once."""

    def feed(self, event: JsonObject) -> None:
        """Take the next event, neutral, as `load` reads it, and not changed afterwards: the body shares its objects.

        Never raises, also for an unknown shape. Amortised O(size of the event).
        """

    def end(self) -> None:
        """Say that the stream's body ended cleanly: by the protocol's own mark, or by the end of the HTTP body."""

    @property
    def started(self) -> bool:
        """Whether an event carried content: text, reasoning, a tool call, a refusal or media.

        Until then the answer can still be replaced by another provider's.
        """

    def recording(self) -> Recording:
        """Return the answer so far. May be called at any time, and again."""


class WireProtocol(Protocol):
    """One of the five protocols."""

    @property
    def name(self) -> ProtocolName:
        """The name that a `Call` carries."""

    def parse(self, body: JsonObject) -> RequestFacts:
        """Return the facts of a request body. Raises UnreadableRequestError."""

    def facts(self, body: JsonObject) -> AnswerFacts:
        """Return the facts of an answer's body. Never raises, also for an unknown shape."""

    def assembly(self, request: RequestFacts | None = None) -> Assembly:
        """Return a new assembly of the answer to `request`."""

    def events_of(self, body: JsonObject, pieces: Pieces | None = None) -> Iterator[JsonObject]:
        """Yield the events of a complete `body`, usage included.

        The text comes in the pieces of `pieces` if they belong to `body`, else in pieces of about a word. The events
        share objects with `body`: do not change them.
        """

    def neutral(self, event: JsonObject) -> JsonObject:
        """Return an event or a body without the parts that are for one caller only.

        Cut are echoes of fields that are not keyed, secrets of tools, obfuscation and `usage: null`. The argument is
        not changed; it is returned itself if there is nothing to cut. Record and share only neutral events.
        """

    def shown_to(self, event: JsonObject, request: RequestFacts) -> JsonObject | None:
        """Return a neutral event or body as the caller of `request` would have got it; None if not at all.

        Echoes are filled in from `request`; usage is added or taken away as it asked. The argument is not changed.
        """

    def event_of(self, sent: ServerEvent) -> JsonObject | None:
        """Return the event in a server-sent event; None if it holds none (a ping, the mark of the end).

        Raises UnreadableStreamError if its data is no JSON object.
        """

    def is_end(self, sent: ServerEvent) -> bool:
        """Whether the server-sent event is the protocol's own mark that the stream ended (`[DONE]`)."""

    def frame(self, event: JsonObject) -> bytes:
        """Return the event as a server-sent event."""

    @property
    def end_frame(self) -> bytes:
        """The bytes that follow the last event of a stream; empty where the protocol has no such mark."""


def record(
    protocol: WireProtocol, events: Iterable[JsonObject], request: RequestFacts | None = None, *, ended: bool = True
) -> Recording:
    """Return the recording of `events`. `ended`: whether the stream's body ended cleanly after the last of them."""
    assembly = protocol.assembly(request)
    for event in events:
        assembly.feed(event)
    if ended:
        assembly.end()
    return assembly.recording()


def assemble(
    protocol: WireProtocol, events: Iterable[JsonObject], request: RequestFacts | None = None
) -> JsonObject | None:
    """Return the body that `events` amount to; None if they amount to none."""
    return record(protocol, events, request).body


def is_complete(
    protocol: WireProtocol,
    events: Iterable[JsonObject],
    request: RequestFacts | None = None,
    *,
    ended: bool = False,
) -> bool:
    """Whether `events` are a complete answer. `ended`: whether the stream's body ended cleanly after the last."""
    return record(protocol, events, request, ended=ended).complete


def replays_exactly(protocol: WireProtocol, events: Iterable[JsonObject], recording: Recording) -> bool:
    """Whether body and pieces give back the very `events`, less pings and what `neutral` cuts.

    If not, keep the events beside the body. O(size of the events), about as expensive as assembling them.
    """
    if recording.body is None or recording.pieces is None:
        return False
    made = map(protocol.neutral, protocol.events_of(recording.body, recording.pieces))
    sent = map(protocol.neutral, filterfalse(_is_ping, events))
    return all(starmap(eq, zip_longest(sent, made)))


def _is_ping(event: JsonObject) -> bool:
    return event.get("type") == "ping"
