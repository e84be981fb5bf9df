"""`CachedModel`: a model of Pydantic AI with cached answers, `Agent(CachedModel("openai:gpt-5", "redis://…"))`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_ai.messages import FinalResultEvent, ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from cachecore import Cache, Computed, Stream
from cachecore_frameworks._slot import TRUNCATED, Slot

_PARAMETERS: Final = TypeAdapter(ModelRequestParameters)
_SENT: Final = ("kind", "parts", "instructions", "state")
"""The fields of a message that a model is sent; others say when, in which run and at which price it came about."""
_OF_THE_RUN: Final = ("timestamp", "metadata")
_PATIENCE: Final = ("timeout", "request_timeout", "first_event_timeout")
"""Settings that change how long to wait, and no answer."""


class CachedModel(WrapperModel):
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
        self._slot = Slot(store, namespace, **options)
        self.cache = self._slot.cache

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Return the stored response, or that of the model."""
        own: list[ModelResponse] = []

        async def ask() -> Computed[bytes]:
            own.append(await self.wrapped.request(messages, model_settings, parameters))
            return _stored(own[0])

        found = await self.cache.lookup(self._request(messages, model_settings, parameters), ask)
        return own[0] if own else _again(ModelMessagesTypeAdapter.validate_json(found.value)[0])

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

        def again(stored: bytes) -> list[ModelMessage]:
            return ModelMessagesTypeAdapter.validate_json(stored)

        request = self._request(messages, model_settings, parameters)
        async with self.cache.stream(request, ask, assemble=lambda chunks: _stored(chunks[-1]), replay=again) as stream:
            begun = ModelResponse([], model_name=self.model_name, provider_name=self.system, state="incomplete")
            yield _Shared(begun, parameters, stream)

    async def aclose(self) -> None:
        """Close the cache, if it was made from an address."""
        await self._slot.aclose()

    def _request(self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: Any) -> Any:
        model = self.wrapped
        every: dict[str, Any] = {**(model.settings or {}), **(settings or {})}
        return {
            "model": [model.model_id, model.base_url],
            "settings": {name: value for name, value in every.items() if name not in _PATIENCE},
            "parameters": _PARAMETERS.dump_python(parameters),
            "messages": [_sent(message) for message in ModelMessagesTypeAdapter.dump_python(messages, mode="json")],
        }


class _Shared(CompletedStreamedResponse):
    """The events of a stream that other callers may read as well, or of a stored response."""

    def __init__(self, begun: ModelResponse, parameters: ModelRequestParameters, stream: Stream[Any]) -> None:
        super().__init__(begun, model_request_parameters=parameters)
        self._stream = stream
        self._iterator: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._iterator is None:
            self._iterator = self._events()
        return self._iterator

    async def _events(self) -> AsyncIterator[Any]:
        async for chunk in self._stream:
            lookup = self._stream.lookup
            if not isinstance(chunk, ModelResponse):
                self._parts_manager.apply_event(chunk)
                if isinstance(chunk, FinalResultEvent):
                    self.final_result_event = chunk
                yield chunk
                continue
            whole = _again(chunk) if lookup is not None and (lookup.cached or lookup.joined) else chunk
            if lookup is not None and lookup.cached:  # there were no events: the parts come at once
                replayed = CompletedStreamedResponse(
                    whole, model_request_parameters=self.model_request_parameters, replay_events=True
                )
                async for event in replayed:
                    self._parts_manager.apply_event(event)
                    self.final_result_event = replayed.final_result_event
                    yield event
            self.response, self.state, self._finished = whole, whole.state, True

    def get(self) -> ModelResponse:
        if self._finished:
            return self.response
        return replace(self.response, parts=self._parts_manager.get_parts())


def _stored(response: ModelResponse) -> Computed[bytes]:
    whole = response.state == "complete" and response.finish_reason not in TRUNCATED
    return Computed(ModelMessagesTypeAdapter.dump_json([response]), store=whole)


def _again(response: Any) -> ModelResponse:
    """Return a response as one that came now, in another run, and took nothing."""
    now = datetime.now(UTC)
    return replace(response, timestamp=now, usage=RequestUsage(), run_id=None, conversation_id=None, metadata=None)


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    sent = {name: message[name] for name in _SENT if message.get(name) is not None}
    parts = [{name: value for name, value in part.items() if name not in _OF_THE_RUN} for part in message["parts"]]
    return {**sent, "parts": parts}
