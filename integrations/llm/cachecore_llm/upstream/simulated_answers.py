"""What a simulation says: calls of the tools that it is offered, and vectors drawn from the texts. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Iterator
from typing import Any, Final

from cachecore_llm.wire import JsonObject
from cachecore_llm.wire.facts import as_object, as_objects
from cachecore_llm.wire.objects import dump_text

_DIMENSIONS: Final = 64
_SAMPLES: Final = {"string": "simulated", "integer": 1, "number": 1.0, "boolean": True, "array": [], "null": None}


def last_text(messages: Any) -> str:
    """Return the text of the last message, the only one that a simulation answers."""
    turns = as_objects(messages)
    content = turns[-1].get("content") if turns else None
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in as_objects(content) if isinstance(part.get("text"), str))


def tool_calls_of(body: JsonObject) -> list[JsonObject]:
    """Return the calls with which a chat request is answered: one of the first function, if the user spoke last."""
    turns, choice = as_objects(body.get("messages")), body.get("tool_choice")
    if choice == "none" or not turns or turns[-1].get("role") != "user":
        return []
    functions = [as_object(tool.get("function")) for tool in as_objects(body.get("tools"))]
    wanted = as_object(as_object(choice).get("function")).get("name")
    for function in functions:
        if function.get("name") and wanted in (None, function["name"]):
            arguments = _sample(as_object(function.get("parameters")))
            identity = hashlib.sha256(dump_text([turns, function["name"]]).encode()).hexdigest()[:24]
            return [{"id": f"call_{identity}", "name": function["name"], "arguments": dump_text(arguments)}]
    return []


def _sample(schema: JsonObject) -> Any:
    """Return a value of a simple JSON schema."""
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "object" or "properties" in schema:
        required = schema.get("required") or ()
        fields = as_object(schema.get("properties"))
        return {name: _sample(as_object(inner)) for name, inner in fields.items() if name in required}
    kind = schema.get("type")
    return _SAMPLES.get(kind) if isinstance(kind, str) else None


def embeddings_of(body: JsonObject, model: str) -> JsonObject:
    """Return the body of embeddings: for equal inputs equal vectors of length 1, otherwise unlike ones."""
    dimensions = body.get("dimensions") or _DIMENSIONS
    inputs = list(_inputs(body.get("input")))
    data: list[JsonObject] = []
    for index, one in enumerate(inputs):
        vector = _vector(dump_text(one), dimensions)
        embedding: Any = list(vector)
        if body.get("encoding_format") == "base64":
            embedding = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    tokens = sum(len(one) if isinstance(one, list) else max(1, len(one) // 4) for one in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model") or model, "usage": usage}


def _inputs(given: Any) -> Iterator[Any]:
    """Yield the inputs; a list of token ids is one."""
    if isinstance(given, list) and not (given and all(type(token) is int for token in given)):
        yield from given
    else:
        yield given


def _vector(text: str, dimensions: int) -> list[float]:
    drawn = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(2 * dimensions)
    values = [float(value) for (value,) in struct.iter_unpack("<h", drawn)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]
