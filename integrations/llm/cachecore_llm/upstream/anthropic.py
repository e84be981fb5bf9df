"""A provider on an endpoint that speaks Anthropic's messages, through the official SDK.

Needs the extra: `pip install 'cachecore-llm[anthropic]'`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from cachecore.contract.errors import OptionsError
from cachecore_llm.errors import UnsupportedRequestError
from cachecore_llm.upstream.answers import checked
from cachecore_llm.upstream.chat_to_messages import messages_body
from cachecore_llm.upstream.messages_to_chat import chunks_of, completion_of
from cachecore_llm.upstream.models import model_name
from cachecore_llm.upstream.plain_to_chat import chat_call, plain_answer, plain_events
from cachecore_llm.upstream.sdk_client import SDKClient
from cachecore_llm.upstream.sdk_provider import SDKProvider
from cachecore_llm.wire import Call, JsonObject, ProtocolName

try:
    from anthropic import AsyncAnthropic
except ImportError as missing:
    raise ImportError("AnthropicProvider needs the SDK: pip install 'cachecore-llm[anthropic]'") from missing

__all__ = ["AnthropicProvider"]

_SPEAKS: Final[frozenset[ProtocolName]] = frozenset({"anthropic.messages", "openai.chat", "plain"})
_PATH: Final = "/v1/messages"
_HEADERS: Final = {"user_profile_id": "anthropic-user-profile-id", "workspace_id": "anthropic-workspace-id"}
"""Parameters of the SDK that are headers of the request."""


class AnthropicProvider(SDKProvider):
    """Answers of an endpoint of Anthropic's messages.

    Messages are sent as they are given, and answers returned as they come. Chat completions and plain requests are
    translated, and so are their answers; a field without an equal is an error that names it.

    Uses `client` and leaves closing it to the caller, or makes one of its own, which `aclose` closes.
    """

    speaks = _SPEAKS

    def __init__(
        self,
        model: str,
        *,
        name: str = "anthropic",
        base_url: str | None = None,
        api_key: str | None = None,
        max_retries: int = 2,
        max_tokens: int = 8192,
        drop: Collection[str] = (),
        client: AsyncAnthropic | None = None,
        scope: str | None = None,
    ) -> None:
        """Ask for answers of `model` where a request names no other.

        Args:
            model: the default model.
            name: the `provider` of its answers.
            base_url: the endpoint; `ANTHROPIC_BASE_URL` or Anthropic's own if not given.
            api_key: the credential; `ANTHROPIC_API_KEY` if not given.
            max_retries: how often the SDK asks again by itself after a refusal that may pass.
            max_tokens: the bound on answers to translated requests that name none.
            drop: fields of chat completions that have no equal here and are left out, such as `seed`, in place of an
                error.
            client: the caller's own client, instead of the four before `max_tokens`.
            scope: stands for the credential in keys; providers with one scope share answers. A digest of the
                credential if not given.

        Raises OptionsError for a model that is no name, and if the client's credential changes while it is used and
        there is no `scope`.
        """
        model = model_name(model, "claude-haiku-5")
        if type(max_tokens) is not int or max_tokens < 1:
            raise OptionsError(f"max_tokens must be a whole number of at least 1, not {max_tokens!r}")
        if isinstance(drop, str):
            raise OptionsError(f"drop must be a collection of names, as in drop=('seed',), not {drop!r}")
        self._max_tokens = max_tokens
        self._dropped = frozenset(drop)
        made: Any = client or AsyncAnthropic(base_url=base_url, api_key=api_key, max_retries=max_retries)
        sdk = SDKClient(
            made,
            facts=(getattr(made, "api_key", None) or getattr(made, "auth_token", None),),
            rotates=getattr(made, "credentials", None) is not None,
            scope=scope,
        )
        translation = "&".join([f"max_tokens={max_tokens}", *(f"drop={field}" for field in sorted(self._dropped))])
        super().__init__(sdk, model=model, name=name, owned=client is None, endpoint=f"{sdk.endpoint}#{translation}")

    async def send(self, call: Call) -> JsonObject:
        """Return the answer's body, in the protocol of the call.

        Raises:
            UnsupportedRequestError: the call is of another protocol, or has a field without an equal in messages.
            anthropic.AnthropicError: the SDK's own errors, as they are.
        """
        if call.protocol == "plain":
            body = checked(self._name, "openai.chat", await self.send(chat_call(call, self._model)))
            return plain_answer(body, self._name)
        if call.protocol == "openai.chat":
            return completion_of(await self.send(self._translated(call)))
        path, asked = self._request(call)
        return await self._sdk.whole(path, asked, asked.body)

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the answer's events, in the protocol of the call. Raises as `send` does."""
        if call.protocol == "plain":
            async with aclosing(self.stream(chat_call(call, self._model))) as chunks:
                async for event in plain_events(chunks, self._name):
                    yield event
        elif call.protocol == "openai.chat":
            async with aclosing(self.stream(self._translated(call))) as events:
                async for chunk in chunks_of(events):
                    yield chunk
        else:
            path, asked = self._request(call)
            async with aclosing(self._sdk.events(path, asked, asked.body, "anthropic.messages")) as own:
                async for event in own:
                    yield event

    def _translated(self, call: Call) -> Call:
        body = messages_body(call.body, max_tokens=self._max_tokens, dropped=self._dropped)
        return replace(call, protocol="anthropic.messages", body=body)

    def _request(self, call: Call) -> tuple[str, Call]:
        """Return the path, and the call with its headers where they belong."""
        if call.protocol != "anthropic.messages":
            raise UnsupportedRequestError(f"{self._name} speaks messages and chat, and cannot answer {call.protocol}")
        body, headers = dict(call.body), dict(call.headers)
        if body.get("model") is None:
            body["model"] = self._model
        for field, header in _HEADERS.items():
            if body.get(field) is not None:
                headers[header] = str(body.pop(field))
        betas = body.pop("betas", None)
        if betas:
            own = headers.get("anthropic-beta")
            headers["anthropic-beta"] = ",".join(dict.fromkeys([*(own.split(",") if own else ()), *betas]))
        return f"{_PATH}?beta=true" if betas else _PATH, replace(call, body=body, headers=headers)
