"""A provider on any endpoint that speaks OpenAI's protocols, through the official SDK: OpenAI, Azure, compatible ones.

Needs the extra: `pip install 'cachecore-llm[openai]'`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from cachecore_llm.errors import UnsupportedRequestError
from cachecore_llm.upstream.answers import checked
from cachecore_llm.upstream.models import model_name
from cachecore_llm.upstream.plain_to_chat import chat_call, plain_answer, plain_events
from cachecore_llm.upstream.sdk_client import SDKClient
from cachecore_llm.upstream.sdk_provider import SDKProvider
from cachecore_llm.upstream.stream_options import StreamOptions
from cachecore_llm.wire import Call, JsonObject, NoStreamError, ProtocolName

try:
    from openai import AsyncOpenAI
    from openai import OpenAIError as SDKError
except ImportError as missing:
    raise ImportError("OpenAIProvider needs the SDK: pip install 'cachecore-llm[openai]'") from missing

__all__ = ["OpenAIProvider", "SDKError"]

_PATHS: Final[dict[ProtocolName, str]] = {
    "openai.chat": "/chat/completions",
    "openai.responses": "/responses",
    "openai.embeddings": "/embeddings",
}
_SPEAKS: Final[frozenset[ProtocolName]] = frozenset({*_PATHS, "plain"})
_ROTATING: Final = ("_api_key_provider", "_azure_ad_token", "_azure_ad_token_provider", "workload_identity")
"""Attributes of clients with a credential that changes: a callable key, Azure AD, workload identity."""


class OpenAIProvider(SDKProvider):
    """Answers of an endpoint of OpenAI's protocols: chat completions, responses, embeddings.

    Bodies are sent as they are given, and answers returned as they come: nothing that the endpoint says is lost. Plain
    requests are written as chat messages, see `plain_to_chat`.

    Uses `client` and leaves closing it to the caller, or makes one of its own, which `aclose` closes. For Azure, give
    an `AsyncAzureOpenAI`: its API version and deployment are part of the endpoint.
    """

    speaks = _SPEAKS

    def __init__(
        self,
        model: str,
        *,
        name: str = "openai",
        base_url: str | None = None,
        api_key: str | None = None,
        max_retries: int = 2,
        client: AsyncOpenAI | None = None,
        scope: str | None = None,
    ) -> None:
        """Ask for answers of `model` where a request names no other.

        Args:
            model: the default model.
            name: the `provider` of its answers.
            base_url: the endpoint; `OPENAI_BASE_URL` or OpenAI's own if not given.
            api_key: the credential; `OPENAI_API_KEY` if not given.
            max_retries: how often the SDK asks again by itself after a refusal that may pass.
            client: the caller's own client, instead of the three before.
            scope: stands for the credential in keys; providers with one scope share answers. A digest of credential,
                organisation and project if not given.

        Raises OptionsError for a model that is no name, and if the client's credential changes while it is used and
        there is no `scope`.
        """
        model = model_name(model, "gpt-4o-mini")
        made: Any = client or AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=max_retries)
        sdk = SDKClient(
            made,
            facts=tuple(getattr(made, fact, None) for fact in ("api_key", "organization", "project")),
            rotates=any(getattr(made, attribute, None) is not None for attribute in _ROTATING),
            scope=scope,
        )
        super().__init__(sdk, model=model, name=name, owned=client is None, endpoint=sdk.endpoint)
        self._options = {protocol: StreamOptions(protocol) for protocol in _PATHS}

    async def send(self, call: Call) -> JsonObject:
        """Return the answer's body.

        Raises:
            UnsupportedRequestError: the call is of another protocol, or plain and has no form in chat completions.
            UnusableAnswerError: the answer to a plain call has no choices.
            openai.OpenAIError: the SDK's own errors, as they are.
        """
        if call.protocol == "plain":
            asked = chat_call(call, self._model)
            body = checked(self._name, "openai.chat", await self.send(asked))
            return plain_answer(body, self._name)
        body = {name: value for name, value in self._body(call).items() if name != "stream_options"}
        return await self._sdk.whole(self._path(call), call, body)

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the answer's events. Raises as `send` does, and NoStreamError for embeddings."""
        if call.protocol == "plain":
            async with aclosing(self.stream(chat_call(call, self._model))) as chunks:
                async for event in plain_events(chunks, self._name):
                    yield event
            return
        path, options = self._path(call), self._options[call.protocol]
        if call.protocol == "openai.embeddings":
            raise NoStreamError
        again = True
        while again:
            again = False
            body = options.added_to(self._body(call))
            async with aclosing(self._sdk.events(path, call, body, call.protocol)) as events:
                try:
                    async for event in events:
                        yield event
                except SDKError as error:
                    if not options.refused(error):
                        raise
                    again = True

    def _path(self, call: Call) -> str:
        path = _PATHS.get(call.protocol)
        if path is None:
            raise UnsupportedRequestError(f"{self._name} speaks OpenAI's protocols, and cannot answer {call.protocol}")
        return path

    def _body(self, call: Call) -> JsonObject:
        return call.body if call.body.get("model") is not None else {"model": self._model, **_without_model(call.body)}


def _without_model(body: JsonObject) -> JsonObject:
    return {name: value for name, value in body.items() if name != "model"}
