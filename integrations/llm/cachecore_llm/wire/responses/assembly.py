"""Events of OpenAI's Responses protocol to a body. The last event brings the body; the others say how it came."""

from __future__ import annotations

from typing import Any

from cachecore_llm.wire.call import JsonObject
from cachecore_llm.wire.facts import ErrorFacts, as_object, error_facts
from cachecore_llm.wire.pieces import SET, PieceLog, Pieces
from cachecore_llm.wire.protocol import Recording
from cachecore_llm.wire.responses.shape import (
    ANNOTATION,
    BEGINNING,
    ENDING,
    GROWTHS,
    INDEX,
    LOGPROBS,
    NAMED,
    PARTS,
    PREFIX,
    STATES,
    UNREPEATABLE,
    begun_item,
    begun_part,
    begun_response,
    difference,
    item_at,
    part_at,
)

_ITEM_ADDED, _ITEM_DONE = "output_item.added", "output_item.done"
_CARRIED = {"delta", "done"}


class ResponsesAssembly:
    """Assembly of `openai.responses`."""

    def __init__(self) -> None:
        self._first: int | None = None  # the first sequence number
        self._events = 0
        self._responses: dict[str, JsonObject] = {}
        self._last: JsonObject | None = None
        self._added: dict[int, JsonObject] = {}
        self._done: dict[int, JsonObject] = {}
        self._parts: dict[str, JsonObject] = {}
        self._bare = False
        self._named = False
        self._log = PieceLog()
        self._known = True
        self._repeatable = True
        self._completed = False
        self._error: ErrorFacts | None = None
        self.started = False

    def feed(self, event: JsonObject) -> None:
        """Take the next event."""
        kind = event.get("type")
        if kind == "error" or event.get("error") is not None or event.get("object") == "error":
            error = event.get("error")
            self._error = error_facts(error if error is not None else event)
            return
        kind = kind.removeprefix(PREFIX) if isinstance(kind, str) else ""
        if not self._events:
            number = event.get("sequence_number")
            self._first = number if type(number) is int else None
        self._events += 1
        self._log.event()
        kept, _, step = kind.rpartition(".")
        if step in _CARRIED and kept in GROWTHS:
            self._growth(event, kind, kept, step)
        elif kind in (_ITEM_ADDED, _ITEM_DONE):
            self._item(event, kind)
        elif kept in PARTS:
            self._part(event, kind, kept)
        elif kind in BEGINNING or kind in ENDING:
            self._lifecycle(event, kind)
        elif kind in STATES:
            self._step(event, kind, "output_index")
            self.started = True
        elif kind == ANNOTATION:
            self._step(event, kind, "output_index", "content_index", "annotation_index")
        else:
            self._repeatable = False
            self._known = self._known and kind in UNREPEATABLE

    def end(self) -> None:
        """Say that the body ended. Only `response.completed` ends a response, so that nothing follows from it."""

    def recording(self) -> Recording:
        """Return the answer assembled from the events so far."""
        body = self._body()
        ok = self._completed and self._error is None
        return Recording(
            body=body,
            pieces=self._pieces(body) if body is not None else None,
            complete=ok and body is not None and body.get("status") == "completed",
            whole=self._known and self._error is None,
            error=self._error,
        )

    def _step(self, event: JsonObject, kind: str, *indices: str, size: int = SET) -> str | None:
        """Note a step of the event and return its place; None if an index is missing, so that no step is possible."""
        places = [event.get(index) for index in indices]
        if not all(type(place) is int and place >= 0 for place in places):
            self._repeatable = False
            return None
        place = ":".join(map(str, places))
        self._log.add(f"{kind}:{place}", size)
        return place

    def _growth(self, event: JsonObject, kind: str, kept: str, step: str) -> None:
        growth = GROWTHS[kept]
        indices = ("output_index",) if growth.where == "item" else ("output_index", INDEX[growth.where])
        if step == "done":
            self._step(event, kind, *indices)
            if kept == NAMED and "name" in event:
                self._named = True
            return
        delta = event.get("delta")
        if not isinstance(delta, str):
            self._known = self._repeatable = False
            return
        place = self._step(event, kind, *indices, size=len(delta))
        if delta:
            self.started = True
        if kept == "output_text":
            logprobs = event.get(LOGPROBS)
            if logprobs and isinstance(logprobs, list) and place is not None:
                self._log.add(f"{LOGPROBS}:{place}", len(logprobs))
            elif LOGPROBS not in event:
                self._bare = True

    def _item(self, event: JsonObject, kind: str) -> None:
        item, place = event.get("item"), event.get("output_index")
        if self._step(event, kind, "output_index") is None or type(place) is not int or not isinstance(item, dict):
            self._repeatable = False
            return
        (self._added if kind == _ITEM_ADDED else self._done)[place] = item
        self.started = self.started or item.get("type") != "message"

    def _part(self, event: JsonObject, kind: str, kept: str) -> None:
        place = self._step(event, kind, "output_index", INDEX[PARTS[kept]])
        if kind.endswith(".added") and place is not None:
            self._parts[f"{kept}:{place}"] = as_object(event.get("part"))

    def _lifecycle(self, event: JsonObject, kind: str) -> None:
        response = as_object(event.get("response"))
        self._responses[kind] = self._last = response
        if kind in ENDING:
            self._completed = kind == "completed"
            error = response.get("error")
            if kind == "failed" or error is not None:
                self._error = error_facts(error if error is not None else {})
        self._log.add(kind, SET)

    def _body(self) -> JsonObject | None:
        """Return the last response; items that ended fill in for an output that the server left out."""
        if self._last is None:
            return None
        body = dict(self._last)
        if not body.get("output") and (self._done or self._added):
            body["output"] = [
                self._done.get(place) or self._added[place] for place in sorted({*self._done, *self._added})
            ]
        return body

    def _pieces(self, body: JsonObject) -> Pieces | None:
        if not self._repeatable or self._log.gave_up:
            return None
        begun: dict[str, Any] = {}
        for kind in BEGINNING:
            if kind in self._responses:
                begun[kind] = difference(begun_response(body, kind), self._responses[kind])
        for place, item in self._added.items():
            begun[f"item:{place}"] = difference(begun_item(item_at(body, place)), item)
        for slot, part in self._parts.items():
            kept, of_item, index = slot.split(":")
            whole = part_at(item_at(body, int(of_item)), PARTS[kept], int(index))
            begun[slot] = difference(begun_part(whole), part)
        self._log.extra = {
            "first": self._first,
            "begun": {name: change for name, change in begun.items() if change != [{}, []]},
            **({"bare": True} if self._bare else {}),
            **({"named": True} if self._named else {}),
        }
        return self._log.pieces()
