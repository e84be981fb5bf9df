"""Which words of a provider for the end of an answer are good. A word that no table has is not known to be good."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

from cachecore_llm.wire.facts import Finish

End = Literal["good", "truncated", "filtered", "refused", "unfinished", "unsaid"]
"""What a finish says of an answer; `unsaid`: the provider gives no finish."""

_GOOD: Final = frozenset(
    [
        "stop",
        "endturn",
        "stopsequence",
        "stoptoken",
        "stopword",
        "stopcriteriamet",
        "toolcalls",
        "toolcall",
        "tooluse",
        "functioncall",
        "functioncalls",
        "complete",
        "completed",
        "completion",
        "eos",
        "eostoken",
        "eot",
        "eotid",
        "eotoken",
        "endoftext",
        "endofsequence",
        "endofturn",
        "imend",
        "end",
        "done",
        "finish",
        "finished",
        "normal",
        "success",
        "succeeded",
    ]
)
_TRUNCATED: Final = frozenset(
    [
        "length",
        "maxtokens",
        "maxoutputtokens",
        "maxcompletiontokens",
        "maxnewtokens",
        "maxlen",
        "maxlength",
        "modellength",
        "tokenlimit",
        "contextlength",
        "contextwindow",
        "modelcontextwindowexceeded",
        "contextlengthexceeded",
        "incomplete",
        "limit",
        "errorlimit",
        "timelimit",
        "notfinished",
        "truncated",
    ]
)
_FILTERED: Final = frozenset(
    [
        "contentfilter",
        "contentfiltered",
        "contentpolicy",
        "guardrailintervened",
        "guardrail",
        "safety",
        "recitation",
        "blocklist",
        "prohibitedcontent",
        "spii",
        "imagesafety",
        "imageprohibitedcontent",
        "imagerecitation",
        "errortoxic",
        "sensitive",
        "modelarmor",
        "moderation",
        "flagged",
        "blocked",
    ]
)
_REFUSED: Final = frozenset({"refusal", "refused"})

_NUMBERS: Final[dict[str, End]] = {
    "1": "good",
    "2": "truncated",
    "3": "filtered",
    "4": "filtered",
    "6": "filtered",
    "7": "filtered",
    "8": "filtered",
    "11": "filtered",
}
"""The members of `FinishReason` of Google's APIs, the only finishes that come as numbers."""

_OF_PROTOCOL: Final[dict[Finish, End]] = {
    "stop": "good",
    "tool_calls": "good",
    "length": "truncated",
    "content_filter": "filtered",
    "refusal": "refused",
    "pause": "unfinished",
    "error": "unfinished",
}
_MAX_WORD: Final = 100
_REPR: Final = re.compile(r"<[\w.]*?(\w+): [^<>]*>")
_PREFIXES: Final = ("finishreason", "stopreason", "reason")


def end_of(
    finish: Finish,
    raw: str | None,
    *,
    good: frozenset[str] = frozenset(),
    bad: frozenset[str] = frozenset(),
) -> End:
    """Return what a finish says of an answer.

    Args:
        finish: the finish as the protocol understands it.
        raw: the provider's own word; None if it gives none.
        good: further words for a good end, each as `plain_word` returns it.
        bad: further words for a bad end, which win over all others.
    """
    word = plain_word(raw)
    if word in bad:
        return "unfinished"
    if finish != "unknown":
        return _OF_PROTOCOL[finish]
    return "good" if word in good else _end_of_word(word)


@lru_cache(1024)
def plain_word(raw: str | None) -> str:
    """Return a finish as it stands in the tables: lower case, letters and digits only, without the name of its enum.

    `FinishReason.STOP`, `<FinishReason.STOP: 1>`, `FINISH_REASON_STOP`, `REASON_STOP` and `Stop` are all `stop`; no
    finish, also as the text `null` or `None`, is an empty word.
    """
    if raw is None or len(raw) > _MAX_WORD:
        return "" if raw is None else "?"
    named = _REPR.fullmatch(raw.strip())
    last = named[1] if named else raw.rpartition(".")[2]
    word = "".join(filter(str.isalnum, last.casefold()))
    for prefix in _PREFIXES:
        if word.startswith(prefix) and word != prefix:
            word = word.removeprefix(prefix)
    if not word:
        return "?" if raw.strip() else ""
    return "" if word in ("null", "none", "nil") else word


def _end_of_word(word: str) -> End:
    if not word:
        return "unsaid"
    if word in _GOOD:
        return "good"
    if word in _TRUNCATED:
        return "truncated"
    if word in _FILTERED:
        return "filtered"
    return "refused" if word in _REFUSED else _NUMBERS.get(word, "unfinished")
