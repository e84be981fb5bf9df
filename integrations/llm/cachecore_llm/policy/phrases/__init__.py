"""Errors, apologies and refusals that come as text with a good finish, in the languages that there is a module for.

A module gives regular expressions, which are matched where an answer begins, in lower case, with single spaces and plain
apostrophes, each after an optional apology:

    PREFACES, PREFACE_TAIL   apologies, and with what an apology may end
    ERRORS                   "an internal error occurred", "please try again later"
    REFUSALS                 "i can't assist with that"
    EXPLAINS                 what a text *about* an error has and an error has not; searched
    OFFERS, OFFERS_NOTHING   how an answer goes on that begins as a refusal and helps after all; and a polite refusal

Every group counts for nothing, so that `(` means `(?:`. Repetition is bounded or of different words, so that matching
takes time linear in the length of what is looked at, which is bounded itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import ModuleType
from typing import Final, Literal, NamedTuple

from cachecore_llm.policy.phrases import chinese, english, french, german, italian, japanese, portuguese, spanish

LANGUAGES: Final[tuple[ModuleType, ...]] = (english, german, french, spanish, portuguese, italian, japanese, chinese)

MAX_ERROR: Final = 700
"""Characters of the longest error text, unless it is a page or a traceback. A longer text is about errors."""
MAX_REFUSAL: Final = 600
MAX_PAGE: Final = 4000

_BRACKET: Final = re.compile(r"(?<!\\)\((?!\?)")
_EDGE: Final = " \t\r\n\u200b\u200c\u200d\u2060\ufeff\"'`*_>#~«“”„‘’「『¡¿⚠️❌🚫❗‼⛔😔😞🙏😕-–—•"
"""What may stand before a text: quotation marks, Markdown, signs of warning."""
_APOSTROPHES: Final = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u0060": "'", "\uff07": "'", "\u00a0": " "}
)

_QUOTED: Final = re.compile(
    r"\s*(?:\"[^\"]{1,400}\"|“[^”]{1,400}”|„[^“”]{1,400}[“”]|«[^»]{1,400}»|‘[^’]{1,400}’ |「[^」]{1,400}」|『[^』]{1,400}』)(?=[^\w]*\w)"
)
"""A quotation that text follows: the answer speaks of what it quotes."""

_PLACEHOLDERS: Final = frozenset({"null", "undefined", "[object object]", "(null)", "<null>", "nullptr", "<nil>"})
"""What programs write where a text is missing. `None` and `n/a` are answers to real questions."""

_PAGE: Final = re.compile(
    r"(?:<\?xml[^>]{0,200}>\s*)?<(?:!doctype\s+html|html)\b[^\0]{0,800}?<(?:title|h1)[^>]{0,100}>\s*"
    r"(?:(?:error\s*:?\s*)?[45]\d\d\b|error\b|[^<]{0,60}(?:gateway|unavailable|forbidden|\berror|just a moment|access denied))",
    re.IGNORECASE,
)
_TRACEBACK: Final = re.compile(r"traceback \(most recent call last\)")
_EXCEPTION: Final = re.compile(r"(?:[a-z_]\w{0,60}\.){0,8}[a-z_]\w{0,60}(?:exception|error): [^ ]")
_EXCEPTION_LINES: Final = 3
_STRUCTURE: Final = re.compile(r"```|\n\s*(?:[-*•]|\d+[.)])\s|\n#{1,4}\s|\n[^\n]+\n+[^\n]+\n+[^\n]+\n+[^\n]")
"""Code, a list, a heading, or five lines: something that an error text and a refusal do not have."""


class _Phrases(NamedTuple):
    """The phrases of several languages, compiled."""

    preface: re.Pattern[str]
    error: re.Pattern[str]
    refusal: re.Pattern[str]
    explains: re.Pattern[str]


def _joined(patterns: Iterable[str]) -> str:
    return "|".join(f"(?:{_BRACKET.sub('(?:', pattern)})" for pattern in patterns)


def _compiled(languages: tuple[ModuleType, ...], boundary: str) -> _Phrases:
    def of_all(name: str) -> str:
        return _joined(pattern for language in languages for pattern in getattr(language, name))

    prefaces = (f"(?:{_joined(each.PREFACES)})(?:{_joined([each.PREFACE_TAIL])})" for each in languages)
    explains = boundary + f"(?:{_joined(each.EXPLAINS for each in languages)})"
    return _Phrases(*map(re.compile, (_joined(prefaces), of_all("ERRORS"), of_all("REFUSALS"), explains)))


_WEST: Final = _compiled((english, german, french, spanish, portuguese, italian), r"\b")
_EAST: Final = _compiled((japanese, chinese), "")
_FIRST_EASTERN: Final = "\u2e80"
"""The first character of the scripts of `_EAST`: a text that begins before it is tried with `_WEST` alone."""
_OFFERS: Final = re.compile(_joined([each.OFFERS for each in LANGUAGES]))
_OFFERS_NOTHING: Final = re.compile(_joined([each.OFFERS_NOTHING for each in LANGUAGES]))


def dressed_text(text: str, *, extra: re.Pattern[str] | None = None) -> Literal["refused", "error_text"] | None:
    """Return what `text`, the whole answer, is if it is no answer. O(min(length, MAX_PAGE)).

    `extra`: further beginnings of texts that must not be stored, matched as the built-in ones are.
    """
    if len(text) > MAX_PAGE:
        return None
    if len(text) > MAX_ERROR:
        return "error_text" if _PAGE.match(text.lstrip()) or _TRACEBACK.match(text.lstrip(_EDGE)[:40].lower()) else None
    if _QUOTED.match(text):
        return None
    plain = plain_text(text)
    if extra is not None and extra.match(plain):
        return "error_text"
    phrases = _EAST if plain[:1] >= _FIRST_EASTERN else _WEST
    preface = phrases.preface.match(plain)
    starts = (0,) if preface is None else (preface.end(), 0)
    for start in starts:
        if phrases.error.match(plain, start):
            return None if _explains(text, plain, phrases) else "error_text"
        if phrases.refusal.match(plain, start) and len(text) <= MAX_REFUSAL:
            return None if _helps(text, plain, start) else "refused"
    if plain in _PLACEHOLDERS or text.strip().lower() in _PLACEHOLDERS or _TRACEBACK.match(plain):
        return "error_text"
    if _EXCEPTION.match(plain) and text.strip().count("\n") < _EXCEPTION_LINES:
        return None if _explains(text, plain, phrases) else "error_text"
    return "error_text" if text.lstrip()[:1] == "<" and _PAGE.match(text.lstrip()) else None


def plain_text(text: str) -> str:
    """Return `text` as phrases are matched: lower case, single spaces, plain apostrophes, without quotation and signs."""
    return " ".join(text.translate(_APOSTROPHES).lower().split()).lstrip(_EDGE)


def _explains(text: str, plain: str, phrases: _Phrases) -> bool:
    return bool(_STRUCTURE.search(text) or phrases.explains.search(plain))


def _helps(text: str, plain: str, start: int) -> bool:
    if _STRUCTURE.search(text):
        return True
    return bool(_OFFERS.search(plain, start)) and not _OFFERS_NOTHING.search(plain, start)
