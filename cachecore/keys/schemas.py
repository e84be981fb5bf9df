"""Class objects in a request: a class counts by its name and its JSON schema.

pydantic models and dataclasses and msgspec structs make a JSON schema of themselves. Any other class would be keyed by
its name alone, though its answer depends on its body, so it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from ormsgpack import Ext

from cachecore.keys.classes import class_name
from cachecore.keys.decoded import ClassSchema
from cachecore.keys.tags import Refused

_leaves: Final[WeakKeyDictionary[type, Ext]] = WeakKeyDictionary()

_NAMED_SCHEMAS: Final = ("properties", "$defs", "definitions")
"""Keywords of a JSON schema that hold schemas by name."""


def class_leaf(kind: type) -> Ext:
    """Return the extension of a class object; made once for each class, as it costs about a millisecond.

    Raises:
        Refused: the class has no JSON schema.
    """
    leaf = _leaves.get(kind)
    if leaf is None:
        module, name = class_name(kind)
        try:
            schema = _schema(kind)
            definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
            leaf = _leaves[kind] = ClassSchema(module, name, _ordered(schema, definitions)).leaf()
        except (AttributeError, TypeError, ValueError, NameError, RuntimeError) as error:
            # pydantic and msgspec raise these for a field that has no schema, or that is not resolved yet.
            why = f"which has no JSON schema ({type(error).__name__})"
            raise Refused(f"cannot key the class {module}.{name}, {why}; pass its name, or a dict") from None
    return leaf


def _schema(kind: Any) -> Any:
    if hasattr(kind, "__struct_config__"):
        import msgspec

        return msgspec.json.schema(kind)
    if hasattr(kind, "model_json_schema"):
        return kind.model_json_schema()
    if hasattr(kind, "__pydantic_validator__"):
        import pydantic

        return pydantic.TypeAdapter(kind).json_schema()
    if hasattr(kind, "__fields__") and hasattr(kind, "__private_attributes__"):
        return kind.schema()
    name = ".".join(class_name(kind))
    raise Refused(
        f"cannot key the class {name}: only pydantic models and msgspec structs have a schema; pass its name, or a dict"
    )


def _ordered(node: Any, definitions: Mapping[str, Any], *, named: bool = False) -> Any:
    """Return a schema with the defaults of its sets sorted: their order is another in each process.

    `named`: the keys of `node` are names and no keywords.
    """
    if isinstance(node, list):
        return [_ordered(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if named:
        return {name: _ordered(one, definitions) for name, one in node.items()}
    return {
        word: _default(one, node, definitions)
        if word == "default"
        else _ordered(one, definitions, named=word in _NAMED_SCHEMAS)
        for word, one in node.items()
    }


def _default(value: Any, node: Any, definitions: Mapping[str, Any]) -> Any:
    """Return the default `value` of a schema `node` with every list that stands for a set in one order."""
    if not isinstance(node, dict):
        return value
    if "$ref" in node:
        value = _default(value, definitions.get(node["$ref"].rpartition("/")[2]), definitions)
    for word in ("anyOf", "oneOf", "allOf"):
        for one in node.get(word, ()):
            value = _default(value, one, definitions)
    if isinstance(value, list):
        value = [_default(item, node.get("items"), definitions) for item in value]
        return sorted(value, key=json.dumps) if node.get("uniqueItems") else value
    if isinstance(value, dict):
        fields, others = node.get("properties", {}), node.get("additionalProperties")
        return {name: _default(field, fields.get(name, others), definitions) for name, field in value.items()}
    return value
