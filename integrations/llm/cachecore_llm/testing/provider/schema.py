"""One deterministic instance of a JSON schema, for structured output and the arguments of tool calls. Pure.

Covers the subset that strict structured output allows: objects, arrays, scalars with their bounds, enum, const, anyOf,
oneOf, allOf of objects, `$ref` into the same schema, and the common string formats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

_MAX_DEPTH: Final = 24
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
    return _of(schema, schema, seed, "$", 0)


def _number(seed: str, place: str, below: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}{place}".encode()).digest()[:6]) % below


def _resolved(root: Any, reference: str, place: str) -> Any:
    found = root
    for part in reference.removeprefix("#").split("/"):
        if part:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not reference.startswith("#"):
        raise SchemaError(f"{place}: {reference!r} does not lead to a schema in the same document")
    return found


def _of(root: Any, schema: Any, seed: str, place: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise SchemaError(
            f"{place}: nested deeper than {_MAX_DEPTH}; a schema that contains itself needs an end, such as null"
        )
    if schema is True or schema == {}:
        return None
    if not isinstance(schema, Mapping):
        raise SchemaError(f"{place}: a schema is an object, not {type(schema).__name__}")
    if isinstance(reference := schema.get("$ref"), str):
        return _of(root, _resolved(root, reference, place), seed, place, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(values := schema.get("enum"), list) and values:
        return values[_number(seed, place, len(values))]
    for word in ("anyOf", "oneOf"):
        if isinstance(options := schema.get(word), list) and options:
            return _first_finite(root, options, seed, place, depth)
    if isinstance(parts := schema.get("allOf"), list):
        merged = [_of(root, part, seed, place, depth + 1) for part in parts]
        if len(merged) == 1:
            return merged[0]
        if all(isinstance(part, dict) for part in merged):
            return {name: value for part in merged for name, value in part.items()}
        raise SchemaError(f"{place}: allOf of anything but objects is not supported")
    return _typed(root, schema, seed, place, depth)


def _first_finite(root: Any, options: list[Any], seed: str, place: str, depth: int) -> Any:
    """Return an instance of the seed's choice, or of the next option where that one contains itself without an end."""
    start = _number(seed, place, len(options))
    problem: SchemaError | None = None
    # Deep down, null ends a schema that contains itself; further up any option may be taken.
    ordered = (
        sorted(options, key=lambda option: option != {"type": "null"})
        if depth > 6
        else options[start:] + options[:start]
    )
    for option in ordered:
        try:
            return _of(root, option, seed, place, depth + 1)
        except SchemaError as error:
            problem = error
    raise problem or SchemaError(f"{place}: no option")


def _typed(root: Any, schema: Mapping[str, Any], seed: str, place: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else None)
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _of(root, part, seed, f"{place}.{name}", depth + 1) for name, part in properties.items()}
    if kind == "array":
        count = int(schema.get("minItems", 0 if depth > 6 else 2))
        count = min(count, int(schema.get("maxItems", count)))
        return [_of(root, schema.get("items", {}), seed, f"{place}[{n}]", depth + 1) for n in range(min(count, 100))]
    if kind == "string":
        return _string(schema, seed, place)
    if kind in ("integer", "number"):
        return _numeric(schema, kind, seed, place)
    if kind == "boolean":
        return _number(seed, place, 2) == 1
    if kind in ("null", None):
        return None
    raise SchemaError(f"{place}: unknown type {kind!r}")


def _string(schema: Mapping[str, Any], seed: str, place: str) -> str:
    if "pattern" in schema:
        raise SchemaError(f"{place}: pattern is not supported; tell the answer by [[say …]]")
    if (form := schema.get("format")) in _FORMATS:
        return _FORMATS[form]
    text = f"{place.rpartition('.')[2]} {_number(seed, place, 1000)}"
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _numeric(schema: Mapping[str, Any], kind: str, seed: str, place: str) -> int | float:
    step = schema.get("multipleOf", 1 if kind == "integer" else 0.5)
    low = schema.get(
        "minimum", schema.get("exclusiveMinimum", 0 if "maximum" not in schema else schema["maximum"] - 10 * step)
    )
    first = -(-low // step) * step  # the first multiple that is not below
    if first == schema.get("exclusiveMinimum"):
        first += step
    high = schema.get("maximum", schema.get("exclusiveMaximum", first + 100 * step))
    room = int((high - first) // step) + ("exclusiveMaximum" not in schema)
    if room < 1:
        raise SchemaError(f"{place}: no multiple of {step} lies within its bounds")
    value = first + step * _number(seed, place, min(room, 100))
    return int(value) if kind == "integer" else float(value)
