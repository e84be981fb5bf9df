"""Which terms of two texts are one: the same word, a form of it, and one word that is written in two.

Names, units, numbers, signs and the words of a text in a known language that is not English pair with themselves alone:
the endings of English are others there (`tiene`, `tienes`). Of a verb its base pairs with its regular forms, but these
not with one another: bored is not boring. A form in -ing pairs with its base where it is a verb: behind a preposition
(`by paying`), with `be` against a simple form (`is rising`, `does rise`), or against an infinitive (`safe to pay`,
`safe paying`), and not as a noun: paint is not painting. Behind the verbs whose sense turns (`stop to eat`, `stop
eating`) the infinitive stays one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from cachecore_llm.similar.laws.forms import form_of
from cachecore_llm.similar.laws.reading import Reading, Term
from cachecore_llm.similar.laws.vocabulary import (
    CARDINALS,
    DATES,
    DETERMINERS,
    GERUND,
    MOTION,
    NEGATIONS,
    SCOPE,
    TURNING,
)

_FIXED: Final = NEGATIONS | SCOPE | DATES | frozenset(CARDINALS)
_BEFORE_NOUN: Final = DETERMINERS | (MOTION - {"to"}) | {"of"}
"""Behind these a base is a noun: the cost of a ship is not the cost of shipping."""
_MOST_FORMS: Final = 32
"""Words in other forms that are matched with one another; texts with more of them have too little in common."""
_IN_TWO: Final = 5
"""Letters of a word that may be written in two: login, log in."""


def paired(a: Term, b: Term) -> bool:
    """Return whether two terms are one. Symmetric."""
    if a.value == b.value:
        return a.token.kind == b.token.kind or "number" in (a.token.kind, b.token.kind)
    if not (_is_plain(a) and _is_plain(b)):
        return False
    form = form_of(a.value, b.value)
    if form != "ing":
        return form is not None
    base, verb = (a, b) if b.value.endswith("ing") and len(b.value) > len(a.value) else (b, a)
    if base.before in _BEFORE_NOUN or verb.before in DETERMINERS:
        return False
    return verb.before in GERUND or base.before == "to" or (verb.behind_be and not base.behind_be)


def aligned(a: Reading, b: Reading) -> bool:
    """Return whether both have the same terms in the same order."""
    return alike(*reconciled(a, b))


def alike(a: Sequence[Term], b: Sequence[Term]) -> bool:
    """Return whether two rows of terms are one by one the same."""
    return len(a) == len(b) and all(map(paired, a, b))


def reconciled(a: Reading, b: Reading) -> tuple[list[Term], list[Term]]:
    """Return the terms of both, where one writes a word in two or an infinitive for a gerund as the other does."""
    if len(a.terms) == len(b.terms) and all(map(paired, a.terms, b.terms)):
        return a.terms, b.terms
    mine, other = _joined(a.terms, b.terms), _joined(b.terms, a.terms)
    if max(len(_without(mine, other)), len(_without(other, mine))) > _MOST_FORMS:
        return mine, other
    mine, other = _as_gerund(mine, other)
    other, mine = _as_gerund(other, mine)
    return mine, other


def unpaired(a: Reading, b: Reading) -> tuple[list[Term], list[Term]]:
    """Return the terms of either that have no partner in the other, wherever it stands."""
    first, second = reconciled(a, b)
    mine, other = _without(first, second), _without(second, first)
    if max(len(mine), len(other)) > _MOST_FORMS:
        return mine, other
    left: list[Term] = []
    for term in mine:
        found = next((one for one in other if paired(term, one)), None)
        if found is None:
            left.append(term)
        else:
            other.remove(found)
    return left, other


def differ(a: Sequence[str], b: Sequence[str]) -> str | None:
    """Return the items where two sequences part, as `left / right`; None if they are the same."""
    for left, right in zip(a, b, strict=False):
        if left != right:
            return f"{left} / {right}"
    if len(a) == len(b):
        return None
    longer = a if len(a) > len(b) else b
    rest = longer[min(len(a), len(b))]
    return f"{rest} / nothing" if longer is a else f"nothing / {rest}"


def _is_plain(term: Term) -> bool:
    """Return whether a term is an English-looking word that may have forms."""
    may_have = term.token.kind == "word" and not term.is_name and not term.foreign
    return may_have and term.value.isascii() and term.value not in _FIXED


def _joined(terms: list[Term], others: list[Term]) -> list[Term]:
    """Return `terms` with two neighbours as one where the other text has them as one word."""
    wanted = {one.value for one in others if one.token.kind == "word"} - {one.value for one in terms}
    if not wanted:
        return terms
    made: list[Term] = []
    for term in terms:
        last = made[-1] if made else None
        if last is not None and _is_plain(last) and _is_plain(term) and term.before == last.token.folded != "re":
            both = last.value + term.value
            if both in wanted and len(both) >= _IN_TWO:
                made[-1] = Term(both, last.token, before=last.before, behind_be=last.behind_be)
                continue
        made.append(term)
    return made


def _as_gerund(terms: list[Term], others: list[Term]) -> tuple[list[Term], list[Term]]:
    """Return both without the `to` of an infinitive in `terms` and the preposition of the gerund in `others`."""
    values = {one.value for one in others}
    for place, term in enumerate(terms):
        if term.before != "to" or term.value in values:
            continue
        at = next((at for at, one in enumerate(others) if one.value != term.value and _is_gerund(term, one)), None)
        if at is None:
            continue
        bare = place > 0 and terms[place - 1].value == "to"
        if bare and place > 1 and terms[place - 2].value in TURNING:
            continue
        held = at > 0 and others[at - 1].value in ("of", "for") and others[at - 1].value == others[at].before
        return (
            terms[: place - 1] + terms[place:] if bare else terms,
            others[: at - 1] + others[at:] if held else others,
        )
    return terms, others


def _is_gerund(base: Term, one: Term) -> bool:
    return one.value.endswith("ing") and len(one.value) > len(base.value) and paired(base, one)


def _without(terms: Sequence[Term], others: Sequence[Term]) -> list[Term]:
    """Return the terms that are left when each of `others` has taken its like."""
    taken = Counter(one.value for one in others)
    left: list[Term] = []
    for term in terms:
        if taken[term.value] > 0:
            taken[term.value] -= 1
        else:
            left.append(term)
    return left
