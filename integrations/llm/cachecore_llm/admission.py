"""Which answers may be stored. A doubtful answer costs another computation, a bad one would be repeated for a day.

Only an answer that its provider finished in a way known to be good is stored: a finish reason that nobody has heard of
is not trusted.
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal

from cachecore_llm.request import LLMRequest
from cachecore_llm.response import LLMResponse

Rejection = Literal[
    "empty", "truncated", "filtered", "refused", "unfinished", "invalid_json", "error_text", "cached", "custom"
]
"""Why an answer is not stored; `cached`: it came from a cache; `custom`: the caller's own rule."""

FINISHED: Final = frozenset(
    {
        "stop",
        "end_turn",
        "stop_sequence",
        "tool_calls",
        "tool_use",
        "function_call",
        "complete",
        "completed",
        "eos",
        "eos_token",
    }
)
TRUNCATED: Final = frozenset(
    {
        "length",
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "model_length",
        "model_context_window_exceeded",
        "incomplete",
    }
)
FILTERED: Final = frozenset(
    {
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "error_toxic",
    }
)

_INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff"
_ERROR_CHARACTERS: Final = 2000
"""Errors dressed as text are short; a long text that begins with "Error:" is about errors."""

_ERROR: Final = re.compile(
    r"""
    (?: (?:an?\ )? (?:internal\ )? (?:server\ |unexpected\ |api\ |upstream\ |gateway\ )? error
        (?: \s* [:!] | \s+ (?:has\ )? occurr?ed | \s* \(? \d{3} \b | \s* \.? $ )
      | (?: http (?:/\d(?:\.\d)?)? \s* )? (?: error \s* )? [45]\d\d \s*:?\s*
        (?: bad\ (?:gateway|request) | unauthorized | forbidden | too\ many\ requests | internal\ server\ error
          | service\ (?:temporarily\ )?unavailable | gateway\ time-?out )
      | internal\ server\ error \b
      | bad\ gateway \b
      | (?: the\ )? service\ (?: is\ )? (?: temporarily\ )? unavailable \b
      | (?: the\ )? (?: server | model | engine | system ) \ is\ (?: currently\ | temporarily\ )?
        (?: overloaded | unavailable | at\ capacity )
      | (?: the\ | your\ )? (?: request | connection ) \ (?: has\ )? (?: timed\ out | failed | aborted )
      | rate\ limit \ (?: exceeded | reached )
      | (?: you\ (?:have\ )?)? exceeded \ (?: your\ )? (?: current\ )? quota
      | too\ many\ requests \b
      | upstream\ (?: connect | request ) \b
      | traceback\ \(most\ recent\ call\ last\)
      | [a-z_.]* (?: Exception | Error ) : \s
      | <(?: !doctype\ html | html ) \b [^\0]{0,400}? <(?:title|h1)> \s*
        (?: \d{3} \b | error \b | [^<]{0,40} (?: gateway | unavailable | forbidden | error ) )
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
# "We cannot" is a company speaking, and may well be the answer; "I cannot" is the model.
_REFUSAL: Final = re.compile(
    r"""
    (?: (?: i['’]?m | i\ am )\ (?: (?:very|so|really)\ )? (?: sorry | afraid )
      | sorry | apologies | my\ apologies | i\ apologi[sz]e | unfortunately
      | as\ an?\ (?: ai | large\ language | language ) [^.,]{0,40} )?
    [,;:.\s]* (?: but \s+ | that \s+ | however,? \s+ )?
    i (?: \ (?: cannot | can\ ?not | can['’]t | am\ not\ able\ to | am\ unable\ to | will\ not | won['’]t
              | must\ decline\ to )
        | ['’]m \ (?: not\ able\ to | unable\ to ) ) \s+
    (?: assist | help | comply | answer | process | fulfil | provide | generate | complete | continue | discuss
      | engage | respond )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_REFUSAL_CHARACTERS: Final = 600


def rejection(response: LLMResponse, request: LLMRequest) -> Rejection | None:
    """Return why `response` must not be stored as the answer to `request`, or None if it may be."""
    finish = (response.finish_reason or "").rpartition(".")[2].casefold()  # `FinishReason.STOP` is `stop`
    if finish in FILTERED:
        return "filtered"
    if finish == "refusal" or response.refusal:
        return "refused"
    if finish in TRUNCATED or (not finish and _fills_its_bound(response, request)):
        return "truncated"
    if finish and finish not in FINISHED:
        return "unfinished"
    if response.tool_calls:
        return None
    text = response.content.strip().strip(_INVISIBLE).strip()
    if not text:
        return "empty"
    if request.wants_json:
        parsed, value = _parsed(text)
        if not parsed:
            return "invalid_json"
        return "error_text" if _is_error_object(value) else None
    if len(text) <= _ERROR_CHARACTERS and (_ERROR.match(text) or _is_error_object(_parsed(text)[1])):
        return "error_text"
    if len(text) <= _REFUSAL_CHARACTERS and _REFUSAL.match(text):
        return "refused"
    return None


def _fills_its_bound(response: LLMResponse, request: LLMRequest) -> bool:
    """Whether a provider that gives no finish reason used every token it was allowed."""
    bound, usage = request.max_tokens, response.usage
    return bound is not None and usage is not None and usage.completion_tokens >= bound


def _parsed(text: str) -> tuple[bool, object]:
    try:
        return True, json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False, None


def _refuse(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _is_error_object(value: object) -> bool:
    """Whether `value` is the body of an API's error: an object of little more than `error`."""
    return isinstance(value, dict) and bool(value.get("error")) and len(value) <= 4 and "choices" not in value
