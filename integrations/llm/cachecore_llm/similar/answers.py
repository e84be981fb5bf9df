"""The answer to a similar question: which questions may stand in for each other, and how their answers are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from cachecore import Cache
from cachecore.contract.results import Lookup
from cachecore_llm.similar.filling import Filler
from cachecore_llm.similar.laws import Asked
from cachecore_llm.similar.protocol import Match, SimilarityIndex
from cachecore_llm.similar.worker import WORKER, Job

V = TypeVar("V")

logger = logging.getLogger("cachecore.llm")

_MAX_TRIED: Final = 8
_GONE: Final = frozenset({"absent", "deleted", "invalidated"})
"""Reasons why a question has no answer any more. A store that does not answer says nothing about the entry."""
FILL_WAIT: Final = 1.0
"""Seconds: every provider has failed, so the caller has nothing better to wait for."""


class SimilarAnswer(NamedTuple, Generic[V]):
    """A stored answer to a similar question."""

    found: Lookup[V]
    similarity: float
    question: str


class AnsweredQuestions:
    """The questions that are known to have answers. Their answers stay in the store, which has the last word.

    Two questions are compared only if everything else of their requests is the same: the partition is the key of the
    request without its question.
    """

    def __init__(self, index: SimilarityIndex) -> None:
        self.index = index
        self.last: tuple[dict[str, Any], str | None] | None = None
        """The rest of the request that was noted last, and its partition; None if its question is not compared."""
        self._filler = Filler(index)

    def takes(self, question: str) -> bool:
        """Return whether `question` is of a length that is compared at all."""
        return self.index.takes(question)

    def remember(self, partition: str, question: str) -> None:
        """Remember a question with an answer in the store."""
        try:
            self.index.add(partition, question)
        except Exception as error:  # noqa: BLE001 - an index of the application's: the answer is paid for
            logger.warning("the index of similar questions took no question: %s", type(error).__name__)

    async def answer(
        self,
        view: Cache[V],
        partition: str,
        question: str,
        request: Callable[[str], Any],
        question_of: Callable[[V], str | None],
        *,
        wait: float = FILL_WAIT,
        max_age: float | None = None,
    ) -> SimilarAnswer[V] | None:
        """Return the answer to the most similar question that has one and breaks no law with this one, or None.

        Args:
            view: reads the answers; a stale one counts too.
            partition: the key of everything but the question.
            question: as it was asked.
            request: gives the value to key for another question.
            question_of: tells which question a stored value answers.
            max_age: seconds; only fresh answers that are at most so old count. None: stale ones count as well.
            wait: seconds to wait at most while a partition that is searched for the first time is read from the store.
        """
        await self._filler.filled(view, partition, request, question_of, wait=wait)
        try:
            matches = await self.index.search(partition, question)
            allowed = await WORKER.run(lawful(question, matches)) if matches else []
        except Exception as error:  # noqa: BLE001 - as above: no similar answer is no error
            logger.warning("the index of similar questions failed: %s", type(error).__name__)
            return None
        for match in allowed:
            found = await view.lookup(request(match.message), stale=max_age is None, max_age=max_age)
            if found.value is not None and question_of(found.value) == match.message:
                return SimilarAnswer(found, match.similarity, match.message)
            if found.reason in _GONE or (found.reason == "expired" and max_age is None):
                self.index.discard(partition, match.message)
        return None


def lawful(question: str, matches: Sequence[Match]) -> Job[list[Match]]:
    """Return the matches that break no law with `question`, in their order; not more than are worth a read."""
    asked = Asked(question)
    found: list[Match] = []
    for match in matches:
        if asked.broken_by(match.message) is None:
            found.append(match)
            if len(found) == _MAX_TRIED:
                break
        yield
    return found
