"""How many of the requests of a log that no earlier one answers exactly a similar earlier one would answer.

The first requests are all looked up. Each time 5,000 were, or searching took 10 seconds, half as many of those that
follow are drawn, and each drawn one counts for as many as it stands for. So a log of any length costs seconds times the
logarithm of its length, its end is looked at as well as its beginning, and the memory is that of an index.
"""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cachecore.keys import encode
from cachecore_llm.config import CacheConfig
from cachecore_llm.flow.questions import question_in
from cachecore_llm.similar.calibration import calibrate, judged, read_pairs
from cachecore_llm.similar.grams import cosine, grams
from cachecore_llm.similar.index import GramIndex
from cachecore_llm.similar.laws import Asked
from cachecore_llm.similar.measured import CONFIDENCE, PUBLIC, MeasuredError
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, UnreadableRequestError

LOOKED_UP: Final = 5_000
"""Lookups after which half as many requests are drawn."""
SECONDS: Final = 10.0
"""Seconds of searching after which half as many requests are drawn."""
_TWO_SIDES: Final = 1.96
_MORE: Final = 4
"""Drawn requests with a similar answer that the interval of an estimate has over those seen: where none was, it is as
wide as the exact one, which is 3.7 times what a drawn request stands for."""
DIGESTS_ONLY: Final = "a recording of digests does not hold the questions: record with keep='encrypted' or 'plain'"


@dataclass(frozen=True, slots=True)
class SimilarFound:
    """The effect that similar answers would have. Counts are of requests."""

    misses: int
    """Requests that no earlier one answers exactly, of those that were held against each other."""
    comparable: int
    """Of these, those that may have a similar answer: one user turn, text, no tools, no response format."""
    looked_up: int
    """Of these, those that were drawn; all of them, unless the log is large."""
    answered: int
    """Of the comparable ones, those that an earlier one answers; estimated if not all were drawn."""
    within: float
    """Half the 95 % interval of `answered`; 0.0 if all were drawn."""
    gain: float
    """`answered` as a part of all requests."""
    threshold: float
    error: MeasuredError
    part: float = 1.0
    """The part of the questions that the log holds. Of a smaller one the pairs are missing: `answered` is too low."""
    untold: int = 0
    """Requests of which only digests are held."""

    @property
    def known(self) -> bool:
        """Whether there was a question to look at, or none was hidden."""
        return self.misses > 0 or self.untold == 0

    @property
    def wrong_at_most(self) -> float:
        """The part of all requests that would get a wrong answer, at the upper end of the error's interval."""
        return self.gain * self.error.at_most

    @property
    def error_words(self) -> str:
        """The error, for people."""
        error = self.error
        if error.rate is None:
            return f"error unknown: none of the {error.source} would be served"
        return f"error {error.rate:.1%}, {error.at_least:.1%} to {error.at_most:.1%}"

    @property
    def words(self) -> str:
        """The counts and how well they are known, for people."""
        if not self.known:
            return f"not known, {DIGESTS_ONLY}"
        about = "about " if self.looked_up < self.comparable else ""
        said = (
            f"{about}{self.answered:,} of {self.misses:,} misses are like an earlier question under the laws "
            f"(threshold {self.threshold:.2f}; {self.comparable:,} can be compared"
        )
        if about:
            said += f", {self.looked_up:,} drawn, ± {self.within:,.0f}"
        said += f"); {self.error_words}, {CONFIDENCE:.0%} confidence, {self.error.source}"
        if self.error.rate is not None:
            said += f"; wrong at most {self.wrong_at_most:.2%} of requests"
        if self.part < 1:
            said += f"; too low, as the recording holds {self.part:.1%} of the questions"
        if self.untold:
            said += f"; {self.untold:,} requests not looked at, {DIGESTS_ONLY}"
        return said

    def as_json(self) -> dict[str, Any]:
        """Return the findings as plain data; an unknown number is None."""
        error = self.error
        told: dict[str, Any] = {
            "known": self.known,
            "why_unknown": DIGESTS_ONLY if self.untold else None,
            "unknown_requests": self.untold,
            "misses": self.misses,
            "comparable": self.comparable,
            "looked_up": self.looked_up,
            "sampled": self.looked_up < self.comparable,
            "answered": self.answered if self.known else None,
            "answered_within": self.within,
            "gain": self.gain if self.known else None,
            "recorded_part": self.part,
            "threshold": self.threshold,
            "wrong_at_most": self.wrong_at_most if self.known else None,
        }
        told["error"] = {
            "source": error.source,
            "served": error.served,
            "wrong": error.wrong,
            "rate": error.rate,
            "at_least": error.at_least,
            "at_most": error.at_most,
            "confidence": CONFIDENCE,
        }
        return told


class SimilarMisses:
    """Takes the requests of a log in their order, and looks for similar earlier ones as a process with defaults does.

    Args:
        error: of such answers, from a sample that was judged.
        looked_up: lookups after which half as many requests are drawn.
        seconds: seconds of searching after which half as many are drawn.
        clock: tells seconds.
    """

    def __init__(
        self,
        error: MeasuredError = PUBLIC,
        *,
        looked_up: int = LOOKED_UP,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        config = CacheConfig()
        self._index = GramIndex(
            threshold=config.similar_threshold,
            max_messages=config.similar_max_messages,
            max_chars=config.similar_max_chars,
            max_bytes=config.similar_max_bytes,
        )
        self._threshold = config.similar_threshold
        self._error = error
        self._bounds = looked_up, seconds
        self._clock = clock
        self._chance = random.Random(1)  # noqa: S311 - a sample, not a secret
        self._seen: set[int] = set()
        self._weight = 1
        """How many requests a drawn one stands for."""
        self._looked_up, self._seconds = 0, 0.0
        """Under the present weight."""
        self._drawn = self._misses = self._comparable = self._answered = self._variance = self._untold = 0

    def untold(self) -> None:
        """Count a request of which only digests are held."""
        self._untold += 1

    def add(self, call: Call, request: JsonObject, key: int) -> None:
        """Take a call that is keyed as `request`, with the digest `key`."""
        if key in self._seen:
            return
        self._seen.add(key)
        self._misses += 1
        try:
            question = question_in(call.protocol, request, lambda: PROTOCOLS[call.protocol].parse(call.body))
        except UnreadableRequestError:  # it has a key all the same, if all its fields are plain
            return
        if question is None or not self._index.takes(question.text):
            return
        self._comparable += 1
        place = encode({"rest": question.rest, "tenant": call.tenant, "prompt": call.prompt})
        partition = hashlib.blake2b(place, digest_size=16).hexdigest()
        if self._weight == 1 or self._chance.random() * self._weight < 1:
            self._look_up(partition, question.text)
        self._index.add(partition, question.text)

    def _look_up(self, partition: str, text: str) -> None:
        began = self._clock()
        asked = Asked(text)
        if any(asked.broken_by(match.message) is None for match in self._index.matches(partition, text)):
            self._answered += self._weight
            self._variance += self._weight * (self._weight - 1)
        self._drawn += 1
        self._looked_up += 1
        self._seconds += self._clock() - began
        if self._looked_up >= self._bounds[0] or self._seconds >= self._bounds[1]:
            self._weight *= 2
            self._looked_up, self._seconds = 0, 0.0

    def found(self, requests: int, *, part: float = 1.0) -> SimilarFound:
        """Return the findings, the last call; `requests`: in all; `part`: of the questions, that the log holds."""
        self._seen.clear()
        answered = min(self._answered, self._comparable)
        whole = self._drawn == self._comparable
        variance = 0 if whole else self._variance + _MORE * self._weight * (self._weight - 1)
        return SimilarFound(
            misses=self._misses,
            comparable=self._comparable,
            looked_up=self._drawn,
            answered=answered,
            within=_TWO_SIDES * math.sqrt(variance),
            gain=answered / max(1, requests),
            threshold=self._threshold,
            error=self._error,
            part=part,
            untold=self._untold,
        )


def error_by_pairs(path: Path) -> MeasuredError:
    """Return the error at the usual threshold on the application's own pairs, a CSV file as `calibrate` reads.

    Raises OptionsError.
    """
    pairs = list(read_pairs(path))
    likenesses = (cosine(grams(pair.a), grams(pair.b)) for pair in pairs)
    row = calibrate(judged(pairs, likenesses), thresholds=(CacheConfig().similar_threshold,)).rows[0]
    return MeasuredError(source=f"{len(pairs):,} pairs of {path.name}", served=row.served, wrong=row.wrong)
