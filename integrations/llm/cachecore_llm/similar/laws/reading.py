"""What the laws see of a text: its words of weight in their order, and what its other words tell.

A word has weight unless it is in the list of its text's language, and even then where it is a name, unit or operand:
with a capital inside a sentence, behind a number, beside a sign, an article at the end. In a text of a language that is
not known every word has weight.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from cachecore_llm.similar.laws.frames import LONGEST, tail_of, unframed
from cachecore_llm.similar.laws.tokens import Token, tokens
from cachecore_llm.similar.laws.vocabulary import CARDINALS, FIRST, MARKS, SECOND, WEIGHTLESS, listed

_SUFFIX: Final = re.compile(r"['’ʼ＇](?:s|re|ve|d|ll|m)\Z")
_NOT: Final = re.compile(r"n['’ʼ＇]t\Z")
_BARE_NOT: Final = {
    word: word[:-2]
    for word in listed(
        """
        dont doesnt didnt cant couldnt wont wouldnt shouldnt isnt arent wasnt werent hasnt havent hadnt mustnt
        """
    )
}
_STEMS: Final = {"ca": "can", "wo": "will", "sha": "shall", "can": "can"}
_BEFORE_IS: Final = listed("what who where when how why it that there here he she")
_ENDINGS: Final = {"ll": ["will"], "re": ["are"], "m": ["am"], "ve": ["have"]}
_ARTICLES: Final = frozenset({"a", "an", "the"})
_BEFORE_INFINITIVE: Final = listed("how want need like able wish going way possible have has had")
NOT: Final = "not"


@dataclass(frozen=True, slots=True)
class Term:
    """A word of weight, a number or a sign."""

    value: str
    """What pairs: folded, without a possessive ending; digits of a number; the sign itself."""
    token: Token
    unit: bool = False
    """Whether it stands behind a number."""

    @property
    def is_name(self) -> bool:
        """Whether it is written with a capital that no beginning of a sentence explains."""
        text = self.token.text
        if self.token.kind != "word" or text == text.lower():
            return False
        return not (self.token.starts and is_titled(text))


@dataclass(slots=True)
class Reading:
    """A text as the laws see it."""

    text: str = ""
    terms: list[Term] = field(default_factory=list)
    """What carries weight, in its order."""
    light: list[str] = field(default_factory=list)
    """The words without weight, folded, less those of frames."""
    language: str | None = None
    """The language by its frequent words; None if it is not clear."""
    able: bool = False
    """Whether a frame asked for an ability."""
    subject: str | None = None
    """Of a question with `how`: the person that follows it."""

    @property
    def values(self) -> list[str]:
        """What pairs, in its order."""
        return [term.value for term in self.terms]

    @property
    def asks_how(self) -> bool:
        """Whether it is a question with `how`."""
        return "how" in self.values


def is_titled(text: str) -> bool:
    """Return whether only the first of two or more letters is a capital."""
    return len(text) > 1 and text[0].isupper() and text[1:] == text[1:].lower()


def read(text: str) -> Reading:
    """Return what the laws see of `text`."""
    cut = tokens(text)
    language = language_of([token.folded for token in cut if token.kind == "word"])
    reading = Reading(text, language=language)
    skipped = _frames(cut, reading) if language == "en" else set()
    weightless = WEIGHTLESS.get(language or "", frozenset())
    for place, token in enumerate(cut):
        if place in skipped:
            continue
        before = cut[place - 1] if place else None
        if token.kind == "number":
            reading.terms.append(Term(token.text.replace(",", ""), token))
        elif token.kind == "sign":
            reading.terms.append(Term(token.text, token))
        else:
            _take(reading, token, before, weightless)
    return reading


def language_of(words: list[str]) -> str | None:
    """Return the language most of whose frequent words are among `words`; None for none, or for two alike."""
    known = set(words)
    ranked = Counter({name: len(known & marks) for name, marks in MARKS.items()}).most_common(2)
    return ranked[0][0] if ranked[0][1] > ranked[1][1] else None


def _frames(cut: list[Token], reading: Reading) -> set[int]:
    """Return the places of words that only say that a question comes."""
    skipped: set[int] = set()
    for place, token in enumerate(cut):
        if token.starts and token.kind == "word":
            words = [
                one.folded.replace("’", "'") if one.kind == "word" else "" for one in cut[place : place + 3 * LONGEST]
            ]
            taken, able = unframed(words)
            if 0 < taken < len(cut):  # a text of nothing but frames is what it is
                skipped.update(range(place, place + taken))
                reading.able = reading.able or able
    tail = tail_of([one.folded if one.kind == "word" else "" for one in cut[-4:]])
    skipped.update(range(len(cut) - tail, len(cut)))
    return skipped if len(skipped) < len(cut) else set()


def _take(reading: Reading, token: Token, before: Token | None, weightless: frozenset[str]) -> None:
    word, negated = _parts(token.folded, english=reading.language == "en")
    reading.light += _contracted(token.folded) if reading.language == "en" else []
    counted = before is not None and before.kind == "number"
    unit = counted or (before is not None and reading.language == "en" and before.folded in CARDINALS)
    heavy = word not in weightless or counted or token.beside_sign or _is_marked(token, before)
    infinitive = (
        word == "to"
        and reading.language == "en"
        and before is not None
        and before.folded in _BEFORE_INFINITIVE
        and not token.beside_sign
    )
    if heavy and not infinitive:
        value = CARDINALS.get(word, word) if reading.language == "en" else word
        reading.terms.append(Term(value, token, unit))
    elif not infinitive:
        if word in FIRST | SECOND and reading.subject is None and reading.values[-1:] == ["how"]:
            reading.subject = word
        else:
            reading.light.append(word)
    if negated:
        reading.terms.append(Term(NOT, token))


def _contracted(word: str) -> list[str]:
    """Return the auxiliary that the ending of an English word stands for; after a noun it is a possessive."""
    stem, mark, ending = word.replace("’", "'").partition("'")
    if mark and ending == "s":
        return ["is"] if stem in _BEFORE_IS else []
    return _ENDINGS.get(ending, []) if mark else []


def _parts(word: str, *, english: bool) -> tuple[str, bool]:
    """Return a folded word without its ending, and whether the ending was a negation."""
    if english:
        if _NOT.search(word):
            stem = _NOT.sub("", word)
            return _STEMS.get(stem, stem), True
        if word in _BARE_NOT:
            stem = _BARE_NOT[word]
            return _STEMS.get(stem, stem), True
        if word == "cannot":
            return "can", True
        return _SUFFIX.sub("", word), False
    return word, False


def _is_marked(token: Token, before: Token | None) -> bool:
    """Return whether a light word is written as a name or stands where an article cannot."""
    text = token.text
    if text == "I":  # the pronoun, but for a numeral behind a name
        return before is not None and not before.starts and before.kind == "word" and before.text[0].isupper()
    if len(text) > 1 and text.isupper():
        return True
    if text[0].isupper() and not token.starts:
        return not text.startswith(("I'", "I’"))
    return token.ends and text in _ARTICLES
