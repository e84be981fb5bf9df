"""Which answers may be stored. A doubtful answer costs another computation, a bad one would be repeated for a day.

Only an answer that its provider finished in a way known to be good is stored: a finish that no table knows is not
trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from cachecore_llm.wire.call import RequestFacts
from cachecore_llm.wire.facts import AnswerFacts

Rejection = Literal[
    "empty",
    "truncated",
    "filtered",
    "refused",
    "unfinished",
    "invalid_json",
    "off_schema",
    "bad_tool_call",
    "error_text",
    "custom",
]
"""Why an answer is not stored; `custom`: by the application's own rule."""

Unusable = Literal["empty", "filtered"]
"""Why the next provider is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRules:
    """What an application adds to the built-in rules."""

    extra_good_finishes: frozenset[str] = frozenset()
    """Words for a good end, in any case, beside the built-in ones."""
    extra_bad_finishes: frozenset[str] = frozenset()
    """Words for a bad end; they win over good ones."""
    extra_phrases: tuple[str, ...] = ()
    """Texts with which an answer that must not be stored begins; letter case and white space do not count."""
    admit: Callable[[AnswerFacts, RequestFacts], bool] | None = None
    """The application's own rule, asked after all others. If it raises, the answer is not stored."""


BUILT_IN: Final = AdmissionRules()
"""The built-in rules alone."""


def rejection(answer: AnswerFacts, request: RequestFacts, rules: AdmissionRules = BUILT_IN) -> Rejection | None:
    """Return why `answer` must not be stored as the answer to `request`, or None if it may be. Never raises."""
    if answer.error is not None:
        return "error_text"
    unfit = unusable(answer, request)
    if unfit is not None:
        return unfit
    return None if answer.complete else "unfinished"


def unusable(answer: AnswerFacts, request: RequestFacts) -> Unusable | None:
    """Return why the next provider should be asked instead, or None if `answer` can be given to the caller."""
    if any(choice.finish == "content_filter" for choice in answer.choices):
        return "filtered"
    if request.inputs:
        return None
    empty = all(not (choice.text.strip() or choice.tool_calls or choice.media) for choice in answer.choices)
    return "empty" if empty else None
