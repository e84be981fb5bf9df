"""A text as the laws see it: its words of weight in their order, and the facts that its other words tell.

A word has weight unless it is in the list of its text's language, and even then where it is a name, unit or operand:
with a capital inside a sentence, in quotes, behind a number, beside a sign, an article at the end, a noun behind an
article (`my will`), a verb behind a preposition (`the past tense of do`), behind `translate`. In a text of a language
that is not known every word has weight. Where the other text tells it, frames (`help me`) have weight, and so do words
that are nouns as well (`us shipping cost`, `it support`), not so an object at the end (`cancel it`). Politeness has
none where a sentence begins, before a pause or (`please`) an order, behind a comma at its end, and behind a person
(`Could you please …`); in `say hello`, `thank you note` and `please my wife` it is a word like others. What stands
behind a colon with a word of weight before it is cited (`Translate into German: …`); behind frames alone (`Please tell
me: …`) it is the question.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from cachecore_llm.similar.laws.contractions import contracted, parts
from cachecore_llm.similar.laws.english import canonical, is_heavy_here, is_light_here, is_noun_here, speaks
from cachecore_llm.similar.laws.frames import LONGEST, inner, tail_of, unframed
from cachecore_llm.similar.laws.tokens import Token, tokens, written
from cachecore_llm.similar.laws.vocabulary import (
    BEING,
    CARDINALS,
    FIRST,
    INTERROGATIVES,
    MARKS,
    MOTION,
    NO_ORDERS,
    NOUNS,
    PLACES,
    POLITE,
    SECOND,
    WEIGHTLESS,
    WISHES,
)

_ARTICLES: Final = frozenset({"a", "an", "the"})
_REQUESTS: Final = frozenset({"can", "could", "would"})
_ASKED: Final = frozenset({"you", "me", "us", "mir", "uns", "sie"})
"""Persons behind which a word of politeness is one: `Could you please …`, `Können Sie mir bitte …`."""
_THOUSANDS: Final = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
NOT: Final = "not"


@dataclass(frozen=True, slots=True)
class Term:
    """A word of weight, a number or a sign."""

    value: str
    """The form that is compared: folded, without a possessive ending; digits of a number; the sign itself."""
    token: Token
    unit: bool = False
    """Whether it stands behind a number."""
    before: str = ""
    """The word before it, folded, weightless ones too; empty where a sentence begins."""
    behind_be: bool = False
    """Whether a form of `be` stands before it in its sentence."""
    foreign: bool = False
    """Whether its text is in another known language than English."""

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
    """The words of weight, in their order."""
    light: list[str] = field(default_factory=list)
    """The words without weight, folded, less those of frames."""
    language: str | None = None
    """The language by its frequent words; None if it is not clear."""
    able: bool = False
    """Whether a frame asked for an ability."""
    subject: str | None = None
    """Of a question with `how` or `should`: the person that follows it."""
    before_person: int | None = None
    """How many terms stand before the first `you` or `it` without weight; None without one."""
    requests: bool = False
    """Whether it begins with `Can you`, `Could you` or `Would you`."""
    orders: bool = False
    """Whether it begins with a word of weight that asks nothing: `Write …`."""
    cited: str | None = None
    """What stands behind the first colon that has a word of weight before it, as written; None without one."""
    being: bool = False
    """Whether a form of `be` has been read in this sentence."""
    speaks: bool = False
    """Whether the words of this sentence are spoken of from here on: `How do you say …`."""

    @property
    def last(self) -> str:
        """The last value so far, empty before the first."""
        return self.terms[-1].value if self.terms else ""

    @property
    def values(self) -> list[str]:
        """The compared forms, in their order."""
        return [term.value for term in self.terms]

    @property
    def asks_how(self) -> bool:
        """Whether it is a question with `how`."""
        return "how" in self.values

    @property
    def asks_manner(self) -> bool:
        """Whether it asks in which way: not `how much`, `how often`."""
        rest = self.terms[self.values.index("how") + 1 :] if self.asks_how else []
        return self.asks_how and (not rest or rest[0].before != "how")


def _number(text: str, language: str | None) -> str:
    """Return an English number without the commas between its thousands; `1,5` and `1,2,3` have none."""
    return text.replace(",", "") if language in ("en", None) and _THOUSANDS.fullmatch(text) else text


def is_titled(text: str) -> bool:
    """Return whether only the first of two or more letters is a capital."""
    return len(text) > 1 and text[0].isupper() and text[1:] == text[1:].lower()


def read(text: str, otherwise: str | None = None) -> Reading:
    """Return the reading of `text`; `otherwise` is its language if its own words do not tell."""
    cut = tokens(text)
    words = [token.folded for token in cut if token.kind == "word"]
    language = language_of(words) or otherwise
    bare = language is not None and not _marks(words, language)
    reading = Reading(text, language=language)
    skipped, asked = _frames(cut, reading) if language == "en" and not bare else (set(), {})
    weightless = WEIGHTLESS.get(language or "", frozenset())
    polite = POLITE.get(language or "", frozenset())
    begun = False
    for place, token in enumerate(cut):
        if token.starts:
            reading.being = reading.speaks = False
        if place in asked:
            reading.terms.append(Term(asked[place], token))
        before = cut[place - 1] if place else None
        if token.colon is not None and reading.terms and reading.cited is None:
            reading.cited = written(text)[token.colon :].strip()
        following = cut[place + 1] if place + 1 < len(cut) else None
        if place in skipped or (token.folded in polite and _is_polite(token, before, following)):
            continue
        if not begun:
            begun = True
            _begin(reading, token, following)
        if token.kind == "number":
            reading.terms.append(Term(_number(token.text, language), token))
        elif token.kind == "sign":
            reading.terms.append(Term(token.text, token))
        else:
            noun = bare and token.folded in NOUNS and _may_be_noun(token, before)
            plain = following is not None and following.kind == "word" and not (token.ends or following.paused)
            behind = parts(following.folded)[0] if following is not None and plain else ""
            noun = noun or (language == "en" and _is_noun_here(token, before, behind, reading.last))
            _take(reading, token, before, behind, frozenset() if noun else weightless)
    return reading


def _may_be_noun(token: Token, before: Token | None) -> bool:
    """Return whether a word that may be a noun is no object at an end: `us shipping cost`, and not `cancel it`."""
    return not token.ends or before is None or before.folded in MOTION


def _is_noun_here(token: Token, before: Token | None, behind: str, last: str) -> bool:
    previous = "" if before is None or token.starts else parts(before.folded)[0]
    return is_noun_here(token.folded, previous, last, behind)


def _is_polite(token: Token, before: Token | None, following: Token | None) -> bool:
    """Return whether a word of politeness is no more than that, and not spoken of."""
    if token.quoted or (token.text.isupper() and len(token.text) > 1):
        return False
    if token.ends and (token.starts or token.paused):
        return True
    wish = token.folded in WISHES
    if token.starts and following is not None:
        return following.paused or (wish and following.folded not in NO_ORDERS)
    return wish and before is not None and before.folded in _ASKED


def _begin(reading: Reading, token: Token, following: Token | None) -> None:
    """Note whether an English text begins with a request or with an order."""
    if reading.language != "en" or token.kind != "word":
        return
    reading.requests = token.folded in _REQUESTS and following is not None and following.folded == "you"
    reading.orders = token.folded not in WEIGHTLESS["en"] | INTERROGATIVES


def language_of(words: list[str]) -> str | None:
    """Return the language with most frequent words among `words`; None for none, or for two alike."""
    ranked = Counter({name: len(_marks(words, name)) for name in MARKS}).most_common(2)
    return ranked[0][0] if ranked[0][1] > ranked[1][1] else None


def _marks(words: list[str], language: str) -> set[str]:
    """Return the words by which a text is known to be of a language."""
    known = set(words) | {parts(word)[0] for word in words}
    return known & (MARKS[language] | (POLITE[language] & WISHES))


def _frames(cut: list[Token], reading: Reading) -> tuple[set[int], dict[int, str]]:
    """Return the places of words that only say that a question comes, and the words that ask in place of some."""
    skipped: set[int] = set()
    asked: dict[int, str] = {}
    words = [one.folded.replace("’", "'") if one.kind == "word" else "" for one in cut]
    apart = [one.starts or one.paused for one in cut]
    for place, token in enumerate(cut):
        if token.starts and token.kind == "word":
            taken, able, asks = unframed(words[place : place + 3 * LONGEST], apart[place : place + 3 * LONGEST])
            if 0 < taken < len(cut):  # a text of nothing but frames is what it is
                skipped.update(range(place, place + taken))
                reading.able = reading.able or able
                if asks:
                    asked[place] = asks
        elif place and (words[place] == "in" or words[place - 1] in INTERROGATIVES):
            skipped.update(range(place, place + inner(words[place : place + 4])))
    tail = tail_of(words[-5:])
    skipped.update(range(len(cut) - tail, len(cut)))
    return (skipped, asked) if len(skipped) < len(cut) else (set(), {})


def _take(reading: Reading, token: Token, before: Token | None, behind: str, weightless: frozenset[str]) -> None:
    english = reading.language == "en"
    word, negated = parts(token.folded) if english else (token.folded, False)
    joined = contracted(token.folded) if english else []
    reading.light += joined
    counted = before is not None and before.kind == "number"
    previous = "" if before is None or token.starts else before.folded
    unit = counted or (english and CARDINALS.get(previous, "") == reading.last != "")
    marked = reading.speaks or counted or token.beside_sign or token.quoted or _is_marked(token, before)
    marked = marked or (is_heavy_here(word, previous) if english else token.ends)
    light = english and not marked and is_light_here(word, previous, reading.last, behind)
    if light or (english and not marked and _turned(reading, token, previous)):
        return
    if word not in weightless or marked:
        value = canonical(word, previous, reading.last) if english else word
        _append(reading, Term(value, token, unit, previous, reading.being, reading.language not in ("en", None)))
        reading.speaks = reading.speaks or (english and speaks(word, reading.values))
    else:
        reading.being = reading.being or word in BEING
        if word in ("you", "it") and reading.before_person is None:
            reading.before_person = len(reading.terms)
        asked = reading.last in ("how", "should") and previous not in BEING  # `How are you?` asks about the person
        if word in FIRST | SECOND and reading.subject is None and asked:
            reading.subject = word
        else:
            reading.light.append(word)
    reading.being = reading.being or not BEING.isdisjoint(joined)
    if negated:
        reading.terms.append(Term(NOT, token, before=previous))


def _append(reading: Reading, term: Term) -> None:
    """Append a term; of `in`, `on` and `at` before a name makes one word."""
    if term.is_name and reading.language == "en" and reading.last in PLACES:
        place = reading.terms[-1]
        if term.before in (place.token.folded, "the"):
            reading.terms[-1] = replace(place, value="at")
    reading.terms.append(term)


def _turned(reading: Reading, token: Token, previous: str) -> bool:
    """Return whether a `to` makes a future of `going` before it and says no more; of `have` it makes a need."""
    if token.folded != "to":
        return False
    if previous == "going" == reading.last and reading.being:
        reading.terms.pop()
        reading.light.append("will")
        return True
    if previous in ("have", "has") and reading.light[-1:] == [previous]:
        reading.light.pop()
        reading.terms.append(Term("need", token, before=previous))  # and the `to` is taken like another
    return False


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
