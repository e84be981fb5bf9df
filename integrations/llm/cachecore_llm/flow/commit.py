"""What is stored of an answer, and for how long."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from cachecore import Computed
from cachecore.contract.results import Unset
from cachecore_llm.config import CacheConfig
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.places import model_tag
from cachecore_llm.flow.responses import response_in
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.policy.admission import rejection
from cachecore_llm.similar import AnsweredQuestions
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import AnswerFacts, JsonObject
from cachecore_llm.wire.objects import dump

logger = logging.getLogger("cachecore.llm")


class Commit:
    """Judges answers and makes what is stored of them. Counts what it turns away, by reason."""

    def __init__(self, config: CacheConfig, questions: AnsweredQuestions) -> None:
        self._config = config
        self._questions = questions
        self.rejected: Counter[str] = Counter()

    def whole(self, asked: Asked, sent: Sent) -> Computed[StoredAnswer]:
        """Return what is stored of a whole answer."""
        body = asked.protocol.neutral(sent.body)
        headers = tuple(sorted(getattr(sent, "headers", {}).items()))
        return self.judged(
            asked, body, provider=sent.provider, fallback=sent.fallback, latency=sent.latency, headers=headers
        )

    def judged(self, asked: Asked, body: JsonObject, *, fit: bool = True, **way: Any) -> Computed[StoredAnswer]:
        """Return what is stored of a neutral `body`; `way`: further fields of `StoredAnswer`.

        With `fit=False` it is not to be stored, and that is no matter of the answer.
        """
        facts = asked.protocol.facts(body)
        stored = StoredAnswer(
            protocol=asked.call.protocol, body=dump(body), question=self._question(asked, facts), **way
        )
        served_by = stored.provider or None
        why = self.rejection(asked, facts, body, way)
        if why is not None:
            self.rejected[why] += 1
        if why is not None or not fit or asked.controls.no_store:
            return Computed(stored, store=False, served_by=served_by)
        tags = [model_tag(facts.model)] if stored.fallback and facts.model else []
        return Computed(stored, ttl=self.ttl(asked, fallback=stored.fallback), tags=tags, served_by=served_by)

    def rejection(self, asked: Asked, facts: AnswerFacts, body: JsonObject, way: dict[str, Any]) -> str | None:
        """Return why an answer must not be stored, None if it may be."""
        why = rejection(facts, asked.facts, self._config.rules)
        if why is not None or self._config.admit is None:
            return why
        known = {name: way[name] for name in ("provider", "fallback", "latency") if name in way}
        try:
            return None if self._config.admit(response_in(asked.call.protocol, body, **known)) else "custom"
        except Exception as error:  # noqa: BLE001 - the application's own rule; the answer is paid for
            logger.warning("the rule admit raised %s: the answer is not stored", type(error).__qualname__)
            return "custom"

    def ttl(self, asked: Asked, *, fallback: bool) -> float | Unset | None:
        """Return for how many seconds an answer is fresh: None for ever, unset as configured."""
        own: Any = asked.controls.ttl
        bounds: list[float] = []
        config: Any = self._config
        if fallback:
            bounds.append(config.fallback_ttl)
        if any(not tool.by_caller and tool.kind.startswith(("web_", "file_search")) for tool in asked.facts.tools):
            bounds.append(config.web_ttl)
        if not bounds:
            return own  # type: ignore[no-any-return]  # seconds since the controls were made
        given = config.ttl_seconds if isinstance(own, Unset) else own
        return min(bounds if given is None else [given, *bounds])

    def _question(self, asked: Asked, facts: AnswerFacts) -> str | None:
        # A call of a tool holds arguments taken from the question: for another question they are wrong.
        if any(choice.tool_calls for choice in facts.choices):
            return None
        question = asked.question
        return question.text if question is not None and self._questions.takes(question.text) else None
