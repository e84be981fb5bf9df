"""Requests that came before, byte for byte: their hits are found without reading them again.

Programs send repeats in the same bytes. The key of the answer, and the bytes for the caller, are kept for requests that
hit once already; whether the answer may be served is asked of the cache each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from cachecore import Cache
from cachecore_llm.flow import Flow, StoredAnswer
from cachecore_llm.flow.asked import Asked
from cachecore_llm.policy.controls import DEFAULT
from cachecore_llm.wire import PROTOCOLS, Call, ProtocolName, RequestFacts
from cachecore_llm.wire.objects import dump
from cachecore_proxy.activity import Outcome
from cachecore_proxy.asking import Sender
from cachecore_proxy.replies import stored_headers
from cachecore_proxy.trips import GatewayCall, Pairs

_MOST_BYTES: Final = 32 * 1024 * 1024
_MOST_BYTES_OF_ONE: Final = 1024 * 1024


@dataclass(slots=True, eq=False)
class Remembered:
    """One request, and its answer as its caller gets it."""

    asked: Asked
    """Without the caller's body: it is asked for costs alone."""
    view: Cache[StoredAnswer]
    key: str
    told_key: str
    """The end of `Cache-Status`, which names the entry."""
    facts: RequestFacts
    protocol: ProtocolName
    model: str | None
    prompt: str | None
    streams: bool
    size: int = 0
    stored: StoredAnswer | None = None
    """The answer that `body` was made of."""
    body: bytes = b""
    headers: Pairs | None = None


class Hit(NamedTuple):
    """A hit, ready to be sent."""

    remembered: Remembered
    headers: Pairs
    body: bytes
    outcome: Outcome = "hit"


_Place = tuple[Sender, str, bytes, bytes]


class Requests:
    """The requests that hit once already, up to 32 MiB of them; those remembered first are forgotten first."""

    def __init__(self, flow: Flow) -> None:
        config = flow.config
        self._flow = flow
        # Where a similar answer may come first, whether it does is decided anew each time.
        self._on = config.enabled and not config.similar_first and config.similar_shadow is None
        self._known: dict[_Place, Remembered] = {}
        self._bytes = 0

    def find(self, sender: Sender, path: str, query: bytes, raw: bytes) -> Hit | None:
        """Return the hit in memory for a request, counted; None if it is to be read. O(size of the request)."""
        known = self._known.get((sender, path, query, raw))
        if known is None:
            return None
        found = known.view.peek_lookup(key=known.key)
        if found is None or found.value is None:
            return None
        stored = found.value
        if not _same(known.stored, stored) and not self._rendered(known, stored):
            return None
        self._flow.costs.hit(stored, known.asked.call.tenant, known.prompt, lambda: known.asked)
        left = found.fresh_for
        told = "cachecore; hit" if left is None else f"cachecore; hit; ttl={int(left // 1)}"
        headers = [
            *(known.headers or ()),
            (b"cache-status", (told + known.told_key).encode()),
            (b"age", b"%d" % int(found.age or 0)),
        ]
        return Hit(known, headers, known.body)

    def remember(self, call: GatewayCall, query: bytes, key: str, *, streams: bool) -> None:
        """Remember a request that was answered with the entry `key`."""
        trip = call.trip
        place = (trip.sender, trip.path, query, trip.raw)
        if (
            not self._on
            or trip.sender.controls is not DEFAULT
            or len(trip.raw) > _MOST_BYTES_OF_ONE
            or place in self._known
        ):
            return
        asked = self._flow.ask(call, DEFAULT)
        if asked.bypass is not None or asked.view.key(asked.request) != key:
            return
        bare = Call(
            protocol=call.protocol,
            endpoint=call.endpoint,
            body={"model": call.body.get("model")},
            tenant=call.tenant,
            prompt=call.prompt,
        )
        digest = key.rpartition(":")[2].rpartition("}")[2]
        model = call.body.get("model")
        self._known[place] = known = Remembered(
            asked=Asked(bare, DEFAULT, asked.view, {}),
            view=asked.view,
            key=key,
            told_key=f'; key="{digest}"',
            facts=asked.facts,
            protocol=call.protocol,
            model=model if isinstance(model, str) else None,
            prompt=call.prompt,
            streams=streams,
            size=len(trip.raw) + 1024,
        )
        self._bytes += known.size
        self._make_room()

    def forget(self) -> None:
        """Forget all requests: their prompts may have changed."""
        self._known.clear()
        self._bytes = 0

    def _rendered(self, known: Remembered, stored: StoredAnswer) -> bool:
        """Make the bytes of an answer for the caller; return whether they may be kept."""
        body = _streamed(known, stored) if known.streams else _whole(known, stored)
        if body is None or len(body) > _MOST_BYTES_OF_ONE:
            return False
        grown = len(body) + len(stored.body) - len(known.body) - (len(known.stored.body) if known.stored else 0)
        self._bytes += grown
        known.size += grown
        known.stored, known.body = stored, body
        known.headers = stored_headers(stored, streams=known.streams)
        self._make_room()
        return True

    def _make_room(self) -> None:
        while self._bytes > _MOST_BYTES and self._known:
            self._bytes -= self._known.pop(next(iter(self._known))).size


def _same(known: StoredAnswer | None, stored: StoredAnswer) -> bool:
    """Whether both are one answer; each read of the cache makes an object of its own."""
    return known is stored or (
        known is not None
        and known.body == stored.body
        and known.pieces == stored.pieces
        and known.events == stored.events
        and known.headers == stored.headers
        and known.whole == stored.whole
    )


def _whole(known: Remembered, stored: StoredAnswer) -> bytes | None:
    if not stored.whole:
        return None
    if not known.facts.echoed:
        return stored.body
    shown = PROTOCOLS[known.protocol].shown_to(stored.read(), known.facts)
    return None if shown is None else dump(shown)


def _streamed(known: Remembered, stored: StoredAnswer) -> bytes:
    protocol = PROTOCOLS[known.protocol]
    shown = (protocol.shown_to(event, known.facts) for event in stored.replay())
    return b"".join([protocol.frame(event) for event in shown if event is not None]) + protocol.end_frame
