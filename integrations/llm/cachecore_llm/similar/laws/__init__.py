"""Whether two questions that look alike may share an answer: the laws after the similarity.

Two questions can differ in three letters and mean the opposite. Each law stands in a file of its own and is stated in
`docs/explanation/similar.md`; two questions that break none of them differ in nothing that carries weight. A law
costs a right answer now and then; without it a user is told how to *close* an account they asked to open.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from cachecore_llm.similar.laws import (
    articles,
    citations,
    dates,
    definitions,
    languages,
    letter_case,
    names,
    negation,
    numbers,
    operators,
    order,
    persons,
    scope,
    scripts,
    tense,
    unpaired,
)
from cachecore_llm.similar.laws.reading import Reading, read

LawName = Literal[
    "scripts",
    "languages",
    "citations",
    "numbers",
    "operators",
    "negation",
    "dates",
    "definitions",
    "articles",
    "scope",
    "tense",
    "persons",
    "case",
    "names",
    "words",
    "order",
]

_LAWS: Final = (
    ("citations", citations.disagreement),
    ("numbers", numbers.disagreement),
    ("operators", operators.disagreement),
    ("negation", negation.disagreement),
    ("dates", dates.disagreement),
    ("definitions", definitions.disagreement),
    ("articles", articles.disagreement),
    ("scope", scope.disagreement),
    ("tense", tense.disagreement),
    ("persons", persons.disagreement),
    ("case", letter_case.disagreement),
    ("names", names.disagreement),
    ("words", unpaired.disagreement),
    ("order", order.disagreement),
)


class Broken(NamedTuple):
    """The law that two questions break, and where."""

    law: LawName
    where: str
    """The differing parts, as `left / right`; words of the questions, so not for a log."""


class Asked:
    """A question to be held against others: read once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._reading: Reading | None = None

    def broken_by(self, other: str) -> Broken | None:
        """Return the first law that this question and `other` break together, or None if they may share an answer."""
        if self.text == other:
            return None
        where = scripts.disagreement(self.text, other)
        if where is not None:
            return Broken("scripts", where)
        if self._reading is None:
            self._reading = read(self.text)
        mine, theirs = self._reading, read(other)
        where = languages.disagreement(mine, theirs)
        if where is not None:
            return Broken("languages", where)
        if mine.language is None and theirs.language is not None:  # the words of one tell the language of both
            mine = read(self.text, theirs.language)
        elif theirs.language is None and mine.language is not None:
            theirs = read(other, mine.language)
        for law, disagreement in _LAWS:
            where = disagreement(mine, theirs)
            if where is not None:
                return Broken(law, where)  # type: ignore[arg-type]  # the names above are the literal's
        return None


def disagreement(a: str, b: str) -> LawName | None:
    """Return the law that `a` and `b` break, or None if they may share an answer. Symmetric."""
    broken = Asked(a).broken_by(b)
    return None if broken is None else broken.law
