"""The directive language: a prompt or a header chooses the answer. Pure.

A directive is `[[name]]`, `[[name:label argument …]]`. An argument that begins with `{`, `[` or `"` is JSON and may
contain `]]`; any other text runs to the next `]]`. `TABLE` lists every directive with its meaning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

_OPENING: Final = re.compile(r"\[\[([a-z][a-z-]*)(?::([A-Za-z0-9_.-]{1,64}))?(?=[ \]])")
_PAIR: Final = re.compile(r"([a-z-]+)=(\S+)")
_MAX_DIRECTIVES: Final = 256
_MAX_COUNT: Final = 1_000_000
_MAX_SECONDS: Final = 3600.0

DEVIATIONS: Final = {
    "comments": "SSE comment lines between the events",
    "crlf": "SSE lines end with CR LF",
    "no-space": "no space after `data:`",
    "error-200": "an error body, or an error event, under status 200",
    "error-object": 'chat: `{"object": "error"}` under status 200',
    "empty-first": "chat: the first chunk has no choices, and filtered ones say why (as Azure does)",
    "finish-error": 'chat: the finish reason is "error"',
    "no-done": "chat: no `[DONE]` at the end of a stream",
    "no-finish": "chat: no finish reason, in a stream before `[DONE]`",
    "no-stream-options": "chat: a request with `stream_options` gets a 400 that names the field",
    "stop-for-tools": 'chat: a stream of tool calls finishes with "stop"',
    "usage-everywhere": "chat: each chunk carries the usage so far",
    "whole-tools": "chat: each tool call comes in one chunk",
}


class DirectiveError(ValueError):
    """A directive that cannot be followed. The message names it, the reason and the way out."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. `arguments` is text, so that it can be broken JSON."""

    name: str
    arguments: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error instead of an answer: for the first `times` equal prompts, or always if None."""

    status: int
    kind: str | None = None
    retry_after: float | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class StreamFailure:
    """An error event after `after` events; `kind` None: the usual one."""

    after: int
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """The directives of one request. A default means: as the real service would answer."""

    say: str | None = None
    words: int | None = None
    empty: bool = False
    tools: tuple[ToolCall, ...] = ()
    function: ToolCall | None = None
    reasoning: str | None = None
    redacted: bool = False
    refusal: str | None = None
    finish: str | None = None
    citations: int = 0
    search: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    unknown: bool = False
    chunks: int | None = None
    delay: float = 0.0
    pace: float = 0.0
    pings: int | None = None
    hang: int | None = None
    cut: int | None = None
    end: int | None = None
    truncate: int | None = None
    fail: StreamFailure | None = None
    error: Failure | None = None
    compat: frozenset[str] = frozenset()


def _count(name: str, text: str, default: int | None = None) -> int:
    if not text and default is not None:
        return default
    if not text.isascii() or not text.isdigit() or int(text[:9]) > _MAX_COUNT or len(text) > 8:
        raise DirectiveError(f"[[{name} {text}]]: expected a whole number from 0 to {_MAX_COUNT:,}, as in [[{name} 3]]")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MAX_SECONDS:  # NaN fails here too
        raise DirectiveError(f"[[{name} {text}]]: expected seconds from 0 to {_MAX_SECONDS:.0f}, as in [[{name} 0.2]]")
    return seconds


def _text(name: str, text: str) -> str:
    """Return the argument as text; a JSON string stands for its value, so that it can hold `]]` and line breaks."""
    if not text.startswith('"'):
        return text
    return str(json.loads(text))


def _arguments(name: str, text: str) -> str | None:
    """Return the arguments of a tool call as they shall be sent; None if they are to be made from its schema."""
    if not text:
        return None
    if text.startswith('"'):
        return str(json.loads(text))  # verbatim, for arguments that are no JSON
    if not text.startswith("{"):
        raise DirectiveError(
            f"[[{name} {text}]]: arguments are a JSON object, or a JSON string that is sent as it is, "
            f'as in [[{name} {{"city": "Bonn"}}]]'
        )
    return text


def _numbers(name: str, text: str) -> dict[str, int]:
    known = ("cached", "cache-write", "reasoning")
    pairs = _PAIR.findall(text)
    if not pairs or _PAIR.sub("", text).strip() or any(key not in known for key, _ in pairs):
        raise DirectiveError(
            f"[[{name} {text}]]: expected {', '.join(known)} with a number each, as in [[usage cached=10 reasoning=5]]"
        )
    return {key: _count(name, value) for key, value in pairs}


def _failure(name: str, text: str) -> Failure:
    status, _, rest = text.partition(" ")
    code = _count(name, status)
    if not 400 <= code <= 599:
        raise DirectiveError(
            f"[[{name} {text}]]: expected a status from 400 to 599, as in [[{name} 429 retry-after=1 times=2]]"
        )
    failure = Failure(code)
    for key, value in _PAIR.findall(rest):
        if key == "kind":
            failure = replace(failure, kind=value)
        elif key == "retry-after":
            failure = replace(failure, retry_after=_seconds(name, value))
        elif key == "times":
            failure = replace(failure, times=_count(name, value))
        else:
            raise DirectiveError(f"[[{name} {text}]]: unknown {key!r}; known are kind=, retry-after= and times=")
    return failure


def _stream_failure(name: str, text: str) -> StreamFailure:
    after, _, kind = text.partition(" ")
    return StreamFailure(_count(name, after), kind.strip() or None)


def _deviations(name: str, text: str) -> frozenset[str]:
    names = frozenset(text.split())
    if not names or names - DEVIATIONS.keys():
        raise DirectiveError(f"[[{name} {text}]]: expected some of {', '.join(sorted(DEVIATIONS))}")
    return names


_TRUE: Final[Callable[[str, str], Any]] = lambda name, text: True  # noqa: E731 - a row of the table

TABLE: Final[dict[str, tuple[str, Callable[[str, str], Any], str]]] = {
    # name: (field, reader, meaning)
    "say": ("say", _text, "the text of the answer"),
    "words": ("words", _count, "a derived text of that many tokens"),
    "empty": ("empty", _TRUE, "no content at all"),
    "tool": ("tools", _arguments, "a tool call; repeated: parallel calls; arguments may be left out"),
    "function": ("function", _arguments, "chat: a legacy function_call"),
    "reasoning": ("reasoning", _text, "reasoning text (thinking, reasoning item, reasoning_content)"),
    "redacted": ("redacted", _TRUE, "Anthropic: a redacted thinking block; Responses: encrypted reasoning"),
    "refusal": ("refusal", _text, "a refusal"),
    "finish": ("finish", _text, "stop, length, content_filter, or a finish reason that is sent as it is"),
    "citations": ("citations", lambda name, text: _count(name, text, 1), "that many citations"),
    "search": ("search", _text, "a web search with that query, and a citation of its result"),
    "usage": ("usage", _numbers, "cached=, cache-write= and reasoning= tokens"),
    "unknown": ("unknown", _TRUE, "fields, items and events of types that no client knows"),
    "chunks": ("chunks", _count, "the number of pieces of a streamed text; default: one a token"),
    "delay": ("delay", _seconds, "seconds before the first byte"),
    "pace": ("pace", _seconds, "seconds before each further event"),
    "pings": ("pings", lambda name, text: _count(name, text, 1), "a ping (OpenAI: a comment) after every n-th event"),
    "hang": ("hang", lambda name, text: _count(name, text, 0), "nothing more after n events; 0: not even headers"),
    "cut": (
        "cut",
        lambda name, text: _count(name, text, 0),
        "close the connection after n events; 0: before the headers",
    ),
    "end": ("end", _count, "a clean end of the HTTP body after n events"),
    "truncate": (
        "truncate",
        lambda name, text: _count(name, text, 0),
        "event n breaks off inside its JSON, then a clean end",
    ),
    "fail": ("fail", _stream_failure, "an error event after n events; a kind may follow; whole: status 500"),
    "error": ("error", _failure, "an HTTP error: status, kind=, retry-after=, times="),
    "compat": ("compat", _deviations, "deviations of compatible servers: " + ", ".join(sorted(DEVIATIONS))),
}
_LABELLED: Final = ("tool", "function")


def _argument(text: str, start: int, name: str) -> tuple[str, int]:
    """Return the argument that begins at `start`, and the position after its `]]`."""
    while text[start : start + 1] == " ":
        start += 1
    if text[start : start + 1] in ("{", "[", '"'):
        try:
            _, after = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            raise DirectiveError(
                f"[[{name} …]]: its argument is not JSON ({error}); plain text may not begin with {{, [ or a quote"
            ) from None
        stop = text.find("]]", after)
        if stop >= 0 and not text[after:stop].strip():
            return text[start:after], stop + 2
    stop = text.find("]]", start)
    if stop < 0:
        raise DirectiveError(f"[[{name}: its closing ]] is missing")
    return text[start:stop].strip(), stop + 2


def parse(text: str, base: Directives | None = None) -> tuple[Directives, str]:
    """Return the directives in `text`, on top of `base`, and the text without them. Raises DirectiveError."""
    values: dict[str, Any] = {}
    rest: list[str] = []
    at = count = 0
    while (opening := _OPENING.search(text, at)) is not None:
        rest.append(text[at : opening.start()])
        name, label = opening[1], opening[2]
        count += 1
        if count > _MAX_DIRECTIVES:
            raise DirectiveError(f"more than {_MAX_DIRECTIVES} directives in one request")
        if name not in TABLE:
            raise DirectiveError(
                f"[[{name}]]: unknown directive; known are {', '.join(sorted(TABLE))}. "
                "LocalProvider(directives=None) reads none"
            )
        if (label is None) == (name in _LABELLED):
            raise DirectiveError(
                f"[[{name}]]: "
                + ("a name is missing, as in [[tool:get_weather {}]]" if label is None else "takes no name")
            )
        argument, at = _argument(text, opening.end(), name)
        target, reader, _ = TABLE[name]
        shown = f"{name}:{label}" if label else name
        value = reader(shown, argument)
        if target == "tools":
            values["tools"] = (*values.get("tools", ()), ToolCall(label, value))
        elif target == "function":
            values["function"] = ToolCall(label, value)
        elif target == "compat":
            values["compat"] = values.get("compat", base.compat if base else frozenset()) | value
        else:
            values[target] = value
    rest.append(text[at:])
    if base is None and not values:
        return PLAIN, text
    return replace(base or PLAIN, **values), " ".join("".join(rest).split()) if values else text


PLAIN: Final = Directives()
