"""`KVStore` for `IngestionCache(cache=…)`, and `CachedLLM` around a model, for LlamaIndex."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import LLM
from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from cachecore import Cache, Computed
from cachecore_frameworks._slot import Slot, broken_off

R = TypeVar("R", ChatResponse, CompletionResponse)
_MOST: Final = 1_000_000_000
_REASONS: Final = ("finish_reason", "stop_reason", "done_reason")
_NO_PART_OF_THE_KEY: Final = {"callback_manager", "api_key", "timeout", "max_retries"}


class KVStore(BaseKVStore):
    """A key-value store on a cache, in all processes that share it. Takes the arguments of `Cache`, or a `Cache`.

    Values are JSON, as in the files of LlamaIndex's own store.
    """

    def __init__(self, store: str | Cache[Any] = "memory://", *, namespace: str = "llamaindex", **options: Any) -> None:
        self._slot = Slot(store, namespace, **options)
        self.cache = self._slot.cache

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store a value."""
        self._slot.sync_cache.scoped(collection).set(key, [key, json.dumps(val)])

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store a value."""
        await self.cache.scoped(collection).set(key, [key, json.dumps(val)])

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value, or None."""
        found = self._slot.sync_cache.scoped(collection).get(key)
        return None if found is None else json.loads(found[1])

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value, or None."""
        found = await self.cache.scoped(collection).get(key)
        return None if found is None else json.loads(found[1])

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values by their keys; nothing where the store cannot list them."""
        kept = self._slot.sync_cache.scoped(collection).contents(most=_MOST)
        return {key: json.loads(value) for _, (key, value) in kept}

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values by their keys; nothing where the store cannot list them."""
        kept = self.cache.scoped(collection).contents(most=_MOST)
        return {key: json.loads(value) async for _, (key, value) in kept}

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value; return whether there was one."""
        return self._slot.sync_cache.scoped(collection).delete(key)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value; return whether there was one."""
        return await self.cache.scoped(collection).delete(key)

    def close(self) -> None:
        """Close the cache, if it was made from an address."""
        self._slot.close()


class CachedLLM(LLM):
    """A model with cached chats and completions: one call for all equal ones at once. Streams pass through.

    The key is the model with its fields, the call and its arguments. `raw` is not kept.
    """

    _llm: LLM = PrivateAttr()
    _slot: Slot = PrivateAttr()

    def __init__(
        self, llm: LLM, store: str | Cache[Any] = "memory://", *, namespace: str = "llamaindex", **options: Any
    ) -> None:
        super().__init__(callback_manager=llm.callback_manager)
        self._llm, self._slot = llm, Slot(store, namespace, **options)

    @property
    def cache(self) -> Cache[Any]:
        """The cache of the answers."""
        return self._slot.cache

    @property
    def metadata(self) -> LLMMetadata:
        """The metadata of the model."""
        return self._llm.metadata

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the stored answer, or that of the model."""
        asked = self._request("chat", [message.model_dump(mode="json") for message in messages], kwargs)
        return self._found(ChatResponse, asked, lambda: self._llm.chat(messages, **kwargs))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the stored answer, or that of the model."""
        asked = self._request("chat", [message.model_dump(mode="json") for message in messages], kwargs)
        return await self._afound(ChatResponse, asked, lambda: self._llm.achat(messages, **kwargs))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the stored answer, or that of the model."""
        asked = self._request("complete", [prompt, formatted], kwargs)
        return self._found(CompletionResponse, asked, lambda: self._llm.complete(prompt, formatted, **kwargs))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the stored answer, or that of the model."""
        asked = self._request("complete", [prompt, formatted], kwargs)
        return await self._afound(CompletionResponse, asked, lambda: self._llm.acomplete(prompt, formatted, **kwargs))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """Stream from the model."""
        return self._llm.stream_chat(messages, **kwargs)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """Stream from the model."""
        return await self._llm.astream_chat(messages, **kwargs)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Stream from the model."""
        return self._llm.stream_complete(prompt, formatted, **kwargs)

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        """Stream from the model."""
        return await self._llm.astream_complete(prompt, formatted, **kwargs)

    def _request(self, call: str, asked: Any, kwargs: dict[str, Any]) -> Any:
        fields = self._llm.model_dump(mode="json", exclude=_NO_PART_OF_THE_KEY, fallback=str)
        return {"llm": [self._llm.class_name(), fields], "call": call, "asked": asked, "arguments": kwargs}

    def _found(self, kind: type[R], request: Any, ask: Callable[[], R]) -> R:
        own: list[R] = []

        def answer() -> Computed[str]:
            own.append(ask())
            return _stored(own[0])

        stored = self._slot.sync_cache.get_or_set(request, answer)
        return own[0] if own else kind.model_validate_json(stored)

    async def _afound(self, kind: type[R], request: Any, ask: Callable[[], Awaitable[R]]) -> R:
        own: list[R] = []

        async def answer() -> Computed[str]:
            own.append(await ask())
            return _stored(own[0])

        stored = await self._slot.cache.get_or_set(request, answer)
        return own[0] if own else kind.model_validate_json(stored)


def _stored(response: ChatResponse | CompletionResponse) -> Computed[str]:
    message: Any = getattr(response, "message", None)
    raw: Any = response.raw
    details = [
        response.additional_kwargs,
        getattr(message, "additional_kwargs", None),
        raw if isinstance(raw, dict) else None,
    ]
    choices = raw.get("choices") if isinstance(raw, dict) else getattr(raw, "choices", None)
    details += [one if isinstance(one, dict) else vars(one) for one in choices or ()]
    whole = not any(broken_off(one, _REASONS) for one in details)
    return Computed(response.model_dump_json(exclude={"raw"}), store=whole)
