"""The base class of providers on official SDKs: it closes the client, says what is keyed, answers plain requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cachecore_llm.errors import UnsupportedRequestError
from cachecore_llm.response import LLMResponse
from cachecore_llm.upstream.plain_form import plain_body, response_of
from cachecore_llm.upstream.sdk_client import SDKClient
from cachecore_llm.wire import Call, JsonObject

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class SDKProvider(ABC):
    """A provider on the client of an official SDK, less what it asks for."""

    def __init__(self, sdk: SDKClient, *, model: str, name: str, owned: bool, endpoint: str) -> None:
        """Answer over `sdk`.

        Args:
            sdk: the client, and its part of the keys.
            model: the default model.
            name: the `provider` of its answers.
            owned: whether `aclose` closes the client.
            endpoint: where it asks, without credentials.
        """
        self._sdk = sdk
        self._model = model
        self._name = name
        self._owned = owned
        self._endpoint = endpoint

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self._model!r}, name={self._name!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, unless the client is the caller's."""
        if self._owned:
            await self._sdk.aclose()

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
        """Return the endpoint without credentials: its API version and how requests are translated belong to it."""
        return self._endpoint

    @property
    def scope(self) -> str | None:
        """Return the scope given, or a digest of the credential, and of organisation and project where it has them."""
        return self._sdk.scope

    @property
    def credential(self) -> str | None:
        """Return a digest of the credential where `scope` was given, empty if the credential changes."""
        return self._sdk.credential

    @property
    def shaping(self) -> Mapping[str, str]:
        """Return the client's own headers that shape answers."""
        return self._sdk.shaping

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the default model and the endpoint: another model or endpoint gives other answers."""
        return {"model": self._model, "endpoint": self._endpoint}

    @abstractmethod
    async def send(self, call: Call) -> JsonObject:
        """Return the answer's body, in the protocol of the call."""

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return the endpoint's answer to a plain request. Raises as `send` does, and for `stream=True`."""
        if params.pop("stream", None):
            raise UnsupportedRequestError("generate returns a whole answer, so stream=True has no effect: use stream()")
        body = plain_body(system_prompt, user_message, context, params)
        answer = await self.send(Call(protocol="plain", endpoint=self._endpoint, body=body))
        return response_of(answer, provider=self._name, fallback=False, latency=0.0)
