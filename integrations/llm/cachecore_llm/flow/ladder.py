"""Answers that may stand in for one that could not be made.

The rungs: exact and fresh; stale while the provider is slow; the providers; exact and stale; similar; the error itself.
A mistake of the caller is raised at once: an old answer in its place would hide it.
"""

from __future__ import annotations

from cachecore import Cache, Lookup
from cachecore_llm.errors import ProviderTimeoutError
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.questions import split
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.similar import AnsweredQuestions, SimilarAnswer
from cachecore_llm.similar.answers import FILL_WAIT
from cachecore_llm.upstream import fault_of
from cachecore_llm.upstream.faults import timed_out
from cachecore_llm.wire import ToolOffer


def may_rescue(error: Exception) -> bool:
    """Return whether an old or a similar answer may be given in place of `error`."""
    return fault_of(error) != "caller"


def is_haste(error: Exception) -> bool:
    """Return whether `error` may be the end of a timeout that one call chose for itself; others need not share it."""
    causes = getattr(error, "causes", (error,))
    return any(timed_out(cause) and not isinstance(cause, ProviderTimeoutError) for cause in causes)


def is_strict(tools: tuple[ToolOffer, ...]) -> bool:
    """Return whether a request gets nothing stale unless it asks for it: an agent would act on it."""
    return bool(tools)


async def similar(
    asked: Asked, questions: AnsweredQuestions, unasked: Cache[StoredAnswer], max_age: float | None = None
) -> SimilarAnswer[StoredAnswer] | None:
    """Return the answer to a question much like that of `asked`, or None. `unasked`: its place, counted apart.

    With a `max_age` in seconds only a fresh one that is no older, and what the store has is not waited for.
    """
    question = asked.question
    if question is None or not questions.takes(question.text):
        return None
    return await questions.answer(
        unasked,
        asked.view.key(asked.keyed(question.rest)),
        question.text,
        lambda text: asked.keyed(question.asked(text)),
        lambda stored: stored.question,
        wait=FILL_WAIT if max_age is None else 0.0,
        max_age=max_age,
    )


def remember(asked: Asked, questions: AnsweredQuestions, stored: StoredAnswer | None) -> None:
    """Remember the question of an answer that lies in the store, if it may answer others."""
    if stored is None or stored.question is None or not questions.takes(stored.question):
        return
    found = split(asked.call.protocol, asked.request)
    if found is None:
        return
    last = questions.last
    if last is None or last[0] != found.rest:  # a service asks many questions about one and the same rest
        question = asked.question
        partition = None if question is None else asked.view.key(asked.keyed(question.rest))
        last = questions.last = found.rest, partition
    if last[1] is not None:
        questions.remember(last[1], stored.question)


def is_from_store(found: Lookup[StoredAnswer]) -> bool:
    """Return whether an answer came from the store, so that this process may not know its question yet."""
    return found.outcome == "hit" and found.tier == "l2"
