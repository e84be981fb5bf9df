"""`DSPyCache`: the cache of DSPy, `dspy.cache = DSPyCache("redis://localhost", ttl="1d")`."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

from dspy.clients.cache import Cache as DSPyBase
from pydantic import BaseModel

from cachecore import Cache
from cachecore_frameworks._adapter import Adapter
from cachecore_frameworks._form import Form
from cachecore_frameworks._slot import Slot

_KINDS: Final = ("ModelResponse", "TextCompletionResponse", "EmbeddingResponse", "ResponsesAPIResponse")
"""The classes of LiteLLM that stored bytes may become."""


def _plain(value: Any) -> list[Any]:
    kind = type(value).__name__
    if isinstance(value, BaseModel) and kind in _KINDS:
        return [kind, value.model_dump_json()]
    return ["", value]


def _made(stored: Any) -> Any:
    kind, value = stored
    if not kind:
        return value
    if kind not in _KINDS:
        raise ValueError(f"{kind!r} is no class of an answer")
    import litellm  # takes seconds, and DSPy imports it when a model is asked

    return getattr(litellm, kind)(**json.loads(value))


class DSPyCache(Adapter, DSPyBase):
    """The answers of models and embedders, without pickle. Takes the arguments of `Cache`, or a `Cache` to share.

    DSPy calls it without await, also from async programs, and tells it of no failure. So it claims nothing.
    """

    def __init__(self, store: str | Cache[Any] = "memory://", *, namespace: str = "dspy", **options: Any) -> None:
        super().__init__(enable_disk_cache=False, enable_memory_cache=False, disk_cache_dir=None)
        self._slot = Slot(store, namespace, Form(plain=_plain, made=_made), **options)

    def __contains__(self, key: str) -> bool:
        return self._slot.sync_cache.exists(key)

    def get(self, request: dict[str, Any], ignored_args_for_cache_key: list[str] | None = None) -> Any:
        """Return the answer, without its usage, or None; None also for a request that has no key."""
        with suppress(TypeError, ValueError):  # of JSON
            key = self.cache_key(request, ignored_args_for_cache_key)
            answer = self._slot.look(key)
            return None if answer is None else self._prepare_cached_response(answer)
        return None

    def put(
        self,
        request: dict[str, Any],
        value: Any,
        ignored_args_for_cache_key: list[str] | None = None,
        enable_memory_cache: bool = True,
    ) -> None:
        """Store an answer: one of LiteLLM's, or plain data. Other values are not stored, and counted."""
        with suppress(TypeError, ValueError):
            self._slot.put(self.cache_key(request, ignored_args_for_cache_key), value)

    def reset_memory_cache(self) -> None:
        """Make all answers of this namespace invalid, in every process."""
        self._slot.clear()
