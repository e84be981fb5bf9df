"""A provider on LiteLLM's SDK, for the services that have no module of their own here.

Needs the extra: `pip install 'cachecore-llm[litellm]'`. LiteLLM fetches its table of prices when it is imported, unless
`LITELLM_LOCAL_MODEL_COST_MAP=True` stands in the environment.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from cachecore.contract.errors import OptionsError
from cachecore_llm.errors import UnsupportedRequestError, UnusableAnswerError
from cachecore_llm.response import LLMResponse
from cachecore_llm.upstream.answers import checked
from cachecore_llm.upstream.headers import scope_digest
from cachecore_llm.upstream.models import model_name
from cachecore_llm.upstream.parameters import sendable
from cachecore_llm.upstream.plain_form import plain_body, response_of
from cachecore_llm.upstream.plain_to_chat import chat_call, plain_answer, plain_events
from cachecore_llm.upstream.provider import extra_query
from cachecore_llm.wire import Call, JsonObject, NoStreamError, ProtocolName

try:
    import litellm
except ImportError as missing:
    raise ImportError("LiteLLMProvider needs the SDK: pip install 'cachecore-llm[litellm]'") from missing

__all__ = ["LiteLLMProvider"]

_SPEAKS: Final[frozenset[ProtocolName]] = frozenset({"openai.chat", "openai.embeddings", "plain"})
_SIGNED: Final = frozenset({"bedrock", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta", "watsonx"})
"""Services that take signed requests, or tokens that change."""

_HEARD: Final = ("received_finish_reason", "intermittent_finish_reason", "received_any_finish_reason")
"""Attributes of LiteLLM's streams that say whether the service itself has ended the answer."""


class LiteLLMProvider:
    """Answers of any service that LiteLLM knows: chat completions and embeddings, translated by LiteLLM.

    Parameters that the service does not have are LiteLLM's error, unless `litellm.drop_params` is set.
    """

    speaks = _SPEAKS

    def __init__(
        self,
        model: str,
        *,
        name: str = "litellm",
        api_base: str | None = None,
        api_key: str | None = None,
        api_version: str | None = None,
        max_retries: int = 2,
        scope: str | None = None,
    ) -> None:
        """Ask for answers of `model` where a request names no other.

        Args:
            model: the default model, as LiteLLM names it: `gemini/gemini-3-pro`, `groq/…`, `bedrock/…`.
            name: the `provider` of its answers.
            api_base: the endpoint; the service's own if not given.
            api_key: the credential; the environment's (`GROQ_API_KEY`) if not given.
            api_version: of the service, where it has one.
            max_retries: how often the SDK asks again by itself after a refusal that may pass.
            scope: stands for the credential in keys; providers with one scope share answers. A digest of the
                credential if not given.

        Raises OptionsError for a model that is no name, and if the service signs its requests and there is no `scope`.
        """
        self._model = model_name(model, "groq/llama-3.3-70b-versatile")
        service = model.partition("/")[0] if "/" in model else "openai"
        if scope is None and service in _SIGNED and api_key is None:
            raise OptionsError(
                f"requests to {service} are signed with credentials that change, so a digest of them would never find "
                "an answer again: give scope='…', a text that all users of these answers have in common"
            )
        self._name = name
        given = {"api_base": api_base, "api_key": api_key, "api_version": api_version, "max_retries": max_retries}
        self._options = {option: value for option, value in given.items() if value is not None}
        self._endpoint = f"litellm:{api_base or service}" + (f"?api-version={api_version}" if api_version else "")
        digest = scope_digest([api_key or os.environ.get(f"{service.upper()}_API_KEY")])
        self._scope = scope or digest
        self.credential: str | None = (digest or "") if scope else None
        """A digest of the credential where `scope` was given, empty if it is not known; None: `scope` is one."""

    def __repr__(self) -> str:
        return f"LiteLLMProvider(model={self._model!r}, name={self._name!r})"

    @property
    def name(self) -> str:
        """Return the name given."""
        return self._name

    @property
    def model(self) -> str:
        """Return the default model."""
        return self._model

    @property
    def endpoint(self) -> str:
        """Return the endpoint, or the service, without credentials."""
        return self._endpoint

    @property
    def scope(self) -> str | None:
        """Return the scope given, or a digest of the credential."""
        return self._scope

    @property
    def shaping(self) -> Mapping[str, str]:
        """Return nothing: a request's headers are its own."""
        return {}

    async def send(self, call: Call) -> JsonObject:
        """Return the answer's body.

        Raises:
            UnsupportedRequestError: the call is of another protocol, or asks for a query.
            openai.OpenAIError: LiteLLM's own errors, which are of the kinds of that SDK.
        """
        if call.protocol == "plain":
            body = checked(self._name, "openai.chat", await self.send(chat_call(call, self._model)))
            return plain_answer(body, self._name)
        arguments = self._arguments(call)
        if call.protocol == "openai.embeddings":
            return self._json(await litellm.aembedding(**arguments))
        return self._json(await litellm.acompletion(**arguments))

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the answer's events. Raises as `send` does, and NoStreamError for embeddings.

        Some versions of LiteLLM end a stream that was cut as any other; that end is an UnusableAnswerError here.
        """
        if call.protocol == "plain":
            async with aclosing(self.stream(chat_call(call, self._model))) as chunks:
                async for event in plain_events(chunks, self._name):
                    yield event
            return
        if call.protocol == "openai.embeddings":
            raise NoStreamError
        options = {"stream": True, "stream_options": {"include_usage": True}}
        stream: Any = await litellm.acompletion(**self._arguments(call), **options)
        try:
            async for chunk in stream:
                event = self._json(chunk)
                if _ends(event) and not any(getattr(stream, heard, True) for heard in _HEARD):
                    raise UnusableAnswerError(self._name, "the stream ended before its answer")
                yield event
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    def _arguments(self, call: Call) -> dict[str, Any]:
        if call.protocol not in _SPEAKS:
            raise UnsupportedRequestError(f"{self._name} speaks chat and embeddings, and cannot answer {call.protocol}")
        if extra_query(call.endpoint, self._endpoint):
            raise UnsupportedRequestError("LiteLLM sends no extra_query; make it part of api_base")
        arguments = {name: value for name, value in sendable(call.body).items() if name != "stream_options"}
        if arguments.get("model") is None:
            arguments["model"] = self._model
        for option in ("timeout", "max_retries"):
            if call.body.get(option) is not None:
                arguments[option] = call.body[option]
        if call.headers:
            arguments["extra_headers"] = dict(call.headers)
        return {**self._options, **arguments}

    def _json(self, answer: Any) -> JsonObject:
        dump = getattr(answer, "model_dump", None)
        # LiteLLM's types have fields of every service: most are None.
        body = dump(mode="json", exclude_none=True) if dump is not None else answer
        if not isinstance(body, dict):
            raise UnusableAnswerError(self._name, f"LiteLLM returned a {type(answer).__name__}")
        for choice in body.get("choices") or ():
            choice.setdefault("finish_reason", None)
            if isinstance(choice.get("message"), dict):
                choice["message"].setdefault("content", None)
        return body

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return the service's answer to a plain request. Raises as `send` does, and for `stream=True`."""
        if params.pop("stream", None):
            raise UnsupportedRequestError("generate returns a whole answer, so stream=True has no effect: use stream()")
        body = plain_body(system_prompt, user_message, context, params)
        answer = await self.send(Call(protocol="plain", endpoint=self._endpoint, body=body))
        return response_of(answer, provider=self._name, fallback=False, latency=0.0)


def _ends(event: JsonObject) -> bool:
    return any(choice.get("finish_reason") for choice in event.get("choices") or ())
