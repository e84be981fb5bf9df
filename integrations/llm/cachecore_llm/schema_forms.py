"""The form of an answer that is given as a class, as chat completions take it."""

from __future__ import annotations

import re
from typing import Any

from cachecore.contract.errors import OptionsError
from cachecore_llm.wire import JsonObject


def response_format(model: type) -> JsonObject:
    """Return the `response_format` that asks for an answer of a pydantic class. Raises OptionsError if it is none."""
    make = getattr(model, "model_json_schema", None)
    if not callable(make):
        raise OptionsError(f"response_format must be an object or a pydantic class, not the class {model.__name__}")
    name = re.sub(r"[^\w-]", "_", model.__name__)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": _closed(make()), "strict": True}}


def _closed(schema: Any) -> Any:
    """Return a schema with objects of exactly the listed properties, as `strict` demands."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed(value) for name, value in schema.items() if name != "default"}
    properties = made.get("properties")
    if made.get("type") == "object" and isinstance(properties, dict):
        made["required"] = list(properties)
        made["additionalProperties"] = False
    return made
