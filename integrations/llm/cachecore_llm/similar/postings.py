"""Which questions hold which gram: what a search looks up. Built and searched in small pieces, by one job at a time.

A question costs 4 bytes for each gram and a gram about 250, so that 2,000 questions of 1,500 characters take 12 MB.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Final

from cachecore_llm.similar.grams import cosine, grams
from cachecore_llm.similar.protocol import Match
from cachecore_llm.similar.worker import Job

_LOOKED_UP: Final = 0.6
"""The part of a question's grams that a search looks up first; fewer would leave more to compare in full."""
_PIECE: Final = 16_384
"""Places that are counted in one piece of work: less than a millisecond."""
_COMPARED: Final = 6
"""How many places are counted in the time that one gram of a question is made and compared."""
_BYTES_A_PLACE: Final = 4.5
_BYTES_A_GRAM: Final = 250
_BYTES_A_QUESTION: Final = 120
MOST_MATCHES: Final = 64
"""Matches that a search returns at most."""


class Postings:
    """The grams of one partition. Places are never used twice; the dead are counted."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.dead = 0
        self._questions: list[str | None] = []
        self._sizes: array[int] = array("I")
        """How many grams each has."""
        self._places: dict[str, int] = {}
        self._holders: dict[str, array[int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, question: str) -> None:
        """Take `question` in, once. As long as the grams of one question take."""
        if question in self._places:
            return
        place = self._places[question] = len(self._questions)
        self._questions.append(question)
        bag = grams(question)
        self._sizes.append(len(bag))
        holders = self._holders
        known = len(holders)
        for gram in bag:
            found = holders.get(gram)
            if found is None:
                holders[gram] = array("I", (place,))
            else:
                found.append(place)
        self.size_bytes += int(len(bag) * _BYTES_A_PLACE) + _BYTES_A_QUESTION
        self.size_bytes += (len(holders) - known) * _BYTES_A_GRAM

    def discard(self, question: str) -> None:
        """Forget `question`; its bytes stay until all is built anew."""
        place = self._places.pop(question, None)
        if place is not None:
            self._questions[place] = None
            self.dead += 1

    def search(self, question: str, threshold: float) -> Job[list[Match]]:
        """Return the questions alike enough, the most alike first; itself left out.

        A cosine of t means that the two share at least t² of the grams of either. So the grams that everybody has need
        not be looked up: a question found too rarely among the others cannot reach t with them.
        """
        asked = grams(question)
        needed = threshold * threshold * len(asked) - 1e-9  # never more than is needed, by rounding
        rarest_first = sorted(asked, key=lambda gram: len(self._holders.get(gram, ())))
        part = max(_LOOKED_UP, 1 - threshold * threshold)  # what is skipped cannot suffice
        looked_up = rarest_first[: math.ceil(len(asked) * part) + 1]
        least = needed - (len(asked) - len(looked_up))
        yield
        shared: Counter[int] = Counter()
        yield from self._count(looked_up, shared)
        candidates = [place for place, count in shared.items() if count >= least]
        yield
        rest = rarest_first[len(looked_up) :]
        compared = sum(self._sizes[place] for place in candidates)
        if compared * _COMPARED > sum(len(self._holders.get(gram, ())) for gram in rest):
            yield from self._count(rest, shared)
            alike = ((place, shared[place] / math.sqrt(len(asked) * self._sizes[place])) for place in candidates)
            matches = self._alike(alike, question, threshold)
        else:
            matches = yield from self._compared(candidates, asked, question, threshold)
        return heapq.nlargest(MOST_MATCHES, matches, key=lambda match: match.similarity)

    def _count(self, looked_up: list[str], shared: Counter[int]) -> Job[None]:
        """Count for each question how many of these grams it has."""
        counted = 0
        for gram in looked_up:
            holders = self._holders.get(gram)
            for start in range(0, len(holders) if holders else 0, _PIECE):
                piece = holders[start : start + _PIECE] if holders else ()
                shared.update(piece)
                counted += len(piece)
                if counted >= _PIECE:
                    counted = 0
                    yield

    def _alike(self, likenesses: Iterable[tuple[int, float]], question: str, threshold: float) -> list[Match]:
        return [
            Match(known, min(1.0, likeness))
            for place, likeness in likenesses
            if likeness >= threshold and (known := self._questions[place]) is not None and known != question
        ]

    def _compared(
        self, candidates: list[int], asked: frozenset[str], question: str, threshold: float
    ) -> Job[list[Match]]:
        """Compare candidates one by one: where they are few, that is less than counting the frequent grams."""
        matches: list[Match] = []
        compared = 0
        for place in candidates:
            known = self._questions[place]
            if known is not None:
                matches += self._alike([(place, cosine(asked, grams(known)))], question, threshold)
                compared += len(known)
                if compared > 1000:
                    compared = 0
                    yield
        return matches
