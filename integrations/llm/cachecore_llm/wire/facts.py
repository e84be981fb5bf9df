"""The facts of an answer, in one form for all protocols. Nothing here is judged: admission does that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Finish = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "pause", "error", "unknown"]
"""Why the model stopped. `unknown` is a word that this version has not heard of; it is not known to be good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFacts:
    """Tokens that the provider counted; 0 where it does not say. "Of the …" marks a part of a total."""

    input_tokens: int = 0
    """All tokens of the input, those read from and written to the provider's prompt cache included."""
    cached_input_tokens: int = 0
    """Of the input: read from the provider's prompt cache."""
    cache_write_tokens: int = 0
    """Of the input: written to the provider's prompt cache."""
    output_tokens: int = 0
    """All tokens of the output, reasoning included."""
    reasoning_tokens: int = 0
    """Of the output: reasoning that is not part of the text."""
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Return input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallFacts:
    """A tool call in an answer. `arguments` is JSON text as the model wrote it; it may be invalid."""

    id: str | None
    name: str | None
    arguments: str
    kind: str = "function"
    by_caller: bool = True
    """Whether the caller has to run it. If not, the provider ran it while it answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFacts:
    """One of the `n` answers."""

    text: str = ""
    tool_calls: tuple[ToolCallFacts, ...] = ()
    reasoning: str = ""
    """Reasoning, thinking or their summary, as far as the provider shows it."""
    refusal: str | None = None
    finish: Finish = "unknown"
    raw_finish: str | None = None
    """The provider's own word for `finish`."""
    media: bool = False
    """Whether the answer holds audio, an image or a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFacts:
    """An error in place of an answer, also under HTTP 200 and inside a stream.

    `message` is the provider's text and may hold a part of the prompt: do not log it.
    """

    kind: str | None = None
    code: str | None = None
    status: int | None = None
    """An HTTP status, where the body names one."""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFacts:
    """The facts of an answer's body that the flow, admission and cost need."""

    id: str | None = None
    model: str | None = None
    choices: tuple[ChoiceFacts, ...] = ()
    usage: UsageFacts | None = None
    service_tier: str | None = None
    error: ErrorFacts | None = None
    complete: bool = False
    """Whether the body is a whole answer: it ended as the protocol says an answer ends, and holds no error."""


def count(value: Any) -> int:
    """Return `value` if it is a count of tokens, 0 if it is anything else."""
    return value if type(value) is int and value > 0 else 0


def text_or_none(value: Any) -> str | None:
    """Return `value` if it is text that is not empty."""
    return value if isinstance(value, str) and value else None


def as_object(value: Any) -> dict[str, Any]:
    """Return `value` if it is a JSON object, an empty one if it is anything else."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[dict[str, Any]]:
    """Return the JSON objects in `value` if it is a list, none if it is anything else."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def error_facts(error: Any) -> ErrorFacts:
    """Return the facts of an error object, or of the text or number that stands in its place."""
    if not isinstance(error, dict):
        return ErrorFacts(message=error if isinstance(error, str) else None)
    code, status = error.get("code"), error.get("status")
    if type(code) is int and 400 <= code < 600:
        status = code  # compatible servers put the HTTP status where OpenAI has a word
    return ErrorFacts(
        kind=text_or_none(error.get("type")),
        code=str(code) if isinstance(code, str | int) and code != "" else None,
        status=status if type(status) is int else None,
        message=text_or_none(error.get("message")),
    )
