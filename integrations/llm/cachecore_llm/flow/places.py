"""Where the answers to a call live: one view of the cache for each tenant, label, prompt text and model.

A view knows its namespace, its tags and its stale windows, so that a hit works none of that out again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from cachecore import Cache
from cachecore_llm.config import CacheConfig
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.policy.controls import Controls
from cachecore_llm.policy.prompts import place_of
from cachecore_llm.wire import Call
from cachecore_llm.wire.facts import as_object, as_objects

_MAX_VIEWS: Final = 4096


class Place(NamedTuple):
    """The options that choose a view."""

    tenant: str | None
    label: str | None
    system: str
    """The text of the system prompt; empty if there is none."""
    model: str | None
    strict: bool
    """Whether nothing stale may be served unless the call asks for it."""
    stale_if_error: float | None
    """The wish of the call; None: as configured."""


class Places:
    """The views of one cache of answers; those used last are kept."""

    def __init__(self, root: Cache[StoredAnswer], config: CacheConfig) -> None:
        self._root = root
        self._config = config
        self._views: OrderedDict[Place, Cache[StoredAnswer]] = OrderedDict()

    def view(self, call: Call, controls: Controls, *, strict: bool) -> Cache[StoredAnswer]:
        """Return where the answer to `call` lies. Raises OptionsError if tenant or label are none."""
        label = self._config.label if call.prompt is None else call.prompt
        system, model = system_text(call)
        given: Any = controls.stale_if_error  # read as seconds when the controls were made
        place = Place(call.tenant, label, system, model, strict, given)
        view = self._views.get(place)
        if view is None:
            view = self._views[place] = self._made(place)
            if len(self._views) > _MAX_VIEWS:
                self._views.popitem(last=False)
        return view

    def _made(self, place: Place) -> Cache[StoredAnswer]:
        config = self._config
        policy: dict[str, Any] = {}
        window = config.lifetimes.window
        if place.stale_if_error is not None:
            policy = {"stale_if_error": config.lifetimes.window_of(place.stale_if_error), "keep_stale": window}
        elif place.strict:
            policy = {"stale_if_error": 0.0, "stale_while_revalidate": 0.0, "soft_timeout": None, "keep_stale": window}
        found = place_of(place.system, tenant=place.tenant, name=place.label)
        tags = found.tags if place.model is None else (*found.tags, model_tag(place.model))
        return self._root.scoped(found.namespace, tags=tags, **policy)


def model_tag(model: str) -> str:
    """Return the tag of all answers of `model`."""
    return "model:" + model


def system_text(call: Call) -> tuple[str, str | None]:
    """Return the text of the system prompt, empty if there is none, and the model that the call names."""
    body = call.body
    if call.protocol == "plain":
        text, model = body.get("system_prompt"), as_object(body.get("params")).get("model")
    else:
        model = body.get("model")
        if call.protocol == "openai.chat":
            messages = body.get("messages")
            first = messages[0] if isinstance(messages, list) and messages else None
            is_system = isinstance(first, dict) and first.get("role") in ("system", "developer")
            text = first.get("content") if is_system else ""  # type: ignore[union-attr]  # is_system says it is a dict
        elif call.protocol == "openai.responses":
            text = body.get("instructions")
        else:
            text = body.get("system")
    if isinstance(text, list):
        text = "\n".join(part["text"] for part in as_objects(text) if isinstance(part.get("text"), str))
    return (text if isinstance(text, str) else ""), (model if isinstance(model, str) and model else None)
