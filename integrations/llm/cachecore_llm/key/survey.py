"""One walk over a whole body: the texts in it, which objects of the provider it names, how deep it is."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from cachecore_llm.wire.call import JsonObject, UnreadableRequestError
from cachecore_llm.wire.objects import MAX_DEPTH

OBJECT_FIELDS: Final = frozenset(
    {
        *("previous_response_id", "previous_message_id", "conversation", "container", "container_id"),
        *("file_id", "file_ids", "vector_store_ids", "skill_id", "tunnel_id", "connector_id", "memory_store_id"),
    }
)
"""Fields with the id, or a list of ids, of something that the provider keeps for its customer."""

_TYPES: Final = frozenset({"item_reference", "reasoning"})
"""Types of items with such an id in `id`."""

_POINTERS: Final = OBJECT_FIELDS | {"audio", "id", "prompt"}


class Survey(NamedTuple):
    """The result of a walk over a body."""

    texts: list[str]
    """Each text, as a value or as a name of a field, as often as it occurs."""
    objects: frozenset[str]
    """Names of the fields that name objects of the provider, such as `file_id`."""


def survey(protocol: str, body: JsonObject) -> Survey:
    """Return the survey of `body`. O(its size). Raises UnreadableRequestError if it nests too deeply."""
    texts: list[str] = []
    objects: set[str] = set()
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for outer in level:
            inner = outer
            if isinstance(outer, dict):
                texts += outer
                inner = outer.values()
                if not _POINTERS.isdisjoint(outer):
                    objects.update(_objects(outer))
            for one in inner:
                if isinstance(one, str):
                    texts.append(one)
                elif isinstance(one, (dict, list)):
                    below.append(one)
        if not below:
            return Survey(texts, frozenset(objects))
        level = below
    raise UnreadableRequestError(protocol, "the body", f"nested at most {MAX_DEPTH} deep", "a deeper one")


def _objects(value: JsonObject) -> list[str]:
    found = [name for name in OBJECT_FIELDS & value.keys() if _names_one(value[name])]
    if value.get("type") in _TYPES and isinstance(value.get("id"), str):
        found.append("id")
    prompt, audio = value.get("prompt"), value.get("audio")
    found += [name for name, one in (("prompt", prompt), ("audio", audio)) if isinstance(one, dict) and one.get("id")]
    return found


def _names_one(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(one, str) for one in value)
    return isinstance(value, str) and value != ""
