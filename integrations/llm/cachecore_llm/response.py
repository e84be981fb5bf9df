"""What an LLM answered, and how it came to the caller. Immutable all the way down, so that callers may share it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal

import msgspec

CacheStatus = Literal["miss", "hit", "stale", "similar", "joined", "bypass"]
"""`miss`: computed just now, by this caller. `joined`: computed just now by another caller that asked the same at the
same time; this one waited and paid nothing. `hit`: from the cache, fresh. `stale`: the same request's answer past its
ttl. `similar`: the answer to another, similar question. `bypass`: the cache was not asked."""

FROM_CACHE: Final = frozenset({"hit", "stale", "similar", "joined"})
"""Statuses of answers that this caller did not pay for."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens that the provider counted for the computation; a cached answer used them once, not again."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt: read from the provider's own prompt cache."""
    reasoning_tokens: int = 0
    """Of the completion: reasoning that is not part of the text."""

    @property
    def total_tokens(self) -> int:
        """Return prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def input_tokens(self) -> int:
        """Return `prompt_tokens`, under the name that other providers use."""
        return self.prompt_tokens

    @property
    def output_tokens(self) -> int:
        """Return `completion_tokens`, under the name that other providers use."""
        return self.completion_tokens


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that the model wants called. `arguments` is the JSON text it wrote, which may be invalid JSON."""

    id: str
    name: str
    arguments: str


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of several answers to a request with `n` above 1."""

    content: str
    finish_reason: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    reasoning: str | None = None


class LLMResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer of an LLM.

    The first block is what the provider said, the second how this caller got it. Whoever shows an answer to a person
    should look at `cache_status`: `stale` and `similar` are answers of last resort.
    """

    content: str
    model: str = ""
    provider: str = ""
    """The name of the provider that made it, also when it comes from the cache."""
    usage: Usage | None = None
    """Also taken as a dict or an object of a provider's SDK with the fields of `Usage`, or `input_tokens` and
    `output_tokens`."""
    finish_reason: str | None = None
    """The provider's own word (`stop`, `length`, `tool_calls`, …); None if it gives none. Also taken as an enum or a
    number, which become text."""
    latency: float = 0.0
    """Seconds the provider took to make it; for a cached answer, the seconds that were saved."""
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    """What the model said instead of answering, where the provider tells refusals apart."""
    fallback: bool = False
    """Whether a provider other than the first made it."""
    reasoning: str | None = None
    """What the model thought, as far as the provider shows it."""
    choices: tuple[Choice, ...] = ()
    """All answers, if the request asked for several; the fields above are those of the first."""
    raw: bytes | None = None
    """The provider's answer as JSON. See `body`."""

    cached: bool = False
    """Whether this caller paid nothing for it: it came from the cache, or another caller waited for it too."""
    cache_status: CacheStatus = "miss"
    age: float | None = None
    """Seconds since it was made; None if it was made just now."""
    similarity: float | None = None
    """With `similar`: how alike the two questions are, from the threshold to 1."""
    matched_message: str | None = None
    """With `similar`: the question that this is the answer to."""

    def __post_init__(self) -> None:
        if self.usage is not None and type(self.usage) is not Usage:
            usage = usage_of(self.usage)
            if usage is not None:
                msgspec.structs.force_setattr(self, "usage", usage)
        if self.finish_reason is not None and type(self.finish_reason) is not str:
            msgspec.structs.force_setattr(self, "finish_reason", word_of(self.finish_reason))

    @property
    def body(self) -> dict[str, Any] | None:
        """Return all that the provider said, as the JSON object it sent; None where there is no such object.

        Read anew at each call: a caller may change its own.
        """
        return None if self.raw is None else json.loads(self.raw)

    def __repr__(self) -> str:
        """Show the fields that are given. `raw` says the same again, and is left out."""
        defaults = zip(self.__struct_fields__[1:], self.__struct_defaults__, strict=True)
        given = {name: value for name, default in defaults if (value := getattr(self, name)) != default}
        given.pop("raw", None)
        shown = {"content": self.content, **given}
        return f"LLMResponse({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


_NAMES: Final = (
    ("prompt_tokens", ("prompt_tokens", "input_tokens")),
    ("completion_tokens", ("completion_tokens", "output_tokens")),
    ("cached_tokens", ("cached_tokens", "cache_read_input_tokens")),
    ("reasoning_tokens", ("reasoning_tokens",)),
)


def usage_of(given: Any) -> Usage | None:
    """Return the usage in a dict or an SDK's object, under either pair of names; None if it cannot be read so."""
    counts: dict[str, int] = {}
    for field, names in _NAMES:
        for name in names:
            value = given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
            if value is None:
                continue
            if type(value) is not int:
                return None
            counts.setdefault(field, value)
    return Usage(**counts) if counts else None


def word_of(finish: Any) -> str:
    """Return a finish reason as text: the name of an enum's member, the digits of a number."""
    return finish.name if isinstance(finish, Enum) else str(finish)


def as_made(response: LLMResponse) -> LLMResponse:
    """Return `response` without the marks of how one caller got it."""
    return msgspec.structs.replace(
        response, cached=False, cache_status="miss", age=None, similarity=None, matched_message=None
    )


def marked(response: LLMResponse, status: CacheStatus, age: float | None = None) -> LLMResponse:
    """Return `response` with the marks of how this caller got it."""
    return msgspec.structs.replace(response, cached=status in FROM_CACHE, cache_status=status, age=age)
