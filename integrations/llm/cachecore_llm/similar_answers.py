"""The answer to a similar question: which questions may stand in for each other, and how their answers are read."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from cachecore import Cache
from cachecore_llm.agreement import disagreement
from cachecore_llm.config import CacheConfig
from cachecore_llm.request import LLMRequest
from cachecore_llm.response import LLMResponse, StoredAnswer, marked
from cachecore_llm.similarity import SimilarityIndex

_MAX_TRIED: Final = 8


class AnsweredQuestions:
    """The questions that this process has seen answered. Their answers stay in the store, which has the last word.

    Two questions are compared only if everything else of their requests is the same: the partition is the key of the
    request without its question.
    """

    def __init__(self, config: CacheConfig) -> None:
        self._ignore = config.ignore
        self._index = SimilarityIndex(
            threshold=config.similar_threshold,
            max_messages=config.similar_max_messages if config.similar else 0,
            max_chars=config.similar_max_chars,
        )

    def takes(self, request: LLMRequest) -> bool:
        """Return whether the question of `request` is of a length that is compared at all."""
        return self._index.takes(request.user_message)

    def may_match(self, request: LLMRequest, response: LLMResponse) -> bool:
        """Return whether `response` could answer another question than that of `request`."""
        # A call of a tool holds arguments taken from the question: for another question they are wrong.
        return not response.tool_calls and self.takes(request)

    def remember(self, request: LLMRequest, view: Cache[StoredAnswer], stored: StoredAnswer) -> None:
        """Remember the question of an answer that lies in the store, if it may be matched."""
        if stored.user_message is not None:
            self._index.add(view.key(request.partition_fields(self._ignore)), stored.user_message)

    async def answer(self, request: LLMRequest, view: Cache[Any]) -> LLMResponse | None:
        """Return the answer to the most similar question that has one and agrees with this one, marked, or None."""
        fields = request.partition_fields(self._ignore)
        partition = view.key(fields)
        tried = 0
        for match in self._index.search(partition, request.user_message):
            if disagreement(request.user_message, match.message) is not None:
                continue
            tried += 1
            if tried > _MAX_TRIED:
                break
            found = await view.lookup({**fields, "user_message": match.message}, stale=True)
            stored: StoredAnswer | None = found.value
            if stored is not None and stored.user_message == match.message:
                response = marked(stored.response, "similar", found.age)
                return msgspec.structs.replace(response, similarity=match.similarity, matched_message=match.message)
            if found.reason != "store":  # a store that does not answer says nothing about the entry
                self._index.discard(partition, match.message)
        return None
