"""The answer to a similar question before a provider is asked, where that is switched on; and the check behind it.

Only if the request has no fresh answer of its own, and only with one that is fresh and at most `similar_ttl` old. A
call that is drawn for the shadow check goes to the provider instead: there the two answers are compared, behind its
caller.
"""

from __future__ import annotations

import asyncio
from typing import Final

from cachecore_llm.flow import ladder
from cachecore_llm.flow.answers import Answer
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.calls import Calls
from cachecore_llm.flow.responses import text_of
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.similar.shadow import ShadowCheck

RUNNING: Final[set[asyncio.Task[None]]] = set()
"""Comparisons under way."""
MOST_RUNNING: Final = 64
"""Comparisons at once; while a slow judge has so many no call is drawn."""


def is_first(flow: Calls, asked: Asked) -> bool:
    """Return whether a similar answer may be served to `asked` before a provider is asked."""
    config, controls = flow.config, asked.controls
    if asked.bypass is not None or controls.refresh or not config.similar or controls.similar is False:
        return False
    if controls.similar is None:
        first = config.similar_first
        name = asked.call.prompt or config.label
        if not (first if isinstance(first, bool) else name in first):
            return False
    return asked.question is not None


def drawn(flow: Calls, asked: Asked) -> ShadowCheck | None:
    """Return the shadow check if `asked` is drawn for it."""
    shadow = flow.config.similar_shadow
    if shadow is None or asked.bypass is not None or not flow.config.similar or not shadow.draws():
        return None
    if len(RUNNING) >= MOST_RUNNING or asked.controls.similar is False:
        return None
    return shadow if asked.question is not None else None


async def instead(flow: Calls, asked: Asked) -> Answer | None:
    """Return the similar answer to a call that has no fresh answer of its own, or None."""
    own = await flow.unasked(asked).lookup(asked.request)
    if own.value is not None or own.reason in ("store", "bypass"):
        return None
    ttl = flow.config.similar_ttl
    return await flow.similar_answer(asked, max_age=float(ttl) if isinstance(ttl, int | float) else None)


def check(flow: Calls, asked: Asked, shadow: ShadowCheck, made: StoredAnswer) -> None:
    """Compare the answer that the provider has made with the one that would have been similar, in the background."""

    async def compare() -> None:
        match = await ladder.similar(asked, flow.questions, flow.unasked(asked))
        question = asked.question
        if match is None or match.found.value is None or question is None:
            return
        given, own = text_of(match.found.value), text_of(made)
        await shadow.judge(question.text, match.question, given, own)

    task = asyncio.get_running_loop().create_task(compare())
    RUNNING.add(task)
    task.add_done_callback(RUNNING.discard)
