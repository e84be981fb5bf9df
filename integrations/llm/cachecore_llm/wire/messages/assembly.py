"""Events of Anthropic's messages protocol to a body."""

from __future__ import annotations

import json
from typing import Any

from cachecore_llm.wire.call import JsonObject
from cachecore_llm.wire.facts import ErrorFacts, as_object, as_objects, error_facts, text_or_none
from cachecore_llm.wire.messages.shape import (
    COMPACTED,
    COMPACTION,
    DELTA,
    FIELDS,
    START,
    STOP,
    TEXTS,
    start_of,
    style_of,
    takes_input,
)
from cachecore_llm.wire.pieces import SET, PieceLog, Pieces
from cachecore_llm.wire.protocol import Recording
from cachecore_llm.wire.text import Grown, join_text, joined

COMPLETE = frozenset({"end_turn", "stop_sequence", "tool_use"})
"""Stop reasons of a complete answer."""


class _Block:
    __slots__ = ("begun", "fields", "prefix", "start", "stopped")

    def __init__(self, index: int, start: JsonObject, *, begun: bool) -> None:
        self.prefix = f"{index}/"
        self.start = start
        self.begun = begun  # whether content_block_start came
        self.fields: dict[str, Any] = {}
        self.stopped = False


class AnthropicAssembly:
    """Assembly of `anthropic.messages`."""

    def __init__(self) -> None:
        self._start: JsonObject | None = None
        self._message: JsonObject = {}
        self._usage: JsonObject = {}
        self._blocks: dict[int, _Block] = {}
        self._log = PieceLog()
        self._last_delta: JsonObject = {}
        self._known = True
        self._repeatable = True
        self._readable = True
        self._stopped = False
        self._error: ErrorFacts | None = None
        self.started = False

    def feed(self, event: JsonObject) -> None:
        """Take the next event."""
        kind = event.get("type")
        if kind == "ping":
            return
        if kind == "error" or event.get("error") is not None:
            self._error = error_facts(event.get("error"))
            return
        self._log.event()
        if kind == "content_block_delta":
            self._delta(event)
        elif kind == "content_block_start":
            self._block_start(event)
        elif kind == "content_block_stop":
            index = self._index(event)
            if index in self._blocks:
                self._blocks[index].stopped = True
            self._log.add(f"{index}.", SET)
        elif kind == "message_start":
            self._message_start(event)
        elif kind == "message_delta":
            self._message_delta(event)
        elif kind == "message_stop":
            self._stopped = True
            self._log.add(STOP, SET)
        else:
            self._known = self._repeatable = False

    def end(self) -> None:
        """Say that the body ended. Only `message_stop` ends a message, so that nothing follows from it."""

    def recording(self) -> Recording:
        """Return the answer assembled from the events so far."""
        if self._start is None and not self._blocks:
            return Recording(body=None, pieces=None, complete=False, whole=False, error=self._error)
        self._readable = True
        content = [self._content(self._blocks[index]) for index in sorted(self._blocks)]
        body: JsonObject = {**self._message, "content": content}
        if self._usage or "usage" in self._message:
            body["usage"] = dict(self._usage)
        complete = (
            self._start is not None
            and self._stopped
            and self._error is None
            and self._readable
            and text_or_none(body.get("stop_reason")) in COMPLETE
            and all(block.stopped for block in self._blocks.values())
        )
        whole = self._known and self._readable and self._error is None
        return Recording(body=body, pieces=self._pieces(body), complete=complete, whole=whole, error=self._error)

    def _message_start(self, event: JsonObject) -> None:
        self._start = as_object(event.get("message"))
        self._message = {key: value for key, value in self._start.items() if key != "content"}
        self._usage = dict(as_object(self._start.get("usage")))
        for index, block in enumerate(as_objects(self._start.get("content"))):
            self._blocks[index] = _Block(index, block, begun=False)
            self._blocks[index].stopped = True
        self._log.add(START, SET)

    def _message_delta(self, event: JsonObject) -> None:
        self._last_delta = event
        beside = {key: value for key, value in event.items() if key not in ("type", "delta", "usage")}
        for key, value in (*as_object(event.get("delta")).items(), *beside.items()):
            if value is not None or key not in self._message:
                self._message[key] = value
        for key, value in as_object(event.get("usage")).items():
            if value is not None or key not in self._usage:
                self._usage[key] = value
        self._log.add(DELTA, SET)

    def _index(self, event: JsonObject) -> int:
        index = event.get("index")
        if type(index) is int and index >= 0:
            return index
        return max(self._blocks, default=0)  # some compatible servers leave it out: the last block is meant

    def _block_start(self, event: JsonObject) -> None:
        index = event.get("index")
        if type(index) is not int or index < 0:
            index = max(self._blocks, default=-1) + 1
        block = as_object(event.get("content_block"))
        self._blocks[index] = _Block(index, block, begun=True)
        self.started = self.started or block != start_of(block) or block.get("type") not in TEXTS
        self._log.add(f"{index}+", SET)

    def _delta(self, event: JsonObject) -> None:
        index = self._index(event)
        block = self._blocks.get(index)
        if block is None:
            self._known = False  # a delta without its block's start
            block = self._blocks[index] = _Block(index, {}, begun=False)
        delta = as_object(event.get("delta"))
        field, carrier = FIELDS.get(str(delta.get("type")), ("", ""))
        piece = delta.get(carrier)
        if field in ("text", "thinking", "input") and isinstance(piece, str):
            grown = block.fields.get(field)
            if type(grown) is not Grown or not grown.text:
                grown = block.fields[field] = Grown(text=True)
            grown.append(piece)
            self._log.add(block.prefix + field, len(piece))
            if piece:
                self.started = True
        elif field == "citations" and piece is not None:
            cited = block.fields.get(field)
            if type(cited) is not Grown or cited.text:
                cited = block.fields[field] = Grown(text=False)
            cited.append([piece])
            self._log.add(block.prefix + field, 1)
        elif field == "signature":
            block.fields[field] = piece  # the SDK replaces it, too
            self._log.add(block.prefix + field, SET)
        elif delta.get("type") == "compaction_delta":
            block.fields.update((name, delta[name]) for name in COMPACTED if name in delta)
            self._log.add(block.prefix + COMPACTION, SET)
        else:
            self._unknown(block, delta)

    def _unknown(self, block: _Block, delta: JsonObject) -> None:
        """Keep the content of a delta of an unknown type: text is joined, of anything else the last counts."""
        self._known = self._repeatable = False
        self.started = True
        for key, value in delta.items():
            if key == "type":
                continue
            if isinstance(value, str) and isinstance(block.fields.get(key, Grown(text=True)), Grown):
                block.fields.setdefault(key, Grown(text=True)).append(value)
            else:
                block.fields[key] = value

    def _content(self, block: _Block) -> JsonObject:
        content = dict(block.start)
        for field, value in block.fields.items():
            whole = joined(value)
            if field == "input":
                content["input"] = self._input(whole, block)
            elif type(value) is Grown and field in content and type(content[field]) is type(whole):
                content[field] = content[field] + whole
            else:
                content[field] = whole
        return content

    def _input(self, text: str, block: _Block) -> Any:
        if not text.strip():
            return block.start.get("input", {})
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            self._readable = False
            return block.start.get("input", {})

    def _pieces(self, body: JsonObject) -> Pieces | None:
        """Return the steps, and how message and blocks began, which a replay cannot read from the body."""
        if self._start is None or not self._repeatable:
            return None
        usage, begun = as_object(body.get("usage")), as_object(self._start.get("usage"))
        start = {key: value for key, value in self._start.items() if key not in ("content", "usage")}
        delta = self._last_delta
        extra: JsonObject = {
            "message": {key: value for key, value in start.items() if body.get(key, self) != value},
            "later": [key for key in body if key not in self._start],
            "usage": {key: value for key, value in begun.items() if usage.get(key, self) != value},
            "usage_later": [key for key in usage if key not in begun],
            "delta": list(as_object(delta.get("delta"))),
            "delta_usage": list(as_object(delta.get("usage"))),
            "beside": [key for key in delta if key not in ("type", "delta", "usage")],
        }
        blocks, styles = {}, {}
        for place, index in enumerate(sorted(self._blocks)):
            block, content = self._blocks[index], body["content"][place]
            if place != index or not block.begun:
                return None
            if block.start != start_of(content):
                blocks[str(place)] = block.start
            if takes_input(content) and "input" in block.fields:
                style = style_of(join_text(block.fields["input"]), content["input"])
                if style is None:
                    return None
                if style:
                    styles[str(place)] = style
        extra.update(blocks=blocks, styles=styles)
        self._log.extra = {key: value for key, value in extra.items() if value}
        return self._log.pieces()
