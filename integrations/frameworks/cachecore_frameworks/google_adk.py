"""`ModelCache`: a plugin of Google's ADK, `Runner(…, plugins=[ModelCache("redis://…", ttl="1d")])`."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

from google.adk.agents.callback_context import CallbackContext
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.genai.types import Schema
from pydantic import TypeAdapter

from cachecore import Cache
from cachecore_frameworks._form import Form
from cachecore_frameworks._slot import Slot

_ASKED: Final = {"model", "contents", "config", "previous_interaction_id"}
_NO_ANSWER: Final = {"http_options", "labels"}
"""Fields of `config` for the call and its billing."""
_requests: ContextVar[Mapping[Any, Any]] = ContextVar("cachecore_frameworks_adk", default=MappingProxyType({}))
"""The requests that this context waits for, by plugin, invocation and agent. Never changed, but replaced."""


def _whole(response: LlmResponse) -> bool:
    return response.error_code is None and not response.interrupted and response.finish_reason in (None, "STOP")


def _plain(response: LlmResponse) -> str:
    return response.model_dump_json(exclude={"usage_metadata", "cache_metadata"}, exclude_none=True)


_FORM: Final = Form(plain=_plain, made=LlmResponse.model_validate_json, whole=_whole)


class ModelCache(BasePlugin):
    """Each turn of each agent's model once, for all that ask the same at once. Takes the arguments of `Cache`, or one.

    A hit comes whole, also to a run that streams, and reports no usage. Errors and broken-off answers are not kept.
    """

    def __init__(self, store: str | Cache[Any] = "memory://", *, namespace: str = "google_adk", **options: Any) -> None:
        super().__init__(name="cachecore")
        self._slot = Slot(store, namespace, _FORM, **options)
        self.cache = self._slot.cache

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        """Return the stored response, or None: then the model is asked, and other callers wait for its response."""
        request = _request(llm_request)
        response = await self._slot.aget(request)
        if response is None:
            _requests.set({**_requests.get(), self._turn(callback_context): request})
        return response

    async def after_model_callback(self, *, callback_context: CallbackContext, llm_response: LlmResponse) -> None:
        """Store a whole response; of a stream, the last one."""
        if llm_response.partial:
            return
        request = self._taken(callback_context)
        if request is not None:
            await self._slot.aput(request, llm_response)

    async def on_model_error_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest, error: Exception
    ) -> None:
        """Let waiting callers go on."""
        request = self._taken(callback_context)
        if request is not None:
            self._slot.release(request)

    async def close(self) -> None:
        """Close the cache with the runner, if it was made from an address."""
        await self._slot.aclose()

    def _turn(self, context: CallbackContext) -> Any:
        return self, context.invocation_id, context.agent_name

    def _taken(self, context: CallbackContext) -> Any:
        requests = dict(_requests.get())
        request = requests.pop(self._turn(context), None)
        _requests.set(requests)
        return request


def _request(asked: LlmRequest) -> Any:
    request = asked.model_dump(include=_ASKED, exclude={"config": _NO_ANSWER}, exclude_none=True)
    schema: Any = asked.config.response_schema
    if schema is not None and not isinstance(schema, dict | Schema):  # a type, such as list[Place]
        request["config"]["response_schema"] = TypeAdapter(schema).json_schema()
    return request
