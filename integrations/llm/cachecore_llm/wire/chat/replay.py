"""A body of OpenAI's chat protocol to chunks, in the pieces in which it came or in pieces of about a word."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any

from cachecore_llm.wire.call import JsonObject
from cachecore_llm.wire.chat.shape import CONSTANT, NO_CHOICES, USAGE, choice_leaves, path_of
from cachecore_llm.wire.facts import as_objects
from cachecore_llm.wire.pieces import NULL, SET, Group, Pieces, words

_LARGE_PIECE = 8_192
"""Characters of a piece of base64 that never came as a stream."""

_APART = frozenset({"choices", "usage", "object"})

_REASONING = ("reasoning", "reasoning_content", "reasoning_details")


def events_of(body: JsonObject, pieces: Pieces | None) -> Iterator[JsonObject]:
    """Yield the chunks of a complete body."""
    choices = as_objects(body.get("choices"))
    leaves = {slot: size for place, choice in enumerate(choices) for slot, size in choice_leaves(choice, place)}
    if pieces is not None and not _fits(pieces, leaves, body, len(choices)):
        pieces = None
    return _Replay(body, leaves, pieces).events()


def _fits(pieces: Pieces, leaves: dict[str, int], body: JsonObject, choices: int) -> bool:
    """Whether the steps give each value of the body, once and whole."""
    sums = [NULL] * len(pieces.slots)
    for mark, size in pieces.steps:
        slot_number = mark >> 1
        before = sums[slot_number]
        if size >= 0:
            sums[slot_number] = before + size if before > 0 else size
        elif size > before:
            sums[slot_number] = size  # null may come before the value
    used = {mark >> 1 for mark, _ in pieces.steps}
    given = {pieces.slots[number]: sums[number] for number in used}
    places = {str(place) for place in range(choices)}
    for slot, size in given.items():
        if slot == USAGE:
            if body.get("usage") is None:
                return False
        elif slot != NO_CHOICES and slot not in places and leaves.get(slot) != size:
            return False
    if body.get("usage") is not None and USAGE not in given:
        return False
    return all(slot in given or size == NULL for slot, size in leaves.items())


def _default(leaves: dict[str, int], body: JsonObject, choices: int) -> Iterator[Group]:
    """Yield the steps of a body that never came as a stream."""
    for place in range(choices):
        message = {slot: size for slot, size in leaves.items() if slot.startswith(f"{place}/d/")}
        calls = {slot: size for slot, size in message.items() if slot.startswith(f"{place}/d/tool_calls/")}
        beside = {slot: size for slot, size in leaves.items() if slot.startswith(f"{place}/c/")}
        yield [(str(place), SET), *((slot, min(size, 0)) for slot, size in message.items() if slot not in calls)]
        grown = [(slot, size) for slot, size in message.items() if size > 0 and slot not in calls]
        for slot, size in sorted(grown, key=lambda leaf: path_of(leaf[0])[2] not in _REASONING):
            yield from _slices(body, slot, size)
        for _, of_call in groupby(calls.items(), key=lambda leaf: path_of(leaf[0])[3]):
            call = list(of_call)
            yield [(slot, min(size, 0)) for slot, size in call]
            for slot, size in call:
                if size > 0:
                    yield from _slices(body, slot, size)
        inner = [leaf for leaf in beside.items() if len(path_of(leaf[0])) > 3 or leaf[1] >= 0]
        if inner:
            yield inner
        yield [(str(place), SET), *(leaf for leaf in beside.items() if leaf not in inner)]
    if body.get("usage") is not None:
        yield [(USAGE, SET)]


def _slices(body: JsonObject, slot: str, size: int) -> Iterator[Group]:
    """Yield steps that give a grown value of `size`: text by words, base64 in large pieces, a list at once."""
    value = _Target(slot, as_objects(body.get("choices"))).value
    if not isinstance(value, str):
        yield [(slot, size)]
    elif path_of(slot)[-1] == "data":
        for start in range(0, size, _LARGE_PIECE):
            yield [(slot, min(_LARGE_PIECE, size - start))]
    else:
        for length in words(value):
            yield [(slot, length)]


class _Target:
    """A place in the body, and how far its value has been given."""

    __slots__ = ("always", "at", "beside", "entry", "field", "parts", "place", "value")

    def __init__(self, slot: str, choices: list[JsonObject]) -> None:
        place, *path = path_of(slot)
        self.place = int(place)
        self.beside = bool(path) and path[0] == "c"
        self.at = 0
        choice = choices[self.place]
        value: Any = choice if self.beside else choice.get("message")
        parts: list[str | tuple[int, Any]] = []
        for part in path[1:]:
            if isinstance(value, list):
                value = value[int(part)]
                parts.append((int(part), value.get("index", int(part))))
            else:
                value = value.get(part) if isinstance(value, dict) else None
                parts.append(part)
        self.value = value
        self.parts = parts
        self.field = parts[0] if len(parts) == 1 and isinstance(parts[0], str) and not self.beside else None
        """The field of the delta that the value is, if it is one."""
        self.entry: dict[str, Any] = {}
        """How an entry for its choice begins, and the nulls with which it ends."""
        self.always: dict[str, None] = {}

    def put(self, node: Any, size: int) -> None:
        """Put the next `size` of the value below `node`, the delta or the choice."""
        if not self.parts:
            return
        last = self.parts[-1]
        for part, following in pairwise(self.parts):
            if isinstance(part, tuple):
                node = _entry(node, part[1])
            else:
                inner = node.get(part)
                if inner is None:
                    inner = node[part] = [] if isinstance(following, tuple) else {}
                node = inner
        if isinstance(last, tuple):
            _entry(node, last[1])
        elif size == NULL:
            node[last] = None
        elif size == SET:
            node[last] = self.value
        else:
            piece = self.value[self.at : self.at + size]
            self.at += size
            node[last] = node[last] + piece if node.get(last) else piece


def _entry(entries: list[Any], index: Any) -> dict[str, Any]:
    """Return the entry with `index` of a list in a delta, making it if there is none."""
    for entry in entries:
        if entry["index"] == index:
            found: dict[str, Any] = entry
            return found
    made = {"index": index}
    entries.append(made)
    return made


def _says(slot: str) -> bool:
    """Whether null at this place says something: without it, an answer has no content and has not finished."""
    return path_of(slot)[1:] not in (("d", "content"), ("c", "finish_reason"))


class _Replay:
    """The chunks of one body."""

    def __init__(self, body: JsonObject, leaves: dict[str, int], pieces: Pieces | None) -> None:
        extra = pieces.extra if pieces is not None else {}
        every = extra.get("every", CONSTANT)
        self._choices = as_objects(body.get("choices"))
        always = extra.get("always", ("finish_reason", "logprobs"))
        self._usage = body.get("usage")
        self._every: JsonObject = {"object": "chat.completion.chunk"}
        self._every.update((key, body[key]) for key in every if key in body)
        self._first = {key: value for key, value in body.items() if key not in _APART and key not in self._every}
        self._always = [dict.fromkeys(key for key in always if key in choice) for choice in self._choices]
        given = set(pieces.slots) if pieces is not None else leaves
        self._nulls = [slot for slot, size in leaves.items() if size == NULL and slot not in given and _says(slot)]
        self._groups = _default(leaves, body, len(self._choices)) if pieces is None else pieces.events()
        self._targets: dict[str, _Target] = {}
        self._opened: set[int] = set()

    def events(self) -> Iterator[JsonObject]:
        """Yield the chunks."""
        every, targets = self._every, self._targets
        for group in self._groups:
            if len(group) == 1:
                slot, size = group[0]
                target = targets.get(slot)
                if target is not None and target.field is not None and size >= 0:  # as nearly every chunk
                    at, target.at = target.at, target.at + size
                    delta = {target.field: target.value[at : at + size]}
                    yield {**every, "choices": [{**target.entry, "delta": delta, **target.always}]}
                    continue
            chunk = {**every, **self._first} if self._first else dict(every)
            self._first = {}
            entries: dict[int, dict[str, Any]] = {}
            for slot, size in group:
                if slot == USAGE:
                    chunk["usage"] = self._usage
                elif slot != NO_CHOICES:
                    self._step(entries, slot, size)
            chunk["choices"] = list(entries.values())
            yield chunk

    def _step(self, entries: dict[int, dict[str, Any]], slot: str, size: int) -> None:
        target = self._targets.get(slot)
        if target is None:
            target = self._targets[slot] = _Target(slot, self._choices)
            target.entry = {"index": self._choices[target.place].get("index", target.place)}
            target.always = self._always[target.place]
        place = target.place
        entry = entries.get(place)
        if entry is None:
            entry = entries[place] = {**target.entry, "delta": {}, **target.always}
            if place not in self._opened:
                self._opened.add(place)
                for null in self._nulls:
                    if null.startswith(f"{place}/"):
                        self._step(entries, null, NULL)
        target.put(entry if target.beside else entry["delta"], size)
