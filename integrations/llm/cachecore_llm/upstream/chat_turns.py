"""The messages of a chat request as Anthropic's system prompt and turns."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from cachecore_llm.errors import UnsupportedRequestError
from cachecore_llm.wire import JsonObject

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.ASCII)
_KNOWN: Final[dict[str, frozenset[str]]] = {
    "user": frozenset({"role", "content"}),
    "assistant": frozenset(
        {"role", "content", "tool_calls", "refusal", "annotations", "reasoning_content", "reasoning"}
    ),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
"""Fields of a message that are carried over; and of an earlier answer, what a model does not read again."""


def turns_of(messages: Any) -> tuple[list[JsonObject], list[JsonObject]]:
    """Return the system prompt as blocks, and the turns. Raises UnsupportedRequestError naming what has no equal."""
    system: list[JsonObject] = []
    turns: list[JsonObject] = []
    for place, message in enumerate(messages):
        role, path = message.get("role"), f"messages[{place}]"
        if role in ("system", "developer"):
            if turns:
                raise unsupported(f"{path} of the {role} after the first turn")
            system += [_text(part, path) for part in _parts(message.get("content"))]
            continue
        if role not in _KNOWN:
            raise unsupported(f"{path} of the role {role!r}")
        known = _KNOWN[role]
        if strange := sorted(name for name, value in message.items() if name not in known and value is not None):
            raise unsupported(f"{path}.{strange[0]}")
        if role == "tool":
            result = _result(message, path)
            if turns and turns[-1]["role"] == "user" and _is_results(turns[-1]["content"]):
                turns[-1]["content"].append(result)
            else:
                turns.append({"role": "user", "content": [result]})
        else:
            content = _answer(message, path) if role == "assistant" else _content(message.get("content"), path)
            turns.append({"role": role, "content": content})
    return system, turns


def _is_results(content: Any) -> bool:
    return isinstance(content, list) and all(block["type"] == "tool_result" for block in content)


def _parts(content: Any) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content or ())


def _text(part: JsonObject, path: str) -> JsonObject:
    if part.get("type") != "text":
        raise unsupported(f"{path} with content of type {part.get('type')!r}")
    return {"type": "text", "text": part.get("text") or ""}


def _content(content: Any, path: str) -> Any:
    return content if isinstance(content, str) else [_part(part, path) for part in _parts(content)]


def _part(part: JsonObject, path: str) -> JsonObject:
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url") or {}
        if image.get("detail") not in (None, "auto"):
            raise unsupported(f"{path} with detail={image['detail']!r} of a picture")
        return {"type": "image", "source": _source(image.get("url") or "", path)}
    if kind == "file":
        file = part.get("file") or {}
        if not isinstance(file.get("file_data"), str):
            raise unsupported(f"{path} with a file that OpenAI keeps")
        document: JsonObject = {"type": "document", "source": _source(file["file_data"], path)}
        if file.get("filename"):
            document["title"] = file["filename"]
        return document
    return _text(part, path)


def _source(url: str, path: str) -> JsonObject:
    match = _DATA_URL.match(url)
    if match is not None:
        return {"type": "base64", "media_type": match[1], "data": url[match.end() :]}
    if url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    raise unsupported(f"{path} with media that are neither base64 nor at an address")


def _answer(message: JsonObject, path: str) -> Any:
    """Return the content of an earlier answer of the model."""
    calls = message.get("tool_calls") or ()
    spoken = message.get("content") or message.get("refusal") or ""
    if not calls and isinstance(spoken, str):
        return spoken
    blocks = [_text(part, path) if part.get("type") != "refusal" else _refused(part) for part in _parts(spoken)]
    for place, call in enumerate(calls):
        function = call.get("function")
        if call.get("type", "function") != "function" or not isinstance(function, dict):
            raise unsupported(f"{path}.tool_calls[{place}] of type {call.get('type')!r}")
        try:
            arguments = json.loads(function.get("arguments") or "{}")
        except ValueError:
            raise unsupported(f"{path}.tool_calls[{place}] with arguments that are no JSON") from None
        blocks.append({"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments})
    return blocks


def _refused(part: JsonObject) -> JsonObject:
    return {"type": "text", "text": part.get("refusal") or ""}


def _result(message: JsonObject, path: str) -> JsonObject:
    return {
        "type": "tool_result",
        "tool_use_id": message.get("tool_call_id"),
        "content": _content(message.get("content") or "", path),
    }


def unsupported(field: str) -> UnsupportedRequestError:
    """Return the error for a field that has no equal in Anthropic's messages."""
    return UnsupportedRequestError(
        f"{field} has no equal in Anthropic's messages; leave it out, ask in the protocol anthropic.messages, or name "
        f"it in drop= of AnthropicProvider to answer without it"
    )
