"""A request in terms that all protocols share. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from cachecore_llm.testing.provider.directives import Directives, parse
from cachecore_llm.testing.provider.fields import RejectedError

_TOKEN: Final = re.compile(r"\s*\S+|\s+$")
_DATA_URL: Final = re.compile(r"data:([\w.+/-]*)(?:;[\w=.-]+)*?;base64,(.*)", re.DOTALL)
_MEDIUM_TOKENS: Final = 85
_UNKEYED: Final = frozenset(
    (
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "service_tier",
        "store",
    )
)
"""Fields that do not shape an answer: the derived text must not depend on them."""
_MARKS: Final = frozenset(("cache_control", "prompt_cache_breakpoint"))


@dataclass(frozen=True, slots=True)
class Medium:
    """A picture, sound or file inside a request. `text` is its type, size and digest, or its address."""

    text: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that the request offers."""

    name: str
    schema: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request as read by its protocol."""

    body: dict[str, Any]
    model: str
    prompt: str
    """The text of the last user message without directives; empty after a tool's result."""
    directives: Directives
    stream: bool
    seed: str
    """Hex digest of everything that shapes the answer."""
    prompt_tokens: int
    media: tuple[Medium, ...] = ()
    results: int = 0
    """Results of tools since the last user message."""
    tools: tuple[Offer, ...] = ()
    forced: Offer | None = None
    """The tool that must be called."""
    schema: Any = None
    """The JSON schema that the text has to follow; an empty one for any object; None for free text."""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    reasons: bool = False
    """Reasoning was asked for, and is shown or counted."""
    choices: int = 1
    logprobs: int | None = None
    """How many alternatives are listed with each token's log probability; None: no log probabilities."""
    spoken: bool = False
    """The answer is sound."""
    included: tuple[str, ...] = ()
    """Further parts of an answer that were asked for."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """How to stream."""


def tokens(text: str) -> list[str]:
    """Split `text` into tokens: words with the white space before them. Joined they are the text."""
    return _TOKEN.findall(text)


def pieces(text: str, count: int | None) -> list[str]:
    """Split `text` into `count` pieces that differ by at most one token (or character) in length; None: one a token.

    An empty text has none.
    """
    parts: Sequence[str] = tokens(text)
    if count is None or not parts:
        return list(parts)
    if count > len(parts):
        parts = text
    count = max(1, min(count, len(parts)))
    bounds = [len(parts) * n // count for n in range(count + 1)]
    return ["".join(parts[low:high]) for low, high in itertools.pairwise(bounds)]


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unmarked(part) for name, part in value.items() if name not in _MARKS}
    if isinstance(value, list):
        return [_unmarked(part) for part in value]
    return value


def seed_of(body: Mapping[str, Any]) -> str:
    """Return the digest of the fields that shape an answer."""
    shaping = _unmarked({name: part for name, part in body.items() if name not in _UNKEYED})
    return hashlib.sha256(msgspec.json.encode(shaping, order="sorted")).hexdigest()


def _digest(data: str, kind: str, param: str) -> Medium:
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise RejectedError(400, f"Invalid base64 data in {param}.", param=param, kind="invalid_base64") from None
    return Medium(f"{kind or 'data'}, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:16]}")


def _address(url: str, param: str) -> Medium:
    if (data := _DATA_URL.fullmatch(url)) is not None:
        return _digest(data[2], data[1], param)
    return Medium(url)


def _media(value: Any) -> Iterator[Medium]:
    """Return the media in the content of messages, in their order; URLs are not fetched."""
    if isinstance(value, list):
        for part in value:
            yield from _media(part)
    elif isinstance(value, dict):
        source, url = value.get("source"), value.get("image_url")
        if isinstance(source, dict) and isinstance(source.get("data"), str) and source.get("type") == "base64":
            yield _digest(source["data"], str(source.get("media_type", "")), "source.data")
        elif isinstance(source, dict) and isinstance(source.get("url"), str):
            yield Medium(source["url"])
        elif isinstance(url, str):
            yield _address(url, "image_url")
        elif isinstance(url, dict) and isinstance(url.get("url"), str):
            yield _address(url["url"], "image_url.url")
        elif isinstance(sound := value.get("input_audio"), dict) and isinstance(sound.get("data"), str):
            yield _digest(sound["data"], f"audio/{sound.get('format', '')}", "input_audio.data")
        elif isinstance(data := value.get("file_data"), str):
            yield _address(data, "file_data")
        else:
            for name in ("content", "file"):
                yield from _media(value.get(name))


def media_of(messages: Any) -> tuple[Medium, ...]:
    """Return the media of a conversation. Raises RejectedError for data that is no base64."""
    return tuple(_media(messages))


def texts(value: Any) -> Iterator[str]:
    """Yield the texts of messages: contents, not names, ids or data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, dict):
        for name in ("text", "content", "output", "arguments"):
            yield from texts(value.get(name))


def count_tokens(*parts: Any, media: int = 0) -> int:
    """Return the number of tokens in messages, instructions and so on; at least 1."""
    return max(1, sum(len(tokens(text)) for part in parts for text in texts(part)) + media * _MEDIUM_TOKENS)


def last_user_text(items: Any) -> tuple[str, int]:
    """Return the text of the last user message and the number of tool results after it.

    Directives of a message that a tool has answered since are done: else a tool call would be told again for ever.
    """
    results = 0
    listed: list[Any] = items if isinstance(items, list) else []
    for item in reversed(listed):
        if not isinstance(item, dict):
            continue
        content: Any = item.get("content")
        answered = (
            [part for part in content if isinstance(part, dict) and part.get("type") == "tool_result"]
            if isinstance(content, list)
            else []
        )
        if item.get("role") in ("tool", "function") or str(item.get("type", "")).endswith("_call_output"):
            results += 1
        elif item.get("role") == "user":
            if results + len(answered):
                return "", results + len(answered)
            return "\n".join(texts(content)), 0
    return "", results


def directed(text: str, base: Directives | None, header: str) -> tuple[Directives, str]:
    """Return the directives of a request and its text without them; `base` None: none are read."""
    if base is None:
        return Directives(), text
    told, rest = parse(text, base)
    return parse(header, told)[0], rest


def forced(name: str | None, tools: tuple[Offer, ...]) -> Offer | None:
    """Return the offered tool of that name, the first one for None. Raises RejectedError for one not offered."""
    for offer in tools:
        if name in (None, offer.name):
            return offer
    raise RejectedError(400, f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
