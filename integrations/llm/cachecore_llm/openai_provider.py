"""A provider on any endpoint that speaks OpenAI's chat completions, through the official SDK.

Needs the extra: `pip install 'cachecore-llm[openai]'`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cachecore_llm.errors import UnsupportedRequestError, UnusableAnswerError
from cachecore_llm.request import TRANSPORT_FIELDS
from cachecore_llm.response import LLMResponse, ToolCall, Usage

try:
    from openai import AsyncOpenAI
    from openai import OpenAIError as SDKError
except ImportError as missing:
    raise ImportError("OpenAIProvider needs the SDK: pip install 'cachecore-llm[openai]'") from missing

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from openai.types.chat import ChatCompletion

__all__ = ["OpenAIProvider", "SDKError"]

_LOST: Final = ("logprobs", "top_logprobs", "audio", "stream")
"""What an `LLMResponse` cannot hold: asking for it is refused, so that nothing is dropped silently."""

_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class OpenAIProvider:
    """Answers of a chat-completions endpoint.

    How the request is sent: the system prompt as the first message; then the context: a list of messages as it is (the
    conversation so far), text or any other plain data as a second system message; then the user message. Parameters go
    to the SDK by their own names, and those it does not know into the body of the request.

    Uses `client` and leaves closing it to the caller, or makes one of its own, which `aclose` closes.
    """

    def __init__(
        self,
        model: str,
        *,
        name: str = "openai",
        base_url: str | None = None,
        api_key: str | None = None,
        max_retries: int = 2,
        client: AsyncOpenAI | None = None,
    ) -> None:
        """Ask for answers of `model` where a request names no other.

        Args:
            model: the default model.
            name: what stands in the answers' `provider`.
            base_url: the endpoint; `OPENAI_BASE_URL` or OpenAI's own if not given.
            api_key: the credential; `OPENAI_API_KEY` if not given.
            max_retries: how often the SDK asks again by itself after a refusal that may pass.
            client: the caller's own client, instead of the three before.
        """
        self._owned = client is None
        self._client = client or AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=max_retries)
        self._model = model
        self._name = name
        self._known = frozenset(inspect.signature(self._client.chat.completions.create).parameters)

    def __repr__(self) -> str:
        return f"OpenAIProvider(model={self._model!r}, name={self._name!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, unless the client is the caller's."""
        if self._owned:
            await self._client.close()

    @property
    def name(self) -> str:
        """Return the name given."""
        return self._name

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the default model and the endpoint: another model or endpoint gives other answers."""
        url = self._client.base_url
        return {"model": self._model, "endpoint": f"{url.scheme}://{url.host}:{url.port or ''}{url.path}"}

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return the endpoint's answer.

        Raises:
            UnsupportedRequestError: the request asks for what an `LLMResponse` cannot hold (`stream`, `n` over 1,
                `logprobs`, `audio`).
            UnusableAnswerError: the endpoint answered without a choice, or with what is no chat completion.
            openai.OpenAIError: the SDK's own errors, as they are.
        """
        lost = [name for name in _LOST if params.get(name)]
        if params.get("n") not in (None, 1):
            lost.append("n")
        if lost:
            raise UnsupportedRequestError(f"an LLMResponse cannot hold what {', '.join(lost)} asks for")
        arguments: dict[str, Any] = {"model": self._model}
        body: dict[str, Any] = dict(params.get("extra_body") or {})
        for name, value in params.items():
            if name in self._known:
                arguments[name] = value
            elif name not in TRANSPORT_FIELDS:
                body[name] = value
        arguments.pop("stream", None)
        arguments["messages"] = _messages(system_prompt, user_message, context)
        arguments["extra_body"] = body or None
        completion = await self._client.chat.completions.create(**arguments)
        return self._response(completion)

    def _response(self, completion: ChatCompletion) -> LLMResponse:
        # The SDK does not check what it reads: a field may be missing or of any type, whatever its annotation says.
        choices = getattr(completion, "choices", None)
        if not isinstance(choices, list) or not choices:
            raise UnusableAnswerError(self._name, "no choices")
        choice = choices[0]
        message = getattr(choice, "message", None)
        content = getattr(message, "content", None)
        if message is None or not (content is None or isinstance(content, str)):
            raise UnusableAnswerError(self._name, "no message")
        usage = completion.usage
        return LLMResponse(
            content=content or "",
            model=completion.model or self._model,
            provider=self._name,
            usage=None
            if usage is None
            else Usage(prompt_tokens=usage.prompt_tokens or 0, completion_tokens=usage.completion_tokens or 0),
            finish_reason=choice.finish_reason,
            tool_calls=_tool_calls(message),
            refusal=message.refusal,
        )


def _messages(system_prompt: str, user_message: str, context: Any) -> list[Any]:
    messages: list[Any] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    if _is_conversation(context):
        messages += context
    elif context is not None:
        text = context if isinstance(context, str) else json.dumps(context, ensure_ascii=False, sort_keys=True)
        messages.append({"role": "system", "content": text})
    return [*messages, {"role": "user", "content": user_message}]


def _is_conversation(context: object) -> bool:
    return (
        isinstance(context, list | tuple)
        and bool(context)
        and all(isinstance(message, Mapping) and message.get("role") in _ROLES for message in context)
    )


def _tool_calls(message: Any) -> tuple[ToolCall, ...]:
    calls = []
    for call in message.tool_calls or ():
        asked = getattr(call, "function", None) or getattr(call, "custom", None)
        if asked is not None:
            arguments = getattr(asked, "arguments", None) or getattr(asked, "input", None) or ""
            calls.append(ToolCall(id=call.id or "", name=asked.name or "", arguments=arguments))
    return tuple(calls)
