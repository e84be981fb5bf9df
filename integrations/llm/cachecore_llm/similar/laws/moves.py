"""The moves that leave a question what it is: whole parts of it stand elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cachecore_llm.similar.laws.pairing import alike
from cachecore_llm.similar.laws.reading import NOT, Term
from cachecore_llm.similar.laws.vocabulary import (
    BEING,
    INTERROGATIVES,
    MOTION,
    NEGATIONS,
    PLACES,
    SCOPE,
    WEIGHTLESS,
    listed,
)

_BOTH: Final = listed("and or vs versus")
_LONGEST_SIDE: Final = 4
_MOST_TERMS: Final = 32
"""Terms of a text that is moved at all; longer ones are not one question."""
_ARTICLES: Final = listed("a an the my our your")
_INWARD: Final = WEIGHTLESS["en"] | MOTION | listed("between of than about")
"""Words behind which a side of `and` begins; behind another it may be the end of a longer one."""
_HOLDING: Final = SCOPE | MOTION | frozenset({"than"})
"""Words that a side of `and` does not carry along: `better than A and B` is not `B and better than A`."""
_LAST: Final = listed("why when where")


def moved(a: Sequence[Term], b: Sequence[Term]) -> bool:
    """Return whether one move makes `a` into `b`."""
    if len(a) != len(b) or len(a) > _MOST_TERMS:
        return False
    return any(alike(made, b) for made in _moves(list(a))) or _not_moved(a, b)


def _moves(terms: list[Term]) -> Iterator[list[Term]]:
    if terms[0].value in MOTION and len(terms) > 2 and terms[1].value in INTERROGATIVES:
        yield [*terms[1:], terms[0]]
    if terms[-1].value in _LAST and terms[-1].before not in MOTION:
        yield [terms[-1], *terms[:-1]]
    if terms[0].value == "what":
        yield from _said_of_it(terms)
    if NEGATIONS.isdisjoint(term.value for term in terms):
        yield from _exchanged_sides(terms)
    begins = [place for place, term in enumerate(terms) if term.value in MOTION]
    if len(begins) == 2 and _are_apart(*(terms[place].value for place in begins)):
        head, first, second = terms[: begins[0]], terms[begins[0] : begins[1]], terms[begins[1] :]
        if len(first) > 1 and len(second) > 1 and head:
            yield head + second + first


def _are_apart(one: str, other: str) -> bool:
    """Return whether phrases of two prepositions belong to the verb each: of two places one may lie in the other."""
    return one != other and not {one, other} <= PLACES


def _said_of_it(terms: list[Term]) -> Iterator[list[Term]]:
    """Yield `What is the best A …` for `Which A is best …`."""
    for at in range(2, min(len(terms), _LONGEST_SIDE + 1)):
        said = terms[at]
        if (
            said.behind_be
            and not said.value.endswith("ing")
            and not terms[at - 1].behind_be
            and said.before in BEING | _ARTICLES
        ):
            yield [terms[0], said, *terms[1:at], *terms[at + 1 :]]


def _exchanged_sides(terms: list[Term]) -> Iterator[list[Term]]:
    for at, term in enumerate(terms):
        if term.value not in _BOTH or at == 0 or at + 1 == len(terms):
            continue
        if terms[at + 1].before not in _ARTICLES | {term.token.folded}:  # `and then` is an order of its own
            continue
        for left in range(1, min(_LONGEST_SIDE, at) + 1):
            for right in range(1, min(_LONGEST_SIDE, len(terms) - at - 1) + 1):
                if _is_whole(terms, at, left, right):
                    yield [
                        *terms[: at - left],
                        *terms[at + 1 : at + 1 + right],
                        term,
                        *terms[at - left : at],
                        *terms[at + 1 + right :],
                    ]


def _is_whole(terms: list[Term], at: int, left: int, right: int) -> bool:
    """Return whether the sides of an `and` begin behind a small word or a comma and end before one, or are names."""
    first, end = terms[at - left], at + 1 + right
    if end < len(terms) and terms[end].value == "with":  # tea and coffee with milk
        return False
    sides = terms[at - left : at] + terms[at + 1 : end]
    if any(one.token.kind != "word" or one.value in _HOLDING for one in sides):
        return False
    if left == right == 1 and all(one.is_name for one in sides):
        return True
    begins = not first.before or first.before in _INWARD or first.token.paused
    return begins and (end == len(terms) or terms[end].value in MOTION or terms[end].before in WEIGHTLESS["en"])


def _not_moved(a: Sequence[Term], b: Sequence[Term]) -> bool:
    """Return whether two texts of one clause differ only in their one `not`, which one of them joins to a verb."""
    places = [[place for place, term in enumerate(terms) if term.value == NOT] for terms in (a, b)]
    if len(places[0]) != 1 or len(places[1]) != 1:
        return False
    here, there = a[places[0][0]], b[places[1][0]]
    free = there if here.token.folded != NOT else here
    joined = here if free is there else there
    if joined.token.folded == NOT or free.token.folded != NOT:
        return False
    rows = [[term for term in terms if term.value != NOT] for terms in (a, b)]
    behind = a[places[0][0] + 1 :] if free is here else b[places[1][0] + 1 :]
    if not behind or behind[0].value in MOTION or behind[0].before == "to":
        return False
    values = [term.value for term in rows[0]]
    one_clause = SCOPE.isdisjoint(values) and sum(value in INTERROGATIVES for value in values) <= 1
    return one_clause and alike(*rows)
