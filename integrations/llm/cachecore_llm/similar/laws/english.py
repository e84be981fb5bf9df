"""What an English word is where it stands: without weight behind certain words, and one word with another.

`some` and `any` say no more than an article where existence is asked for (`What are some …`, `Are there any …`, `Do
you have any …`). `a few` is not `few`, `and then` not `and`, and `vitamin a` not `vitamin`. Behind `translate` and `how
do you say` every word has weight: they are spoken of. `one` behind an auxiliary of a question with `how` or `where` is
a person, and `should` behind `how`, before a person, asks for a manner like `do`. `to` of an infinitive behind `how`
and `way` is no direction; behind `need` it tells a deed from a thing (`need to change`, `need change`).
`which` is `what`, `whom` is `who`, `whether` is `if`, `-body` is `-one`, and `What happens when …` is
`What happens if …`.
"""

from __future__ import annotations

from typing import Final

from cachecore_llm.similar.laws.vocabulary import (
    ADVERBS,
    AUXILIARIES,
    BEING,
    CARDINALS,
    DETERMINERS,
    FIRST,
    HAVING,
    INTERROGATIVES,
    MOTION,
    NEGATIONS,
    SCOPE,
    SECOND,
    WEIGHTLESS,
    listed,
)

_BEFORE_INFINITIVE: Final = listed("how able way ways possible")
_BEFORE_ONE: Final = listed("can could do does did should would might may must will")
_BEFORE_NOUN: Final = listed("of between with from for than use using used word verb")
_ALIKE: Final = {
    "which": "what",
    "whether": "if",
    "whom": "who",
    "somebody": "someone",
    "anybody": "anyone",
    "everybody": "everyone",
}
_BEFORE_SUBJECT: Final = AUXILIARIES | INTERROGATIVES | {"should", "must", "not", "if"}
_NO_NOUNS: Final = WEIGHTLESS["en"] | MOTION | SCOPE | NEGATIONS | {"", "of"}
_LETTERED: Final = {"a": listed("vitamin hepatitis influenza class"), "i": listed("type class phase stage war")}
"""Words behind which an article or a person is a letter or a numeral: `vitamin a deficiency`, `a type i error`."""
_FEW: Final = frozenset({"few", "little"})
_HAPPENS: Final = frozenset({"happens", "happen"})


def is_light_here(word: str, before: str, last: str, behind: str) -> bool:
    """Return whether a folded word has no weight between the words `before` and `behind`; `last` is the last term."""
    if word in ("some", "any"):
        asks_what = before in BEING and last == "what"
        return before == "there" or asks_what or (word == "any" and before in HAVING)
    if word == "one":
        return before in _BEFORE_ONE and (last in ("how", "where") or before == "should")
    if word == "of":  # some of the
        return before == "some" and last == "what"
    if word == "should":
        return before == "how" and behind in FIRST | SECOND | {"one"}
    return word == "to" and before in _BEFORE_INFINITIVE


def is_noun_here(word: str, before: str, last: str, behind: str) -> bool:
    """Return whether an `it` or `us` stands where only a noun can, between the words `before` and `behind`.

    `good it jobs`, `how do us taxes work`, `work in it`. An object ends its phrase, and a subject stands behind its
    auxiliary or interrogative (`does it work`, `how it works`), but for one: `What is it support?`.
    """
    if word not in ("it", "us"):
        return False
    if behind in _NO_NOUNS:
        return before == "in" and not behind
    if word == "us":
        return True
    if last == "what" and before in BEING:
        return not behind.endswith(("ed", "ing"))
    return before not in _BEFORE_SUBJECT


def is_heavy_here(word: str, before: str) -> bool:
    """Return whether a folded word that has no weight elsewhere has some behind the word `before`.

    `and then`; a letter or numeral behind its noun (`vitamin a`); a noun behind its article (`my will`, `the can`), and
    a verb that is spoken of (`the past tense of do`).
    """
    if (word == "then" and before in ("and", "or", "but")) or before in _LETTERED.get(word, ()):
        return True
    if word in AUXILIARIES and before in _BEFORE_NOUN:
        return True
    return before in DETERMINERS and word not in ADVERBS | DETERMINERS


def speaks(word: str, values: list[str]) -> bool:
    """Return whether behind a folded word of an English text with these values other words are spoken of."""
    return word in ("translate", "pronounce", "spell") or (word == "say" and values[:1] == ["how"])


def canonical(word: str, before: str, last: str) -> str:
    """Return the value by which a folded word pairs behind the word `before`, where `last` is the last term."""
    if word in _FEW and before == "a":
        return f"a {word}"
    if word == "when" and last in _HAPPENS:
        return "if"
    return CARDINALS.get(word) or _ALIKE.get(word, word)
