"""A provider that has only `generate`, as one that speaks wire protocols: `plain`, and chat of a simple shape."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from cachecore_llm.errors import UnsupportedRequestError, UnusableAnswerError
from cachecore_llm.response import LLMResponse
from cachecore_llm.upstream.chat_to_plain import completion_of, plain_of
from cachecore_llm.upstream.own_identity import endpoint_of
from cachecore_llm.upstream.plain_form import body_of, events_of, way_of
from cachecore_llm.upstream.provider import Provider, WireProvider, name_of, speaks_wire
from cachecore_llm.wire import OPENAI_CHAT, Call, JsonObject, ProtocolName

_SPEAKS: Final[frozenset[ProtocolName]] = frozenset({"plain", "openai.chat"})


class PlainProvider:
    """A `WireProvider` on top of one that has only `generate`. The answers come whole: a stream has one piece of text.

    It has no default model and no credential that could be seen: its settings are its identity.
    """

    speaks = _SPEAKS
    model: str | None = None
    scope: str | None = None

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        """The provider that was given."""
        self._name = name_of(provider)

    def __repr__(self) -> str:
        return f"PlainProvider({self._name!r})"

    @property
    def name(self) -> str:
        """Return the provider's name."""
        return self._name

    @property
    def endpoint(self) -> str:
        """Return what tells its answers from those of other providers. Raises OptionsError if nothing can."""
        return endpoint_of(self.provider)

    @property
    def shaping(self) -> Mapping[str, str]:
        """Return nothing: there are no headers."""
        return {}

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the parameters that the provider sets where a request does not; they are keyed with the request's."""
        found = getattr(self.provider, "identity", None)
        # A common word: what a provider calls so may be its credential.
        return found if isinstance(found, Mapping) else {}

    async def send(self, call: Call) -> JsonObject:
        """Return the answer's body. Raises what `generate` raises, and UnsupportedRequestError."""
        if call.protocol == "plain":
            return body_of(await self._generate(call.body))
        if call.protocol == "openai.chat":
            body, _, _ = way_of(body_of(await self._generate(plain_of(call.body, self._name))))
            return completion_of(body)
        raise UnsupportedRequestError(f"{self._name} has only generate, and cannot answer {call.protocol}")

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the events of the whole answer."""
        body = await self.send(call)
        if call.protocol == "plain":
            async for event in events_of(way_of(body)[0]):
                yield event
            return
        for event in OPENAI_CHAT.events_of(body):
            yield event

    async def _generate(self, body: JsonObject) -> LLMResponse:
        params = {name: value for name, value in (body.get("params") or {}).items() if name != "stream"}
        answer = await self.provider.generate(
            body.get("system_prompt") or "", body.get("user_message") or "", body.get("context"), **params
        )
        if not isinstance(answer, LLMResponse):
            raise UnusableAnswerError(
                self._name, f"it returned a {type(answer).__name__}, not an LLMResponse(content=…, model=…)"
            )
        return answer


def wired(provider: Provider | WireProvider) -> WireProvider:
    """Return `provider` if it speaks wire protocols, else a wrapper that does."""
    if speaks_wire(provider):
        return provider  # type: ignore[return-value]  # speaks_wire has looked, without reading its properties
    return PlainProvider(provider)  # type: ignore[arg-type]  # as above
