"""Ids that pair calls of tools with their results, renamed by order of first appearance.

A provider makes them by chance, so a conversation told again has others and means the same. They are never dropped: two
results that are swapped are another request. An id stays as it is where a new name could hide a difference:

- no call in the body bears it: it names a call that the provider keeps;
- the same text occurs anywhere else in the body, where it may refer to the call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from cachecore_llm.wire.call import JsonObject, ProtocolName
from cachecore_llm.wire.facts import as_object, as_objects


class Place(NamedTuple):
    """A field that holds an id of a call."""

    owner: JsonObject
    field: str
    by_call: bool
    """Whether the call itself bears the id here; if not, it refers to a call."""

    @property
    def name(self) -> str:
        """The id."""
        return str(self.owner[self.field])


class Names(NamedTuple):
    """The ids of a body."""

    numbers: Mapping[tuple[int, str], int]
    """Identity of an object of the body and a field of it -> the number that stands there."""
    unpaired: bool
    """Whether a result names a call that the body does not hold."""

    def at(self, owner: JsonObject, field: str) -> Any:
        """Return the keyed form of a field of an object of the body."""
        number = self.numbers.get((id(owner), field))
        return owner[field] if number is None else [b"id", number]


def name_ids(protocol: ProtocolName, body: JsonObject, texts: Iterable[str]) -> Names:
    """Return the names of the ids in `body`; `texts` are all the texts in it."""
    places = [place for place in _PLACES[protocol](body) if _is_id(place.owner.get(place.field))]
    here = Counter(place.name for place in places)
    called = {place.name for place in places if place.by_call}
    everywhere = Counter(text for text in texts if text in here) if called else here
    numbers: dict[str, int] = {}
    numbered: dict[tuple[int, str], int] = {}
    for place in places:
        if place.name in called and everywhere[place.name] == here[place.name]:
            numbered[id(place.owner), place.field] = numbers.setdefault(place.name, len(numbers))
    return Names(numbered, not called.issuperset(here))


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _chat(body: JsonObject) -> Iterator[Place]:
    for message in as_objects(body.get("messages")):
        for call in as_objects(message.get("tool_calls")):
            yield Place(call, "id", True)
        yield Place(message, "tool_call_id", False)


def _responses(body: JsonObject) -> Iterator[Place]:
    for item in as_objects(body.get("input")):
        kind = str(item.get("type"))
        yield Place(item, "call_id", not kind.endswith("_output"))
        yield Place(as_object(item.get("caller")), "caller_id", False)
        if kind == "local_shell_call_output":
            yield Place(item, "id", False)


def _messages(body: JsonObject) -> Iterator[Place]:
    for message in as_objects(body.get("messages")):
        for block in as_objects(message.get("content")):
            if str(block.get("type")).endswith("tool_use"):
                yield Place(block, "id", True)
            yield Place(block, "tool_use_id", False)
            yield Place(as_object(block.get("caller")), "tool_id", False)


def _none(body: JsonObject) -> Iterator[Place]:
    return iter(())


_PLACES = {
    "openai.chat": _chat,
    "openai.responses": _responses,
    "openai.embeddings": _none,
    "anthropic.messages": _messages,
    "plain": _none,
}
