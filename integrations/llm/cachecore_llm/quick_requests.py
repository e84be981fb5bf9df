"""The short way from a request of two texts to its key: its constant parts are worked out once.

A service is asked the same thing in the same words all day: one system prompt or a few, the same parameters, another
question. For such a request (no context, parameters that are numbers, texts or switches) key and place are made from a
template. A template is used only after it gave the very key of the long way for its first request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cachecore import Cache
from cachecore_llm.flow import Flow, StoredAnswer
from cachecore_llm.key import unkeyed
from cachecore_llm.wire import Call, JsonObject, ProtocolName

_MOST_TEMPLATES: Final = 256
_MOST_VIEWS: Final = 2048
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})

Quick = tuple[Cache[StoredAnswer], JsonObject]
"""Where the answer lies, and the value to key."""


class _Template:
    """The parts of a request that do not change."""

    __slots__ = ("around", "body", "plain")

    def __init__(self, request: JsonObject) -> None:
        self.around = {name: value for name, value in request.items() if name != "body"}
        self.plain = request["protocol"] == "plain"
        texts = ("system_prompt", "user_message") if self.plain else ("messages",)
        self.body = {name: value for name, value in request["body"].items() if name not in texts}

    def request(self, system_prompt: str, question: str) -> JsonObject:
        """Return the value to key."""
        if self.plain:
            return {**self.around, "body": {**self.body, "system_prompt": system_prompt, "user_message": question}}
        asked = {"role": "user", "content": question}
        messages = [{"role": "system", "content": system_prompt}, asked] if system_prompt else [asked]
        return {**self.around, "body": {**self.body, "messages": messages}}


class QuickRequests:
    """The templates of one service."""

    def __init__(self, flow: Flow, protocol: ProtocolName) -> None:
        self._flow = flow
        self._unkeyed = unkeyed(protocol)
        self._templates: dict[Any, _Template | None] = {}
        self._views: dict[tuple[_Template, str], Cache[StoredAnswer]] = {}

    def find(
        self,
        system_prompt: str,
        question: str,
        params: Mapping[str, Any],
        tenant: str | None,
        label: str | None,
        keyed: Callable[[], Call],
    ) -> Quick | None:
        """Return place and key of a request; None if it has to go the long way. `keyed` writes its call.

        Raises as `keyed`, and OptionsError if tenant or label are none.
        """
        if not self._unkeyed.isdisjoint(params):  # a template for each `user` would be of no use
            params = {param: value for param, value in params.items() if param not in self._unkeyed}
        values = params.values()
        # 0, 0.0 and False are equal in Python, and not here.
        name = (tenant, label, not system_prompt, *params, *values, *map(type, values))
        try:
            template = self._templates.get(name, self)
        except TypeError:  # a value that has no hash is no number, text or switch
            return None
        if template is self:
            template = self._made(name, system_prompt, question, params, keyed)
        if not isinstance(template, _Template):
            return None
        view = self._views.get((template, system_prompt))
        if view is None:
            if len(self._views) >= _MOST_VIEWS:
                self._views.clear()
            view = self._views[template, system_prompt] = self._flow.ask(keyed()).view
        return view, template.request(system_prompt, question)

    def _made(
        self, name: Any, system_prompt: str, question: str, params: Mapping[str, Any], keyed: Callable[[], Call]
    ) -> _Template | None:
        template: _Template | None = None
        if all(type(value) in _SCALARS for value in params.values()):
            asked = self._flow.ask(keyed())
            if asked.bypass is None and asked.read_facts is None and "body" in asked.request:
                candidate = _Template(asked.request)
                if candidate.request(system_prompt, question) == asked.request:
                    template = candidate
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        self._templates[name] = template
        return template
