"""`CachedLLM`: a model of LlamaIndex with cached answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import LLM

from cachecore import Cache
from cachecore_frameworks._adapter import Adapter
from cachecore_frameworks._form import Form, broken_off
from cachecore_frameworks._slot import Slot

_KINDS: Final = {kind.__name__: kind for kind in (ChatResponse, CompletionResponse)}
_REASONS: Final = ("finish_reason", "stop_reason", "done_reason")
_NO_PART_OF_THE_KEY: Final = {"callback_manager", "api_key", "timeout", "max_retries"}


def _whole(response: ChatResponse | CompletionResponse) -> bool:
    message: Any = getattr(response, "message", None)
    raw: Any = response.raw
    choices = raw.get("choices") if isinstance(raw, dict) else getattr(raw, "choices", None)
    facts = [response.additional_kwargs, getattr(message, "additional_kwargs", None)]
    facts += [one if isinstance(one, dict) else vars(one) for one in (raw, *(choices or ())) if one is not None]
    return not any(broken_off(one, _REASONS) for one in facts)


def _plain(response: ChatResponse | CompletionResponse) -> list[str]:
    return [type(response).__name__, response.model_dump_json(exclude={"raw"})]


def _made(stored: Any) -> ChatResponse | CompletionResponse:
    kind, text = stored
    return _KINDS[kind].model_validate_json(text)


class CachedLLM(Adapter, LLM):
    """A model with cached chats and completions: one call for all equal ones at once. Streams pass through.

    The key is the model with its fields, the call and its arguments. `raw` is not kept.
    """

    _llm: LLM = PrivateAttr()
    _slot: Slot = PrivateAttr()

    def __init__(
        self, llm: LLM, store: str | Cache[Any] = "memory://", *, namespace: str = "llamaindex", **options: Any
    ) -> None:
        super().__init__(callback_manager=llm.callback_manager)
        self._llm = llm
        self._slot = Slot(store, namespace, Form(plain=_plain, made=_made, whole=_whole), **options)

    @property
    def metadata(self) -> LLMMetadata:
        """The metadata of the model."""
        return self._llm.metadata

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the stored answer, or that of the model."""
        return self._slot.answer(self._chat(messages, kwargs), lambda: self._llm.chat(messages, **kwargs))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the stored answer, or that of the model."""
        return await self._slot.aanswer(self._chat(messages, kwargs), lambda: self._llm.achat(messages, **kwargs))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the stored answer, or that of the model."""
        request = self._request("complete", [prompt, formatted], kwargs)
        return self._slot.answer(request, lambda: self._llm.complete(prompt, formatted, **kwargs))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the stored answer, or that of the model."""
        request = self._request("complete", [prompt, formatted], kwargs)
        return await self._slot.aanswer(request, lambda: self._llm.acomplete(prompt, formatted, **kwargs))

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

    def _chat(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> Any:
        return self._request("chat", [message.model_dump(mode="json") for message in messages], kwargs)

    def _request(self, call: str, asked: Any, kwargs: dict[str, Any]) -> Any:
        fields = self._llm.model_dump(mode="json", exclude=_NO_PART_OF_THE_KEY, fallback=str)
        return {"llm": [self._llm.class_name(), fields], "call": call, "asked": asked, "arguments": kwargs}
