"""`CachedModel`: a model of Pydantic AI with cached answers, `Agent(CachedModel("openai:gpt-5", "redis://…"))`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from cachecore import Cache
from cachecore_frameworks._adapter import Adapter
from cachecore_frameworks._slot import Slot
from cachecore_frameworks.pydantic_ai._form import RESPONSES
from cachecore_frameworks.pydantic_ai._stream import SharedStream

_PARAMETERS: Final = TypeAdapter(ModelRequestParameters)
_SENT: Final = ("kind", "parts", "instructions", "state")
"""The fields of a message that a model is sent; others say when, in which run and at which price it came about."""
_OF_THE_RUN: Final = ("timestamp", "metadata")
_PATIENCE: Final = ("timeout", "request_timeout", "first_event_timeout")
"""Settings that change how long to wait, and no answer."""


class CachedModel(Adapter, WrapperModel):
    """One request for all agents that ask the same at once, streamed or not. Takes the arguments of `Cache`, or one.

    The key is the model, its settings, tools and output, and the messages without their times and runs. A hit reports
    no usage. Broken-off answers are not kept.
    """

    def __init__(
        self,
        wrapped: Model | str,
        store: str | Cache[Any] = "memory://",
        *,
        namespace: str = "pydantic_ai",
        **options: Any,
    ) -> None:
        super().__init__(wrapped)
        self._slot = Slot(store, namespace, RESPONSES, **options)

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Return the stored response, or that of the model."""
        return await self._slot.aanswer(
            self._request(messages, model_settings, parameters),
            lambda: self.wrapped.request(messages, model_settings, parameters),
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Stream the stored response, or that of the model, which all callers share from its first event on."""

        async def ask() -> AsyncIterator[Any]:
            async with self.wrapped.request_stream(messages, model_settings, parameters, run_context) as streamed:
                async for event in streamed:
                    yield event
                yield streamed.get()

        request = self._request(messages, model_settings, parameters)
        async with self._slot.stream(request, ask) as stream:
            begun = ModelResponse([], model_name=self.model_name, provider_name=self.system, state="incomplete")
            yield SharedStream(begun, parameters, stream, partial(self._slot.stream_anew, request, ask))

    def _request(self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: Any) -> Any:
        model = self.wrapped
        every: dict[str, Any] = {**(model.settings or {}), **(settings or {})}
        return {
            "model": [model.model_id, model.base_url],
            "settings": {name: value for name, value in every.items() if name not in _PATIENCE},
            "parameters": _PARAMETERS.dump_python(parameters),
            "messages": [_sent(message) for message in ModelMessagesTypeAdapter.dump_python(messages, mode="json")],
        }


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    sent = {name: message[name] for name in _SENT if message.get(name) is not None}
    parts = [{name: value for name, value in part.items() if name not in _OF_THE_RUN} for part in message["parts"]]
    return {**sent, "parts": parts}
