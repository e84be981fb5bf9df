"""The messages of a chat request as Anthropic's system prompt and turns."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
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
"""Fields of a message that are carried over; and those of an earlier answer that a model does not read again."""

_MARKS: Final = ("cache_control", "prompt_cache_breakpoint")
"""Marks for the provider's prompt cache. Anthropic's own is kept, OpenAI's means nothing there."""


def turns_of(messages: Any) -> tuple[list[JsonObject], list[JsonObject]]:
    """Return the system prompt as blocks, and the turns. Raises UnsupportedRequestError naming the part at fault."""
    system: list[JsonObject] = []
    turns: list[JsonObject] = []
    for place, message in enumerate(_list(messages, "messages")):
        path = f"messages[{place}]"
        role = _object(message, path).get("role")
        if role in ("system", "developer"):
            if turns:
                raise unsupported(f"{path} of the {role} after the first turn")
            system += [_text(part, path) for part in _parts(message.get("content"), path)]
            continue
        if not isinstance(role, str) or role not in _KNOWN:
            raise unsupported(f"{path} of the role {role!r}")
        _only(message, _KNOWN[role], path)
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


def _object(value: Any, path: str) -> JsonObject:
    if not isinstance(value, dict):
        raise unsupported(f"{path} that is no object")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise unsupported(f"{path} that is no list")
    return list(value)


def _only(value: JsonObject, known: Collection[str], path: str) -> None:
    """Raise UnsupportedRequestError if `value` has a field that would be lost."""
    strange = sorted(name for name, inner in value.items() if inner is not None and name not in known)
    if strange:
        raise unsupported(f"{path}.{strange[0]}")


def _parts(content: Any, path: str) -> list[JsonObject]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_object(part, f"{path}.content[{place}]") for place, part in enumerate(_list(content, f"{path}.content"))]


def marked(made: JsonObject, given: JsonObject) -> JsonObject:
    """Return `made` with the mark for the provider's prompt cache that `given` has."""
    return {**made, "cache_control": given["cache_control"]} if given.get("cache_control") is not None else made


def _text(part: JsonObject, path: str) -> JsonObject:
    if part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise unsupported(f"{path} with content of type {part.get('type')!r}")
    _only(part, ("type", "text", *_MARKS), f"{path}.content")
    return marked({"type": "text", "text": part["text"]}, part)


def _content(content: Any, path: str) -> Any:
    return content if isinstance(content, str) else [_part(part, path) for part in _parts(content, path)]


def _part(part: JsonObject, path: str) -> JsonObject:
    kind = part.get("type")
    if kind == "image_url":
        _only(part, ("type", "image_url", *_MARKS), f"{path}.content")
        image = _object(part.get("image_url"), f"{path} with a picture")
        if image.get("detail") not in (None, "auto"):
            raise unsupported(f"{path} with detail={image['detail']!r} of a picture")
        _only(image, ("url", "detail"), f"{path}.content.image_url")
        return marked({"type": "image", "source": _source(image.get("url"), path)}, part)
    if kind == "file":
        _only(part, ("type", "file", *_MARKS), f"{path}.content")
        file = _object(part.get("file"), f"{path} with a file")
        _only(file, ("file_data", "filename"), f"{path}.content.file")
        document: JsonObject = {"type": "document", "source": _source(file.get("file_data"), path)}
        if file.get("filename"):
            document["title"] = file["filename"]
        return marked(document, part)
    return _text(part, path)


def _source(url: Any, path: str) -> JsonObject:
    match = _DATA_URL.match(url) if isinstance(url, str) else None
    if match is not None:
        return {"type": "base64", "media_type": match[1], "data": url[match.end() :]}
    if isinstance(url, str) and url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    raise unsupported(f"{path} with media that are neither base64 nor at an address")


def _answer(message: JsonObject, path: str) -> Any:
    """Return the content of an earlier answer of the model."""
    calls = _list(message.get("tool_calls") or [], f"{path}.tool_calls")
    spoken = message.get("content") or message.get("refusal") or ""
    if not calls and isinstance(spoken, str):
        return spoken
    blocks = [_refused(part) or _text(part, path) for part in _parts(spoken, path)]
    return [*blocks, *(_call(call, f"{path}.tool_calls[{place}]") for place, call in enumerate(calls))]


def _refused(part: JsonObject) -> JsonObject | None:
    refusal = part.get("refusal")
    return {"type": "text", "text": refusal} if part.get("type") == "refusal" and isinstance(refusal, str) else None


def _call(call: Any, path: str) -> JsonObject:
    function = _object(call, path).get("function")
    if call.get("type", "function") != "function" or not isinstance(function, dict):
        raise unsupported(f"{path} of type {call.get('type')!r}")
    _only(call, ("id", "type", "function", "index"), path)
    _only(function, ("name", "arguments"), f"{path}.function")
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (TypeError, ValueError, RecursionError):
        raise unsupported(f"{path} with arguments that are no JSON") from None
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments}


def _result(message: JsonObject, path: str) -> JsonObject:
    content = _content(message.get("content"), path)
    return {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": content}


def unsupported(field: str) -> UnsupportedRequestError:
    """Return the error for a field that has no equal in Anthropic's messages."""
    return UnsupportedRequestError(
        f"{field} has no equal in Anthropic's messages; leave it out, ask in the protocol anthropic.messages, or name "
        f"it in drop= of AnthropicProvider to answer without it"
    )
