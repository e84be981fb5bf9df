"""`cache_of`: the cache of LiteLLM, `litellm.cache = cache_of("redis://localhost", ttl="1d")`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final
from weakref import WeakSet, WeakValueDictionary

import litellm
from litellm.caching.base_cache import BaseCache
from litellm.caching.caching import Cache as LiteLLMCache
from litellm.integrations.custom_logger import CustomLogger

from cachecore import Cache
from cachecore.contract.results import UNSET
from cachecore_frameworks._form import Form
from cachecore_frameworks._slot import Slot

_AT_A_HIT: Final = ("fastapi", "orjson", "soundfile")
"""Packages that LiteLLM imports with modules of its proxy when it logs a hit, and does not require."""


def cache_of(
    store: str | Cache[Any] = "memory://",
    *,
    namespace: str = "litellm",
    max_messages: int | None = None,
    **options: Any,
) -> LiteLLMCache:
    """Return a cache for `litellm.cache`; `ttl` says how long its answers live.

    Args:
        store: the address of a store, or a `Cache` to share.
        namespace: where the answers lie.
        max_messages: LiteLLM neither looks up nor stores requests with more messages; its own limit would be 4.
        options: as for `Cache`.
    """
    missing = [package for package in _AT_A_HIT if find_spec(package) is None]
    if missing:
        way_out = "pip install 'cachecore-frameworks[litellm]'"
        warnings.warn(
            f"LiteLLM 1.110 imports {' and '.join(missing)} at a hit, which fails here: {way_out}", stacklevel=2
        )
    made = LiteLLMCache(max_messages=max_messages)  # also has streams stored at their end
    made.cache = Backend(Slot(store, namespace, Form(whole=_whole), **options))
    return made


class Backend(BaseCache):
    """A cache for LiteLLM: one call for all equal ones at once, but for streams and embeddings."""

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self.slot = slot
        self._claims: WeakValueDictionary[str, Any] = WeakValueDictionary()
        _backends.add(self)
        if _failures not in litellm.callbacks:
            litellm.callbacks.append(_failures)

    def get_cache(self, key: str, **kwargs: Any) -> Any:
        """Return the entry, or None."""
        value = self.slot.get(key)
        return self._missed(key, True, kwargs) if value is None else value

    async def async_get_cache(self, key: str, **kwargs: Any) -> Any:
        """Return the entry, or None. Embeddings come by themselves, and streams may be left: they claim nothing."""
        if kwargs.get("stream") or "messages" not in kwargs:
            return await self.slot.cache.get(key)
        value = await self.slot.aget(key)
        return self._missed(key, False, kwargs) if value is None else value

    def set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        """Store an entry; `ttl` is that of the call."""
        self.slot.put(key, value, ttl=kwargs.get("ttl") or UNSET)

    async def async_set_cache(self, key: str, value: Any, **kwargs: Any) -> None:
        """Store an entry; `ttl` is that of the call."""
        await self.slot.aput(key, value, ttl=kwargs.get("ttl") or UNSET)

    async def async_set_cache_pipeline(self, cache_list: Sequence[tuple[str, Any]], **kwargs: Any) -> None:
        """Store entries in one round trip."""
        await self.slot.cache.set_many(dict(cache_list), ttl=kwargs.get("ttl") or UNSET)

    async def disconnect(self) -> None:
        """Close the cache, if it was made from an address."""
        await self.slot.aclose()

    def failed(self, kwargs: dict[str, Any]) -> None:
        """Let other callers of a request that has failed go on."""
        for name in _names(kwargs):
            claim = self._claims.pop(name, None)
            if claim is not None:
                claim.end()
                return

    def _missed(self, key: str, sync: bool, kwargs: dict[str, Any]) -> None:
        claim = self.slot.claim_of(key, sync)
        if claim is not None:
            self._claims[_names(kwargs)[0]] = claim


class _Failures(CustomLogger):
    """LiteLLM tells its callbacks of a failure, in another thread or task, and not its cache."""

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        for backend in _backends:
            backend.failed(kwargs)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        for backend in _backends:
            backend.failed(kwargs)


_failures = _Failures()  # one for all: LiteLLM drops a second callback of a class
_backends: WeakSet[Backend] = WeakSet()


def _names(kwargs: dict[str, Any]) -> list[str]:
    """Return what a call is known by: its id, which a sync look-up does not tell, and what it asks."""
    asked = repr(kwargs.get("messages") or kwargs.get("input"))
    return [kwargs["litellm_call_id"], asked] if kwargs.get("litellm_call_id") else [asked]


def _whole(value: Any) -> bool:
    """Return whether no choice of a completion broke off. The response is JSON, of LiteLLM's own making."""
    response = value.get("response") if isinstance(value, dict) else None
    return not isinstance(response, str) or not any(f'"finish_reason":"{why}"' in response for why in _BROKEN)


_BROKEN = ("length", "content_filter")
"""LiteLLM's names of the reasons for which a model breaks off, the same for all providers."""
