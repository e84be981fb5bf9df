"""JSON schemas: the order of `properties` counts, the order of every other object does not.

Models write the fields of an answer in the order of the schema's properties. A field for the reasoning before the field
for the result is another request than the same fields the other way round.
"""

from __future__ import annotations

from typing import Any, Final

_ONE: Final = frozenset(
    {"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then", "unevaluatedItems"}
)
_LISTS: Final = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
_NAMED: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties"})


def ordered(schema: Any) -> Any:
    """Return `schema` with every `properties` of it, and of the schemas inside it, as a list in their order."""
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            made[key] = [b"ordered", *([name, ordered(inner)] for name, inner in value.items())]
        elif key in _NAMED and isinstance(value, dict):
            made[key] = {name: ordered(inner) for name, inner in value.items()}
        elif key in _LISTS and isinstance(value, list):
            made[key] = [ordered(inner) for inner in value]
        else:
            made[key] = ordered(value) if key in _ONE else value
    return made
