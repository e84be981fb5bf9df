"""A body of OpenAI's Responses protocol to events, in the pieces in which it came or in pieces of about a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cachecore_llm.wire.call import JsonObject
from cachecore_llm.wire.facts import as_object, as_objects
from cachecore_llm.wire.pieces import SET, Group, Pieces, words
from cachecore_llm.wire.responses.shape import (
    ANNOTATION,
    BEGINNING,
    GROWTHS,
    INDEX,
    LOGPROBS,
    NAMED,
    PARTS,
    PREFIX,
    STATES,
    applied,
    begun_item,
    begun_part,
    begun_response,
    item_at,
    part_at,
)

_PART_GROWTH = {
    "output_text": "output_text",
    "refusal": "refusal",
    "reasoning_text": "reasoning_text",
    "summary_text": "reasoning_summary_text",
}
"""Type of a part -> the name of its deltas."""

_ITEM_GROWTH = {
    "function_call": "function_call_arguments",
    "mcp_call": "mcp_call_arguments",
    "custom_tool_call": "custom_tool_call_input",
    "code_interpreter_call": "code_interpreter_call_code",
}
_STATE_ORDER = ("in_progress", "searching", "interpreting", "generating")


def events_of(body: JsonObject, pieces: Pieces | None) -> Iterator[JsonObject]:
    """Yield the events of a complete body."""
    if pieces is not None and not _fits(body, pieces):
        pieces = None
    replay = _Replay(body, pieces.extra if pieces is not None else {"first": 0})
    groups = pieces.events() if pieces is not None else _default(body)
    return replay.events(groups)


def _fits(body: JsonObject, pieces: Pieces) -> bool:
    """Whether every step finds its place in the body, and the deltas of each text give it whole."""
    given: dict[str, int] = {}
    for slot, size, _ in pieces:
        given[slot] = given.get(slot, 0) + size if size >= 0 else SET
    for slot, size in given.items():
        kind, *places = slot.split(":")
        if kind in (*BEGINNING, "completed"):
            continue
        if not all(place.isdigit() for place in places) or not places or not item_at(body, int(places[0])):
            return False
        kept, _, step = kind.rpartition(".")
        if step == "delta" and kept in GROWTHS:
            growth = GROWTHS[kept]
            value = part_at(item_at(body, int(places[0])), growth.where, int(places[-1])).get(growth.field)
            if not isinstance(value, str) or len(value) != size:
                return False
    return True


def _default(body: JsonObject) -> Iterator[Group]:
    """Yield the steps of a body that never came as a stream."""
    yield [("created", SET)]
    yield [("in_progress", SET)]
    for place, item in enumerate(as_objects(body.get("output"))):
        yield [(f"output_item.added:{place}", SET)]
        kind = str(item.get("type"))
        states = [f"{kind}.{state}" for state in _STATE_ORDER if f"{kind}.{state}" in STATES]
        yield from ([(f"{state}:{place}", SET)] for state in states)
        growth = _ITEM_GROWTH.get(kind)
        if growth is not None and isinstance(item.get(GROWTHS[growth].field), str):
            yield from _grow(growth, str(place), item[GROWTHS[growth].field])
        for part_kind, where in PARTS.items():
            parts = item.get(where)
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                yield from _default_part(part_kind, f"{place}:{index}", as_object(part))
        if states:
            yield [(f"{kind}.{'failed' if item.get('error') else 'completed'}:{place}", SET)]
        yield [(f"output_item.done:{place}", SET)]
    yield [("completed", SET)]


def _default_part(part_kind: str, place: str, part: JsonObject) -> Iterator[Group]:
    yield [(f"{part_kind}.added:{place}", SET)]
    growth = _PART_GROWTH.get(str(part.get("type")))
    if growth is not None and isinstance(part.get(GROWTHS[growth].field), str):
        yield from _grow(growth, place, part[GROWTHS[growth].field], logprobs=len(as_objects(part.get(LOGPROBS))))
    for index, _ in enumerate(as_objects(part.get("annotations"))):
        yield [(f"{ANNOTATION}:{place}:{index}", SET)]
    yield [(f"{part_kind}.done:{place}", SET)]


def _grow(growth: str, place: str, text: str, *, logprobs: int = 0) -> Iterator[Group]:
    for length in words(text):
        group = [(f"{growth}.delta:{place}", length)]
        if logprobs:  # how they were grouped is not known: the first delta carries them all
            group.append((f"{LOGPROBS}:{place}", logprobs))
            logprobs = 0
        yield group
    yield [(f"{growth}.done:{place}", SET)]


class _Replay:
    """The events of one body."""

    def __init__(self, body: JsonObject, extra: Any) -> None:
        self._body = body
        self._begun = as_object(extra.get("begun"))
        first = extra.get("first")
        self._number: int | None = first if type(first) is int else None
        self._bare = extra.get("bare") is True
        self._named = extra.get("named") is True
        self._at: dict[str, int] = {}
        self._places: dict[str, tuple[str, list[int]]] = {}

    def events(self, groups: Iterator[Group]) -> Iterator[JsonObject]:
        """Yield the events, numbered."""
        for group in groups:
            event = self._event(group)
            if self._number is not None:
                event["sequence_number"] = self._number
                self._number += 1
            yield event

    def _event(self, group: Group) -> JsonObject:
        slot = group[0][0]
        known = self._places.get(slot)
        if known is None:
            name, *numbers = slot.split(":")
            known = self._places[slot] = (name, [int(number) for number in numbers])
        kind, places = known
        if not places:
            return {"type": PREFIX + kind, "response": self._response(kind)}
        item = item_at(self._body, places[0])
        event: JsonObject = {"type": PREFIX + kind, "output_index": places[0]}
        kept, _, step = kind.rpartition(".")
        if kept == "output_item":
            whole = begun_item(item)
            event["item"] = item if step == "done" else applied(whole, self._begun.get(f"item:{places[0]}"))
            return event
        if "id" in item:
            event["item_id"] = item["id"]
        if kept in GROWTHS:
            self._grown(event, item, group, kept, step, places)
        elif kept in PARTS:
            self._part(event, item, kept, step, places)
        elif kind == ANNOTATION:
            annotations = as_objects(part_at(item, "content", places[1]).get("annotations"))
            event["content_index"], event["annotation_index"] = places[1:]
            event["annotation"] = annotations[places[2]] if places[2] < len(annotations) else {}
        return event

    def _response(self, kind: str) -> JsonObject:
        if kind not in BEGINNING:
            return self._body
        return applied(begun_response(self._body, kind), self._begun.get(kind))

    def _part(self, event: JsonObject, item: JsonObject, kept: str, step: str, places: list[int]) -> None:
        where = PARTS[kept]
        part = part_at(item, where, places[1])
        event[INDEX[where]] = places[1]
        if step == "added":
            part = applied(begun_part(part), self._begun.get(f"{kept}:{places[0]}:{places[1]}"))
        event["part"] = part

    def _grown(
        self, event: JsonObject, item: JsonObject, group: Group, kept: str, step: str, places: list[int]
    ) -> None:
        growth = GROWTHS[kept]
        part = part_at(item, growth.where, places[-1])
        if growth.where != "item":
            event[INDEX[growth.where]] = places[1]
        text = part.get(growth.field, "")
        if step == "done":
            event[growth.field] = text
            if kept == "output_text" and not self._bare:
                event[LOGPROBS] = as_objects(part.get(LOGPROBS))
            if kept == NAMED and self._named and "name" in item:
                event["name"] = item["name"]
            return
        slot, size = group[0]
        at = self._at.get(slot, 0)
        event["delta"] = text[at : at + size]
        self._at[slot] = at + size
        if kept == "output_text" and not self._bare:
            event[LOGPROBS] = []
        for slot, size in group[1:]:
            at = self._at.get(slot, 0)
            event[LOGPROBS] = as_objects(part.get(LOGPROBS))[at : at + size]
            self._at[slot] = at + size
