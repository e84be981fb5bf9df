"""How alike two questions are: the cosine of their character 3-grams, and a bounded index to search by it.

An index lives in one process. It holds questions only, grouped by partition (everything of a request but the question);
the answers stay in the store, which is asked before anything is served. Remembering a question costs a dict insert: the
grams are made when somebody searches, which happens only while no provider answers.
"""

from __future__ import annotations

import math
import re
import threading
import unicodedata
from collections import Counter, OrderedDict
from dataclasses import dataclass
from itertools import chain
from typing import Final

_GRAM: Final = 3
_LOOKED_UP: Final = 0.6
"""The part of a question's grams that a search looks up first; fewer would leave more to compare in full."""
_GAP: Final = re.compile(r"[\s?!.,;:¿¡…\"“”„«»()]+")


@dataclass(frozen=True, slots=True)
class Match:
    """A remembered question and how alike it is to the one asked, 0 to 1."""

    message: str
    similarity: float


def folded(message: str) -> str:
    """Return `message` as it is compared: compatibility forms, letter case, space and punctuation do not count."""
    return _GAP.sub(" ", unicodedata.normalize("NFKC", message).casefold()).strip()


def grams(message: str) -> frozenset[str]:
    """Return the 3-grams of `message`; its ends count as spaces."""
    text = f" {folded(message)} "
    return frozenset(text[start : start + _GRAM] for start in range(len(text) - _GRAM + 1))


def cosine(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the cosine of two sets of grams, each gram a dimension: 0 for nothing shared, 1 for the same."""
    return len(a & b) / math.sqrt(len(a) * len(b)) if a and b else 0.0


class SimilarityIndex:
    """The questions that may have answers, by partition; the partition longest without news is forgotten first.

    Safe to use from several threads. A search costs about a millisecond in a partition of a thousand questions, plus
    once the making of its grams (about 20 µs a question).
    """

    def __init__(self, *, threshold: float = 0.80, max_messages: int = 10_000, max_chars: int = 2_000) -> None:
        self._threshold = threshold
        self._max_messages = max_messages
        self._max_chars = max_chars
        self._lock = threading.Lock()
        self._partitions: OrderedDict[str, _Partition] = OrderedDict()  # guarded by _lock
        self._count = 0  # guarded by _lock

    def __len__(self) -> int:
        return self._count

    def takes(self, message: str) -> bool:
        """Return whether `message` is of a length that is matched at all."""
        return self._max_messages > 0 and 0 < len(message) <= self._max_chars

    def add(self, partition: str, message: str) -> None:
        """Remember `message`. O(1) until the partition is searched for the first time."""
        if not self.takes(message):
            return
        with self._lock:
            found = self._partitions.get(partition)
            if found is None:
                found = self._partitions[partition] = _Partition()
            self._partitions.move_to_end(partition)
            self._count += found.add(message)
            while self._count > self._max_messages:
                name, oldest = next(iter(self._partitions.items()))
                oldest.discard(next(iter(oldest.messages)))
                self._count -= 1
                if not oldest.messages:
                    del self._partitions[name]

    def discard(self, partition: str, message: str) -> None:
        """Forget `message`: it has no answer any more."""
        with self._lock:
            found = self._partitions.get(partition)
            if found is not None and found.discard(message):
                self._count -= 1
                if not found.messages:
                    del self._partitions[partition]

    def search(self, partition: str, message: str) -> list[Match]:
        """Return the remembered questions alike enough to `message`, the most alike first; itself left out."""
        if not self.takes(message):
            return []
        with self._lock:
            found = self._partitions.get(partition)
            matches = found.search(message, self._threshold) if found is not None else []
        return sorted(matches, key=lambda match: -match.similarity)


class _Partition:
    """The questions of one partition, oldest first, and once searched their grams."""

    def __init__(self) -> None:
        self.messages: dict[str, int] = {}
        self._grams: _Grams | None = None

    def add(self, message: str) -> int:
        if message in self.messages:
            return 0
        self.messages[message] = -1 if self._grams is None else self._grams.add(message)
        return 1

    def discard(self, message: str) -> bool:
        place = self.messages.pop(message, None)
        if place is None:
            return False
        if self._grams is not None:
            self._grams.discard(place)
            if self._grams.dead > len(self.messages):
                self._grams = None  # made again without them, by the next search
        return True

    def search(self, message: str, threshold: float) -> list[Match]:
        if self._grams is None:
            made = _Grams()
            self.messages = {known: made.add(known) for known in self.messages}
            self._grams = made
        return [match for match in self._grams.search(message, threshold) if match.message != message]


class _Grams:
    """Which questions hold which gram. Places are never used twice; the dead are counted."""

    def __init__(self) -> None:
        self.dead = 0
        self._known: list[tuple[str, frozenset[str]] | None] = []
        self._holders: dict[str, list[int]] = {}

    def add(self, message: str) -> int:
        place = len(self._known)
        bag = grams(message)
        self._known.append((message, bag))
        for gram in bag:
            self._holders.setdefault(gram, []).append(place)
        return place

    def discard(self, place: int) -> None:
        self._known[place] = None
        self.dead += 1

    def search(self, message: str, threshold: float) -> list[Match]:
        """Return every question alike enough.

        A cosine of t means that the two share at least t² of the grams of either. So the grams that everybody has need
        not be looked up: a question found too rarely among the others cannot reach t with them.
        """
        asked = grams(message)
        needed = threshold * threshold * len(asked) - 1e-9  # never more than is needed, by rounding
        rarest_first = sorted(asked, key=lambda gram: len(self._holders.get(gram, ())))
        part = max(_LOOKED_UP, 1 - threshold * threshold)  # what is skipped cannot suffice
        looked_up = rarest_first[: math.ceil(len(asked) * part) + 1]
        shared = Counter(chain.from_iterable(self._holders.get(gram, ()) for gram in looked_up))
        least = needed - (len(asked) - len(looked_up))
        matches = []
        for place, count in shared.items():
            if count >= least and (known := self._known[place]) is not None:
                likeness = cosine(asked, known[1])
                if likeness >= threshold:
                    matches.append(Match(known[0], likeness))
        return matches
