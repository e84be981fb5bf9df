"""Which answers may be stored. A doubtful answer costs another computation, a bad one would be repeated for a day.

Only an answer that its provider finished in a way known to be good is stored: a finish that no table knows is not
trusted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cachecore.contract.errors import OptionsError
from cachecore_llm.policy.finish import End, end_of, plain_word
from cachecore_llm.policy.phrases import dressed_text, plain_text
from cachecore_llm.policy.structured import UNREADABLE, is_error_object, is_runnable, json_fault, parsed
from cachecore_llm.wire import PROTOCOLS
from cachecore_llm.wire.call import Call, JsonObject, RequestFacts, UnreadableRequestError
from cachecore_llm.wire.facts import AnswerFacts, ChoiceFacts

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

Unusable = Literal["empty", "filtered", "error"]
"""Why the next provider is asked."""

logger = logging.getLogger("cachecore.llm")

_BAD_ENDS: Final[dict[End, Rejection]] = {
    "filtered": "filtered",
    "refused": "refused",
    "truncated": "truncated",
    "unfinished": "unfinished",
}
_INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff"
_BLANK: Final = frozenset(" \t\r\n.…·。" + _INVISIBLE)
_MAX_PLACEHOLDER: Final = 64
_MAX_ERROR_JSON: Final = 4000
"""Characters of the longest text that is read to see whether it is an API's error object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRules:
    """The rules that an application adds to the built-in ones. Raises OptionsError."""

    extra_good_finishes: Iterable[str] = ()
    """Words for a good end beside the built-in ones. Letter case and punctuation do not count."""
    extra_bad_finishes: Iterable[str] = ()
    """Words for a bad end; they win over good ones."""
    extra_phrases: Iterable[str] = ()
    """Texts with which an answer begins that must not be stored. Letter case and white space do not count."""
    admit: Callable[[AnswerFacts, RequestFacts], bool] | None = None
    """The application's own rule, asked last. If it raises, the answer is not stored, and that is logged."""
    _good: frozenset[str] = field(init=False, repr=False, compare=False)
    _bad: frozenset[str] = field(init=False, repr=False, compare=False)
    _phrases: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("extra_good_finishes", "extra_bad_finishes", "extra_phrases"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        if self.admit is not None and not callable(self.admit):
            raise OptionsError(f"admit must be a function of the answer and the request, not {self.admit!r}")
        object.__setattr__(self, "_good", frozenset(map(plain_word, self.extra_good_finishes)))
        object.__setattr__(self, "_bad", frozenset(map(plain_word, self.extra_bad_finishes)))
        phrases = [re.escape(plain_text(phrase)) for phrase in self.extra_phrases]
        object.__setattr__(self, "_phrases", re.compile("|".join(phrases)) if phrases else None)

    def end_of(self, choice: ChoiceFacts) -> End:
        """Return how `choice` ended."""
        return end_of(choice.finish, choice.raw_finish, good=self._good, bad=self._bad)

    def dressed_text(self, text: str) -> Literal["refused", "error_text"] | None:
        """Return `refused` or `error_text` if `text` is a refusal or an error in place of an answer, else None."""
        return dressed_text(text, extra=self._phrases)


def _texts(name: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise OptionsError(f"{name} must be several texts, such as {[given]!r}, not {given!r}")
    texts = tuple(given)
    for text in texts:
        if not isinstance(text, str) or not plain_text(text):
            raise OptionsError(f"{name} must hold texts that are not empty, not {text!r}")
    return texts


BUILT_IN: Final = AdmissionRules()
"""The built-in rules alone."""


def rejection(answer: AnswerFacts, request: RequestFacts, rules: AdmissionRules = BUILT_IN) -> Rejection | None:
    """Return why `answer` must not be stored as the answer to `request`, or None if it may be. Never raises.

    O(length of the answer) where JSON was asked for or a tool is called; else O(1): only the first 4,000 characters of
    a text are read.
    """
    if answer.error is not None:
        return "error_text"
    if request.inputs:  # embeddings: vectors have no finish and no text
        return None if answer.complete else "unfinished"
    why = _rejected_end(answer, request, rules)
    for choice in answer.choices:
        why = why or _rejected_content(choice, request, rules)
    return why or _own_rule(answer, request, rules)


def unusable(answer: AnswerFacts, request: RequestFacts, rules: AdmissionRules = BUILT_IN) -> Unusable | None:
    """Return why the next provider should be asked instead, or None if `answer` can be given to the caller.

    An answer that says why it has no text (a refusal, the bound on its length) is an answer.
    """
    if answer.error is not None:
        return "error"
    if request.inputs:
        return None
    ends = [rules.end_of(choice) for choice in answer.choices]
    if "filtered" in ends:
        return "filtered"
    for choice, end in zip(answer.choices, ends, strict=True):
        if choice.refusal or end in ("truncated", "refused") or not _is_empty(choice):
            return None
    return "empty"


def judge_of(call: Call) -> Callable[[JsonObject], Unusable | None] | None:
    """Return a function that says of an answer to `call` why the next provider should be asked instead.

    None if the call cannot be read: then the provider's own error says more.
    """
    protocol = PROTOCOLS[call.protocol]
    try:
        facts = protocol.parse(call.body)
    except UnreadableRequestError:
        return None

    def judge(body: JsonObject) -> Unusable | None:
        return unusable(protocol.facts(body), facts)

    return judge


def _rejected_end(answer: AnswerFacts, request: RequestFacts, rules: AdmissionRules) -> Rejection | None:
    ends = [rules.end_of(choice) for choice in answer.choices]
    for bad, why in _BAD_ENDS.items():
        if bad in ends:
            return why
    if any(choice.refusal for choice in answer.choices):
        return "refused"
    if "unsaid" in ends and _fills_its_bound(answer, request):
        return "truncated"
    if not answer.choices:
        return "unfinished"
    # A protocol may not know the word for a good end that a server has; the tables of words do.
    said = all(end == "good" for end in ends) and len(ends) >= request.n
    return None if answer.complete or said else "unfinished"


def _rejected_content(choice: ChoiceFacts, request: RequestFacts, rules: AdmissionRules) -> Rejection | None:
    if not all(is_runnable(call, request) for call in choice.tool_calls):
        return "bad_tool_call"
    if any(call.by_caller for call in choice.tool_calls):
        return None  # text beside a tool call announces the call
    if _is_empty(choice):
        return "empty"
    if choice.media and not choice.text.strip():
        return None
    if request.output != "text":
        return json_fault(choice.text, request)
    dressed = rules.dressed_text(choice.text)
    return dressed or ("error_text" if _is_error_json(choice.text) else None)


def _is_empty(choice: ChoiceFacts) -> bool:
    """Whether there is nothing in a choice but reasoning. Dots alone stand where a program had no text."""
    if choice.media or any(call.by_caller for call in choice.tool_calls):
        return False
    text = choice.text
    if len(text) > _MAX_PLACEHOLDER:
        return not text.strip().strip(_INVISIBLE).strip()
    return _BLANK.issuperset(text)


def _is_error_json(text: str) -> bool:
    if len(text) > _MAX_ERROR_JSON or not text.lstrip().startswith("{"):
        return False
    value = parsed(text)
    return value is not UNREADABLE and is_error_object(value)


def _fills_its_bound(answer: AnswerFacts, request: RequestFacts) -> bool:
    """Whether a provider that gives no finish used every token it was allowed."""
    bound, usage = request.max_output_tokens, answer.usage
    return bound is not None and usage is not None and usage.output_tokens >= bound


def _own_rule(answer: AnswerFacts, request: RequestFacts, rules: AdmissionRules) -> Rejection | None:
    if rules.admit is None:
        return None
    try:
        return None if rules.admit(answer, request) else "custom"
    except Exception as error:  # noqa: BLE001 - the answer was paid for, and reaches the caller
        logger.warning("the rule `admit` raised %s: the answer is not stored", type(error).__name__)
        return "custom"
