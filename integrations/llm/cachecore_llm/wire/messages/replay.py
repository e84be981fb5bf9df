"""A body of Anthropic's messages protocol to events, in the pieces in which it came or in pieces of about a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cachecore_llm.wire.call import JsonObject
from cachecore_llm.wire.facts import as_object, as_objects
from cachecore_llm.wire.messages.shape import (
    COMPACTED,
    COMPACTION,
    DELTA,
    DELTA_TYPES,
    START,
    STOP,
    TEXTS,
    input_text,
    needed,
    start_of,
    takes_input,
)
from cachecore_llm.wire.pieces import SET, Pieces, words

_IN_DELTA = ("stop_reason", "stop_sequence", "stop_details", "container")
_ALWAYS_IN_DELTA = ("stop_reason", "stop_sequence")
_DELTA_USAGE = (
    *("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"),
    *("server_tool_use", "output_tokens_details"),
)


def events_of(body: JsonObject, pieces: Pieces | None) -> Iterator[JsonObject]:
    """Yield the events of a complete body."""
    if pieces is not None and not _fits(_Replay(body, pieces), pieces):
        pieces = None
    replay = _Replay(body, pieces)
    steps = ((slot, size) for slot, size, _ in pieces) if pieces is not None else replay.default()
    return (event for slot, size in steps for event in replay.step(slot, size))


def _fits(replay: _Replay, pieces: Pieces) -> bool:
    """Whether the steps give each value of the body, once and whole."""
    given: dict[str, int] = {}
    for slot, size, _ in pieces:
        given[slot] = given.get(slot, 0) + size
    wanted: dict[str, int] = {START: SET, STOP: SET, DELTA: SET}
    for place, block in enumerate(replay.blocks):
        begun = replay.start(place)
        wanted.update({f"{place}+": SET, f"{place}.": SET})
        wanted.update((f"{place}/{field}", size) for field, size in needed(block, begun))
        if takes_input(block) and (begun.get("input") != block["input"] or f"{place}/input" in given):
            empty = block["input"] == {} and not given.get(f"{place}/input")
            wanted[f"{place}/input"] = 0 if empty else len(replay.input_text(place))
    return all(wanted.get(slot) == size for slot, size in given.items()) and all(
        slot in given or size == 0 for slot, size in wanted.items()
    )


class _Replay:
    """The events of one body."""

    def __init__(self, body: JsonObject, pieces: Pieces | None) -> None:
        self._body = body
        self._extra = dict(pieces.extra) if pieces is not None else _default_extra(body)
        self._at: dict[str, int] = {}
        self._grown: dict[str, Any] = {}
        self.blocks = as_objects(body.get("content"))

    def start(self, place: int) -> JsonObject:
        """Return a block as it began."""
        known = as_object(self._extra.get("blocks")).get(str(place))
        return known if isinstance(known, dict) else start_of(self.blocks[place])

    def input_text(self, place: int) -> str:
        """Return the input of a tool call as JSON text."""
        style = as_object(self._extra.get("styles")).get(str(place), 0)
        return input_text(self.blocks[place]["input"], style if type(style) is int else 0)

    def default(self) -> Iterator[tuple[str, int]]:
        """Yield the steps of a body that never came as a stream."""
        yield START, SET
        for place, block in enumerate(self.blocks):
            yield f"{place}+", SET
            for field, size in needed(block, start_of(block)):
                if field in TEXTS:
                    yield from ((f"{place}/{field}", length) for length in words(block[field]))
                elif size < 0:
                    yield f"{place}/{field}", SET
                else:
                    yield from ((f"{place}/{field}", 1) for _ in range(size))
            if takes_input(block):
                yield f"{place}/input", 0
                if block["input"]:
                    yield from ((f"{place}/input", length) for length in words(self.input_text(place)))
            yield f"{place}.", SET
        yield DELTA, SET
        yield STOP, SET

    def step(self, slot: str, size: int) -> Iterator[JsonObject]:
        """Yield the event of a step."""
        if slot == START:
            yield {"type": "message_start", "message": self._message_start()}
        elif slot == DELTA:
            yield self._message_delta()
        elif slot == STOP:
            yield {"type": "message_stop"}
        elif slot.endswith("+"):
            place = int(slot[:-1])
            yield {"type": "content_block_start", "index": place, "content_block": dict(self.start(place))}
        elif slot.endswith("."):
            yield {"type": "content_block_stop", "index": int(slot[:-1])}
        else:
            at, field = slot.split("/", 1)
            yield {"type": "content_block_delta", "index": int(at), "delta": self._delta(int(at), slot, field, size)}

    def _delta(self, place: int, slot: str, field: str, size: int) -> JsonObject:
        block = self.blocks[place]
        if field == COMPACTION:
            return {"type": "compaction_delta", **{name: block[name] for name in COMPACTED if name in block}}
        kind, carrier = DELTA_TYPES[field]
        if size == SET:
            return {"type": kind, carrier: block[field]}
        grown = self._grown.get(slot)
        if grown is None:
            grown = self._grown[slot] = self.input_text(place) if field == "input" else block[field]
            begun = self.start(place).get(field)
            self._at[slot] = len(begun) if field != "input" and type(begun) is type(grown) else 0
        at = self._at[slot]
        self._at[slot] = at + size
        return {"type": kind, carrier: grown[at] if field == "citations" else grown[at : at + size]}

    def _message_start(self) -> JsonObject:
        extra, body = self._extra, self._body
        later, usage_later = extra.get("later", ()), extra.get("usage_later", ())
        message = {key: value for key, value in body.items() if key not in later}
        message.update(as_object(extra.get("message")))
        message["content"] = []
        if "usage" in body:
            usage = {key: value for key, value in as_object(body["usage"]).items() if key not in usage_later}
            message["usage"] = {**usage, **as_object(extra.get("usage"))}
        return message

    def _message_delta(self) -> JsonObject:
        extra, body, usage = self._extra, self._body, as_object(self._body.get("usage"))
        event: JsonObject = {
            "type": "message_delta",
            "delta": {key: body[key] for key in extra.get("delta", ()) if key in body},
        }
        event.update((key, body[key]) for key in extra.get("beside", ()) if key in body)
        counts = {key: usage[key] for key in extra.get("delta_usage", ()) if key in usage}
        if counts:
            event["usage"] = counts
        return event


def _default_extra(body: JsonObject) -> JsonObject:
    """Return how the message of a body that never came as a stream begins and ends."""
    usage = as_object(body.get("usage"))
    return {
        "message": {key: None for key in _IN_DELTA if key in body and key != "container"},
        "usage": {"output_tokens": min(1, usage["output_tokens"])} if type(usage.get("output_tokens")) is int else {},
        "delta": [key for key in _IN_DELTA if key in _ALWAYS_IN_DELTA or body.get(key) is not None],
        "delta_usage": [key for key in _DELTA_USAGE if key in usage],
    }
