"""Reading fields of a request body: absent and null are alike, a wrong type is an error that names the field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cachecore_llm.wire.call import JsonObject, MediaKind, UnreadableRequestError

_MAY_REQUIRE: Final = (
    *("$ref", "$dynamicRef", "$recursiveRef"),
    *("allOf", "anyOf", "oneOf", "not", "if", "const", "enum"),
)
"""Keywords in the schema of an object that one without fields may break, beside the two that name or count fields."""


def requires_any(parameters: Any) -> bool:
    """Return whether the JSON schema of a tool's parameters requires any of them, or may: False is sure. O(1)."""
    if not isinstance(parameters, dict):
        return parameters is not None
    if parameters.get("required") or parameters.get("minProperties"):
        return True
    return any(parameters.get(keyword) is not None for keyword in _MAY_REQUIRE)


class Reader:
    """The fields of one request body of `protocol`."""

    __slots__ = ("_body", "_protocol")

    def __init__(self, protocol: str, body: Any) -> None:
        self._protocol = protocol
        if not isinstance(body, dict):
            raise self._wrong("the body", "an object", body)
        self._body: JsonObject = body

    def _wrong(self, path: str, expected: str, value: Any) -> UnreadableRequestError:
        return UnreadableRequestError(self._protocol, path, expected, type(value).__name__)

    def text(self, field: str) -> str | None:
        """Return a field that is text, None if it is absent."""
        value = self._body.get(field)
        if value is not None and not isinstance(value, str):
            raise self._wrong(field, "text", value)
        return value

    def flag(self, field: str) -> bool:
        """Return a field that is true or false, False if it is absent."""
        value = self._body.get(field)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(field, "true or false", value)
        return bool(value)

    def count(self, field: str) -> int | None:
        """Return a field that is a whole number of 0 or more, None if it is absent."""
        value = self._body.get(field)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is not None and (type(value) is not int or value < 0):
            raise self._wrong(field, "a whole number of 0 or more", value)
        return value

    def bound(self, field: str) -> int | None:
        """Return a field that bounds the answer's tokens, None if it is absent or negative: -1 stands for no bound.

        Servers of open models (llama.cpp, LM Studio) have it so.
        """
        value = self._body.get(field)
        return None if type(value) is int and value < 0 else self.count(field)

    def object(self, field: str) -> JsonObject | None:
        """Return a field that is an object, None if it is absent."""
        value = self._body.get(field)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(field, "an object", value)
        return value

    def objects(self, field: str) -> list[JsonObject]:
        """Return a field that is a list of objects, an empty list if it is absent."""
        value = self._body.get(field)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(field, "a list of objects", value)
        for place, entry in enumerate(value):
            if not isinstance(entry, dict):
                raise self._wrong(f"{field}[{place}]", "an object", entry)
        return value

    def strings(self, field: str) -> list[str]:
        """Return a field that is a list of texts, an empty list if it is absent."""
        value = self._body.get(field)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self._wrong(field, "a list of texts", value)
        return value

    @staticmethod
    def media(parts: Iterable[JsonObject], kinds: Mapping[str, MediaKind]) -> frozenset[MediaKind]:
        """Return the kinds of media among content parts; `kinds` gives them by the type of a part."""
        types = (part.get("type") for part in parts)
        return frozenset(kinds[kind] for kind in types if isinstance(kind, str) and kind in kinds)

    @staticmethod
    def parts(messages: Iterable[JsonObject], *, inside: str = "content") -> Iterator[JsonObject]:
        """Yield the content parts of messages, those inside results of tools included."""
        for message in messages:
            content = message.get(inside)
            if isinstance(content, list):
                for part in content:
                    if isinstance(part, dict):
                        yield part
                        yield from Reader.parts([part], inside=inside)
