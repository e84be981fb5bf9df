"""A call as the flow asks for it: its key, its place, the reason to pass the cache by."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cachecore import Cache
from cachecore_llm.errors import NotCachedError
from cachecore_llm.flow.questions import Question, question_in
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.policy.controls import Controls
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, RequestFacts, UnreadableRequestError, WireProtocol


@dataclass(slots=True)
class Asked:
    """One call on its way. Facts of its body are read when they are first needed: a hit of plain text needs none."""

    call: Call
    controls: Controls
    view: Cache[StoredAnswer]
    """Where its answer lies."""
    request: JsonObject
    """What it is keyed by; empty for a bypass."""
    bypass: str | None = None
    """Why the cache is passed by, if it is."""
    _facts: RequestFacts | None = None
    _question: Question | None = field(default=None)
    _looked: bool = False
    _key: str | None = None

    @property
    def protocol(self) -> WireProtocol:
        """The protocol of the call."""
        return PROTOCOLS[self.call.protocol]

    @property
    def facts(self) -> RequestFacts:
        """The facts of the body. Raises UnreadableRequestError, which a call of plain text has not been asked for."""
        if self._facts is None:
            self._facts = self.protocol.parse(self.call.body)
        return self._facts

    @property
    def read_facts(self) -> RequestFacts | None:
        """The facts of the body, if they have been read."""
        return self._facts

    @property
    def question(self) -> Question | None:
        """The question by which another request's answer may stand in for this one's; None if none may."""
        if not self._looked:
            self._looked = True
            self._question = question_in(self.call.protocol, self.request, lambda: self.facts)
        return self._question

    @property
    def key(self) -> str:
        """The key of its entry."""
        if self._key is None:
            self._key = self.view.key(self.request)
        return self._key

    def prepare(self) -> None:
        """Read now what the answer will be judged by, while its provider works."""
        _ = self.key
        with suppress(UnreadableRequestError):
            _ = self.facts

    def check(self) -> None:
        """Raise NotCachedError if the cache is passed by, and the call asks for no answer but a stored one."""
        if self.bypass is not None and self.controls.only_if_cached:
            raise NotCachedError(self.bypass)

    def keyed(self, request: JsonObject) -> Any:
        """Return the value to key for `request`: sampled answers have keys of their own."""
        return {**request, "sample": self.controls.sample} if self.controls.sample else request
