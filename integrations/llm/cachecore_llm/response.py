"""What an LLM answered, and how it came to the caller. Immutable all the way down, so that callers may share it."""

from __future__ import annotations

import contextlib
from typing import Literal

import msgspec

CacheStatus = Literal["miss", "hit", "stale", "similar", "bypass"]
"""`miss`: computed just now, by this caller or one that asked the same at the same time. `hit`: from the cache, fresh.
`stale`: the same request's answer past its ttl. `similar`: the answer to another, similar question. `bypass`: the cache
is switched off."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens that the provider counted for the computation; a cached answer used them once, not again."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Return prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class ToolCall(msgspec.Struct, frozen=True):
    """A tool that the model wants called. `arguments` is the JSON text it wrote, which may be invalid JSON."""

    id: str
    name: str
    arguments: str


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
    """Also taken as a dict or an object of a provider's SDK with the fields of `Usage`."""
    finish_reason: str | None = None
    """The provider's own word (`stop`, `length`, `tool_calls`, …); None if it gives none."""
    latency: float = 0.0
    """Seconds the provider took to make it; for a cached answer, the seconds that were saved."""
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    """What the model said instead of answering, where the provider tells refusals apart."""
    fallback: bool = False
    """Whether a provider other than the first made it."""

    cached: bool = False
    cache_status: CacheStatus = "miss"
    age: float | None = None
    """Seconds since it was made; None if it was made just now."""
    similarity: float | None = None
    """With `similar`: how alike the two questions are, from the threshold to 1."""
    matched_message: str | None = None
    """With `similar`: the question that this is the answer to."""

    def __post_init__(self) -> None:
        if self.usage is not None and type(self.usage) is not Usage:
            with contextlib.suppress(msgspec.ValidationError):
                usage = msgspec.convert(self.usage, Usage, from_attributes=True)
                msgspec.structs.force_setattr(self, "usage", usage)


class StoredAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What lies in the store: the answer as it was made, and the question it answers.

    The question is in the payload and not in the entry's header, because a payload can be encrypted.
    """

    response: LLMResponse
    user_message: str | None = None
    """None if it is too long to be matched with others."""


def as_made(response: LLMResponse) -> LLMResponse:
    """Return `response` without the marks of how one caller got it."""
    return msgspec.structs.replace(
        response, cached=False, cache_status="miss", age=None, similarity=None, matched_message=None
    )


def marked(response: LLMResponse, status: CacheStatus, age: float | None = None) -> LLMResponse:
    """Return `response` with the marks of how this caller got it."""
    return msgspec.structs.replace(response, cached=status not in ("miss", "bypass"), cache_status=status, age=age)
