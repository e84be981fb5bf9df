"""The streamed response of Pydantic AI that readers share while it runs, or that a stored response becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import FinalResultEvent, ModelResponse
from pydantic_ai.models import CompletedStreamedResponse, ModelRequestParameters

from cachecore import Stream
from cachecore_frameworks.pydantic_ai._form import as_of_now


class SharedStream(CompletedStreamedResponse):
    """The events of a stream that other callers may read as well, or of a stored response.

    `anew` returns the stream in place of an entry of another version.
    """

    def __init__(
        self,
        begun: ModelResponse,
        parameters: ModelRequestParameters,
        stream: Stream[Any],
        anew: Callable[[], Awaitable[Stream[Any]]],
    ) -> None:
        super().__init__(begun, model_request_parameters=parameters)
        self._stream = stream
        self._anew = anew
        self._iterator: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._iterator is None:
            self._iterator = self._events()
        return self._iterator

    async def _events(self) -> AsyncIterator[Any]:
        async for chunk in self._stream:
            lookup = self._stream.lookup
            if chunk is None:
                async with await self._anew() as self._stream:
                    async for event in self._events():
                        yield event
                return
            if not isinstance(chunk, ModelResponse):
                self._parts_manager.apply_event(chunk)
                if isinstance(chunk, FinalResultEvent):
                    self.final_result_event = chunk
                yield chunk
                continue
            whole = as_of_now(chunk) if lookup is not None and lookup.joined else chunk
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
