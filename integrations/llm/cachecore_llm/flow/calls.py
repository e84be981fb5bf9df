"""The parts that all ways of a call share: key and place, commit, counts."""

from __future__ import annotations

from collections import Counter
from typing import Final

from cachecore import Cache, OptionsError
from cachecore_llm.config import CacheConfig
from cachecore_llm.flow import ladder
from cachecore_llm.flow.answers import Answer
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.commit import Commit
from cachecore_llm.flow.costs import Costs
from cachecore_llm.flow.fields import FieldDigester
from cachecore_llm.flow.places import Places
from cachecore_llm.flow.readers import Readers
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.key import Bypass, key_of, normalised, simple_key, without
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.similar import AnsweredQuestions
from cachecore_llm.similar.choosing import chosen_index
from cachecore_llm.wire import Call, JsonObject, UnreadableRequestError

_NO_KEY: Final[JsonObject] = {}


class Calls:
    """Calls to `root`, a cache of answers, under the settings of `config`."""

    def __init__(self, root: Cache[StoredAnswer], config: CacheConfig, costs: Costs | None = None) -> None:
        self.config = config
        self.root = root.scoped(rescue_if=ladder.may_rescue)
        self.costs = costs or Costs()
        self.questions = AnsweredQuestions(
            chosen_index(
                config.similar_index,
                threshold=config.similar_threshold,
                max_messages=config.similar_max_messages if config.similar else 0,
                max_chars=config.similar_max_chars,
                max_bytes=config.similar_max_bytes,
            )
        )
        self.fields = FieldDigester(self.root)
        self.commit = Commit(config, self.questions, self.fields)
        self.places = Places(self.root, config)
        # What is read to find a similar answer is no request of any caller, so it is not counted among them.
        self._unasked = Places(self.root.scoped(name="llm.similar"), config)
        self.readers = Readers()
        self.bypassed: Counter[str] = Counter()
        """Calls that passed the cache by, by reason."""
        self.similar = 0
        """Calls that were answered with the answer to a similar question."""

    def ask(self, call: Call, controls: Controls = DEFAULT) -> Asked:
        """Return the key and the place of `call`.

        Raises:
            RefusedFieldError: the body holds an argument of an SDK.
            OptionsError: the tenant or the label is none, or `controls` are none.
        """
        given: object = controls
        if not isinstance(given, Controls):
            raise OptionsError(f"a call asks of the cache with cache=Controls(…), not {given!r}")
        config = self.config
        if not config.enabled:
            return Asked(call, controls, self.root, _NO_KEY, "off")
        facts = None
        request = simple_key(call)
        if request is None:
            try:
                facts = Asked(call, controls, self.root, _NO_KEY).facts
                found = key_of(call, facts, allowed_tools=config.allowed_tools)
            except UnreadableRequestError:  # the provider's own error says more
                return Asked(call, controls, self.root, _NO_KEY, "unreadable")
            if isinstance(found, Bypass):
                return Asked(call, controls, self.root, _NO_KEY, found.reason, facts)
            request = found.request
            if found.objects and call.protocol != "plain":
                credential = call.scope if call.credential is None else call.credential
                if not credential:
                    names = ", ".join(sorted(found.objects))
                    return Asked(call, controls, self.root, _NO_KEY, f"no credential in the key for {names}", facts)
                request = {**request, "credential": credential}
        if config.ignores:
            request = without(call.protocol, request, config.ignores)
        if config.spelling:
            request = normalised(request, config.spelling)
        strict = facts is not None and ladder.is_strict(facts.tools)
        view = self.places.view(call, controls, strict=strict)
        if controls.sample:
            request = {**request, "sample": controls.sample}
        return Asked(call, controls, view, request, None, facts)

    def unasked(self, asked: Asked) -> Cache[StoredAnswer]:
        """Return the place of `asked` for reads that no caller asked for."""
        return self._unasked.view(asked.call, asked.controls, strict=ladder.is_strict(asked.facts.tools))

    async def similar_answer(self, asked: Asked, max_age: float | None = None) -> Answer | None:
        """Return the answer to a question much like that of `asked`, marked `similar`, or None.

        `max_age`: seconds; given where no provider has been asked yet.
        """
        config = self.config
        shadow = config.similar_shadow
        if not config.similar or asked.bypass is not None or asked.controls.similar is False:
            return None
        if shadow is not None and shadow.off:
            return None
        match = await ladder.similar(asked, self.questions, self.unasked(asked), max_age)
        if match is None or match.found.value is None:
            return None
        self.similar += 1
        stored = match.found.value
        self.costs.saved(asked, stored)
        return Answer(
            stored=stored,
            status="similar",
            age=match.found.age,
            fresh_for=match.found.fresh_for,
            key=match.found.key,
            similarity=match.similarity,
            matched_message=match.question,
            facts=asked.facts,
        )

    def passed_by(self, asked: Asked, stored: StoredAnswer) -> Answer:
        """Return an answer that was not asked of the cache, counted."""
        reason = asked.bypass or "bypass()"
        self.bypassed[reason] += 1
        return Answer(stored=stored, status="bypass", reason=reason, facts=asked.read_facts)
