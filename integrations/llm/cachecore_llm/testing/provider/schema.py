"""One deterministic instance of a JSON schema, for structured output and the arguments of tool calls. Pure.

Covers the subset that strict structured output allows: objects, arrays, scalars with their bounds, enum, const, anyOf,
oneOf, allOf of objects, `$ref` into the same schema, and the common string formats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

_MAX_DEPTH: Final = 24
_SHALLOW: Final = 6  # below this depth arrays are empty and a null is preferred
_MAX_VALUES: Final = 10_000
_MAX_LENGTH: Final = 10_000
_MAX_NUMBER: Final = 2**53
_FORMATS: Final = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "duration": "P1D",
    "email": "someone@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "12345678-1234-4234-8234-123456789abc",
    "uri": "https://example.org/",
}


class SchemaError(ValueError):
    """A schema of which no instance can be made. The message names the place and the reason."""


def instance(schema: Any, seed: str) -> Any:
    """Return an instance of `schema`; equal seeds give equal ones. Raises SchemaError."""
    return _Maker(schema, seed).make(schema, "$", 0)


def _word(schema: Mapping[str, Any], name: str, kind: type[Any] | tuple[type[Any], ...], usual: Any, place: str) -> Any:
    """Return the value of a keyword, `usual` if absent. Raises SchemaError for another type."""
    value = schema.get(name, usual)
    if not isinstance(value, kind) or (isinstance(value, bool) and value is not usual):
        raise SchemaError(f"{place}: {name} has the wrong type {type(value).__name__}")
    return value


def _length(schema: Mapping[str, Any], name: str, usual: int, place: str) -> int:
    value: int = _word(schema, name, int, usual, place)
    if not 0 <= value <= _MAX_LENGTH:
        raise SchemaError(f"{place}: {name} must be from 0 to {_MAX_LENGTH:,}, not {value}")
    return value


class _Maker:
    """Makes one instance within bounds of depth and number."""

    def __init__(self, root: Any, seed: str) -> None:
        self._root = root
        self._seed = seed
        self._left = _MAX_VALUES

    def _choice(self, place: str, below: int) -> int:
        return int.from_bytes(hashlib.sha256(f"{self._seed}{place}".encode("utf-8", "replace")).digest()[:6]) % below

    def _resolved(self, reference: str, place: str) -> Any:
        found = self._root
        for part in reference.removeprefix("#").split("/"):
            if part:
                name = part.replace("~1", "/").replace("~0", "~")
                found = found.get(name) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping) or not reference.startswith("#"):
            raise SchemaError(f"{place}: {reference!r} does not lead to a schema in the same document")
        return found

    def make(self, schema: Any, place: str, depth: int) -> Any:
        """Return an instance of the part of the schema that describes `place`."""
        self._left -= 1
        if depth > _MAX_DEPTH or self._left < 0:
            raise SchemaError(
                f"{place}: nested deeper than {_MAX_DEPTH}, or more than {_MAX_VALUES:,} values; "
                "a schema that contains itself needs an end, such as null"
            )
        if schema is True or schema == {}:
            return None
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{place}: a schema is an object, not {type(schema).__name__}")
        if "$ref" in schema:
            return self.make(self._resolved(_word(schema, "$ref", str, "", place), place), place, depth + 1)
        if "const" in schema:
            return schema["const"]
        if values := _word(schema, "enum", list, [], place):
            return values[self._choice(place, len(values))]
        for word in ("anyOf", "oneOf"):
            if options := _word(schema, word, list, [], place):
                return self._one_of(options, place, depth)
        if parts := _word(schema, "allOf", list, [], place):
            return self._all_of(parts, place, depth)
        return self._typed(schema, place, depth)

    def _one_of(self, options: list[Any], place: str, depth: int) -> Any:
        """Return an instance of the seed's choice, or of the next option of which one can be made."""
        start = self._choice(place, len(options))
        ordered = options[start:] + options[:start]
        if depth > _SHALLOW:  # null ends a schema that contains itself
            ordered = sorted(options, key=lambda option: option != {"type": "null"})
        problem: SchemaError | None = None
        for option in ordered:
            try:
                return self.make(option, place, depth + 1)
            except SchemaError as error:
                problem = problem or error
        raise problem or SchemaError(f"{place}: no option")

    def _all_of(self, parts: list[Any], place: str, depth: int) -> Any:
        merged = [self.make(part, place, depth + 1) for part in parts]
        if len(merged) == 1:
            return merged[0]
        if all(isinstance(part, dict) for part in merged):
            return {name: value for part in merged for name, value in part.items()}
        raise SchemaError(f"{place}: allOf of anything but objects is not supported")

    def _typed(self, schema: Mapping[str, Any], place: str, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else None)
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind == "object":
            properties = _word(schema, "properties", Mapping, {}, place)
            return {name: self.make(part, f"{place}.{name}", depth + 1) for name, part in properties.items()}
        if kind == "array":
            count = _length(schema, "minItems", 0 if depth > _SHALLOW else 2, place)
            count = min(count, _length(schema, "maxItems", count, place))
            return [self.make(schema.get("items", {}), f"{place}[{n}]", depth + 1) for n in range(count)]
        if kind == "string":
            return self._string(schema, place)
        if kind in ("integer", "number"):
            return self._number(schema, kind, place)
        if kind == "boolean":
            return self._choice(place, 2) == 1
        if kind in ("null", None):
            return None
        raise SchemaError(f"{place}: unknown type {kind!r}")

    def _string(self, schema: Mapping[str, Any], place: str) -> str:
        if "pattern" in schema:
            raise SchemaError(f"{place}: pattern is not supported; tell the answer by [[say …]]")
        if (form := _word(schema, "format", str, "", place)) in _FORMATS:
            return _FORMATS[form]
        text = f"{place.rpartition('.')[2]} {self._choice(place, 1000)}"
        text = text.ljust(_length(schema, "minLength", 0, place), ".")
        return text[: _length(schema, "maxLength", _MAX_LENGTH, place)]

    def _number(self, schema: Mapping[str, Any], kind: str, place: str) -> int | float:
        def bound(name: str, usual: float) -> float:
            value: float = _word(schema, name, (int, float), usual, place)
            if not abs(value) <= _MAX_NUMBER:
                raise SchemaError(f"{place}: {name} must be within ±{_MAX_NUMBER:,}, not {value}")
            return value

        step = bound("multipleOf", 1 if kind == "integer" else 0.5)
        if step <= 0:
            raise SchemaError(f"{place}: multipleOf must be more than 0, not {step}")
        usual = bound("maximum", 0) - 10 * step if "maximum" in schema else 0
        low = bound("minimum", bound("exclusiveMinimum", usual))
        first = -(-low // step) * step  # the first multiple that is not below
        if "exclusiveMinimum" in schema and first == schema["exclusiveMinimum"]:
            first += step
        high = bound("maximum", bound("exclusiveMaximum", min(first + 100 * step, _MAX_NUMBER)))
        room = int((high - first) // step) + ("exclusiveMaximum" not in schema)
        if room < 1:
            raise SchemaError(f"{place}: no multiple of {step} lies within its bounds")
        value = first + step * self._choice(place, min(room, 100))
        return int(value) if kind == "integer" else float(value)
