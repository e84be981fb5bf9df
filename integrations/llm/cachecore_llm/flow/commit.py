"""The stored part of an answer, and its lifetime."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, NamedTuple

from cachecore import Computed
from cachecore_llm.config import CacheConfig
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.fields import FieldDigester
from cachecore_llm.flow.places import model_tag
from cachecore_llm.flow.responses import response_in
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.policy.admission import rejection
from cachecore_llm.similar import AnsweredQuestions
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import AnswerFacts, JsonObject
from cachecore_llm.wire.objects import dump

logger = logging.getLogger("cachecore.llm")


class Judged(NamedTuple):
    """An answer, judged."""

    body: JsonObject
    """Without the parts that are for one caller only."""
    facts: AnswerFacts
    way: dict[str, Any]
    """Further fields of `StoredAnswer`."""
    kept: bool
    """Whether it is fit to be stored, and may be."""


class Commit:
    """Judges answers and makes entries of those that are fit. Counts the others, by reason."""

    def __init__(self, config: CacheConfig, questions: AnsweredQuestions, fields: FieldDigester) -> None:
        self._config = config
        self._questions = questions
        self._fields = fields
        self.rejected: Counter[str] = Counter()

    def whole(self, asked: Asked, sent: Sent) -> Judged:
        """Judge a whole answer."""
        body = asked.protocol.neutral(sent.body)
        facts = sent.facts
        if facts is None or body is not sent.body:
            facts = asked.protocol.facts(body)
        headers = tuple(sorted(getattr(sent, "headers", {}).items()))
        way = {"provider": sent.provider, "fallback": sent.fallback, "latency": sent.latency, "headers": headers}
        return self._judge(asked, body, facts, way)

    def judged(self, asked: Asked, body: JsonObject, facts: AnswerFacts, **way: Any) -> Computed[StoredAnswer]:
        """Return the entry of a neutral `body` with these `facts`; `way`: further fields of `StoredAnswer`."""
        return self.entry(asked, self._judge(asked, body, facts, way))

    def _judge(self, asked: Asked, body: JsonObject, facts: AnswerFacts, way: dict[str, Any]) -> Judged:
        why = self.rejection(asked, facts, body, way)
        if why is not None:
            self.rejected[why] += 1
        return Judged(body, facts, way, why is None and not asked.controls.no_store)

    def entry(self, asked: Asked, judged: Judged) -> Computed[StoredAnswer]:
        """Return the entry of an answer that was judged."""
        facts, kept = judged.facts, judged.kept
        stored = StoredAnswer(
            protocol=asked.call.protocol,
            body=dump(judged.body),
            question=self._question(asked, facts),
            fields=self._fields.packed(asked.request) if kept and self._config.field_digests else None,
            **judged.way,
        )
        served_by = stored.provider or None
        if not kept:
            return Computed(stored, store=False, served_by=served_by)
        tags = [model_tag(facts.model)] if stored.fallback and facts.model else []
        ttl = self._config.lifetimes.ttl_of(asked.facts, fallback=stored.fallback, controls=asked.controls)
        return Computed(stored, ttl=ttl, tags=tags, served_by=served_by)

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

    def _question(self, asked: Asked, facts: AnswerFacts) -> str | None:
        # A call of a tool holds arguments taken from the question: for another question they are wrong.
        if any(choice.tool_calls for choice in facts.choices):
            return None
        question = asked.question
        return question.text if question is not None and self._questions.takes(question.text) else None
