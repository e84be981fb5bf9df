"""The faces of the cache, each with one way to ask: the services, and the official SDKs over cached clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from cachecore_llm import LLMService, OpenAIProvider, ResponseCache, SyncLLMService
from cachecore_llm.sdk import async_cached_client, cached_client
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.wire import PROTOCOLS, ChoiceFacts, JsonObject, ProtocolName
from cachecore_llm.wire.event_text import text_in

SCHEMA: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A question, in no protocol."""

    text: str = "Hi"
    model: str = "m"
    tool: str | None = None
    """The description of the tool `weather`; None: no tool is offered."""
    picture: str | None = None
    """A picture in base64."""
    headers: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    labels: dict[str, str] | None = None
    """The `metadata` of OpenAI's protocols. That of Anthropic names the user and is repeated nowhere."""


class Face(Protocol):
    """One face."""

    protocol: ProtocolName

    async def whole(self, request: Request) -> JsonObject:
        """Return the body of an answer."""

    def events(self, request: Request) -> AsyncGenerator[JsonObject, None]:
        """Yield the events of an answer."""


def choice_in(face: Face, body: JsonObject) -> ChoiceFacts:
    """Return the first choice in an answer's body."""
    return PROTOCOLS[face.protocol].facts(body).choices[0]


async def text_of(face: Face, request: Request) -> str:
    """Return the text of a whole answer."""
    return choice_in(face, await face.whole(request)).text


async def streamed(face: Face, request: Request) -> JsonObject:
    """Return the body that a stream amounts to."""
    assembly = PROTOCOLS[face.protocol].assembly()
    async for event in face.events(request):
        assembly.feed(event)
    assembly.end()
    return assembly.recording().body or {}


def said_in(face: Face, event: JsonObject) -> str:
    """Return the text in an event."""
    return text_in(face.protocol, event)


def _beside(request: Request) -> JsonObject:
    given = {"user": request.user, "metadata": request.labels, "extra_headers": request.headers}
    return {name: value for name, value in given.items() if value}


def _chat(request: Request) -> tuple[list[JsonObject], JsonObject]:
    content: Any = request.text
    if request.picture is not None:
        url = f"data:image/png;base64,{request.picture}"
        content = [{"type": "text", "text": request.text}, {"type": "image_url", "image_url": {"url": url}}]
    more: JsonObject = {"model": request.model}
    if request.tool is not None:
        function = {"name": "weather", "description": request.tool, "parameters": SCHEMA}
        more["tools"] = [{"type": "function", "function": function}]
    more |= _beside(request)
    return [{"role": "user", "content": content}], more


class ServiceFace:
    """`LLMService.chat`."""

    protocol: ProtocolName = "openai.chat"

    def __init__(self, service: LLMService) -> None:
        self._service = service

    async def whole(self, request: Request) -> JsonObject:
        """See `Face`."""
        messages, more = _chat(request)
        return (await self._service.chat(messages, **more)).body or {}

    async def events(self, request: Request) -> AsyncGenerator[JsonObject, None]:
        """See `Face`."""
        messages, more = _chat(request)
        async with await self._service.chat(messages, stream=True, **more) as stream:
            async for event in stream.events():
                yield event


class SyncServiceFace:
    """`SyncLLMService.chat`."""

    protocol: ProtocolName = "openai.chat"

    def __init__(self, service: SyncLLMService) -> None:
        self._service = service

    async def whole(self, request: Request) -> JsonObject:
        """See `Face`."""
        messages, more = _chat(request)
        return (await asyncio.to_thread(lambda: self._service.chat(messages, **more))).body or {}

    async def events(self, request: Request) -> AsyncGenerator[JsonObject, None]:
        """See `Face`; all of them come at the end."""
        messages, more = _chat(request)
        for event in await asyncio.to_thread(lambda: list(self._service.chat(messages, stream=True, **more).events())):
            yield event


class ChatFace:
    """`AsyncOpenAI().chat.completions`."""

    protocol: ProtocolName = "openai.chat"

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def whole(self, request: Request) -> JsonObject:
        """See `Face`."""
        messages, more = _chat(request)
        create: Any = self._client.chat.completions.create
        body: JsonObject = (await create(messages=messages, **more)).to_dict()
        return body

    async def events(self, request: Request) -> AsyncGenerator[JsonObject, None]:
        """See `Face`."""
        messages, more = _chat(request)
        create: Any = self._client.chat.completions.create
        async with await create(messages=messages, stream=True, **more) as chunks:
            async for chunk in chunks:
                yield chunk.to_dict()


class SyncChatFace:
    """`OpenAI().chat.completions`."""

    protocol: ProtocolName = "openai.chat"

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    async def whole(self, request: Request) -> JsonObject:
        """See `Face`."""
        messages, more = _chat(request)
        create: Any = self._client.chat.completions.create
        body: JsonObject = (await asyncio.to_thread(create, messages=messages, **more)).to_dict()
        return body

    async def events(self, request: Request) -> AsyncGenerator[JsonObject, None]:
        """See `Face`; all of them come at the end."""
        messages, more = _chat(request)
        create: Any = self._client.chat.completions.create
        for chunk in await asyncio.to_thread(lambda: list(create(messages=messages, stream=True, **more))):
            yield chunk.to_dict()


class ResponsesFace:
    """`AsyncOpenAI().responses`."""

    protocol: ProtocolName = "openai.responses"

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def whole(self, request: Request) -> JsonObject:
        """See `Face`."""
        body: JsonObject = (await self._create(request)).to_dict()
        return body

    async def events(self, request: Request) -> AsyncGenerator[JsonObject, None]:
        """See `Face`."""
        async with await self._create(request, stream=True) as events:
            async for event in events:
                yield event.to_dict()

    async def _create(self, request: Request, **more: Any) -> Any:
        asked: Any = request.text
        if request.picture is not None:
            picture = {"type": "input_image", "image_url": f"data:image/png;base64,{request.picture}"}
            asked = [{"role": "user", "content": [{"type": "input_text", "text": request.text}, picture]}]
        if request.tool is not None:
            tool = {"type": "function", "name": "weather", "description": request.tool, "parameters": SCHEMA}
            more["tools"] = [tool]
        more |= _beside(request)
        create: Any = self._client.responses.create
        return await create(model=request.model, input=asked, **more)


class MessagesFace:
    """`AsyncAnthropic().messages`."""

    protocol: ProtocolName = "anthropic.messages"

    def __init__(self, client: AsyncAnthropic) -> None:
        self._client = client

    async def whole(self, request: Request) -> JsonObject:
        """See `Face`."""
        body: JsonObject = (await self._create(request)).to_dict()
        return body

    async def events(self, request: Request) -> AsyncGenerator[JsonObject, None]:
        """See `Face`."""
        async with await self._create(request, stream=True) as events:
            async for event in events:
                yield event.to_dict()

    async def _create(self, request: Request, **more: Any) -> Any:
        content: list[JsonObject] = [{"type": "text", "text": request.text}]
        if request.picture is not None:
            source = {"type": "base64", "media_type": "image/png", "data": request.picture}
            content.append({"type": "image", "source": source})
        if request.tool is not None:
            more["tools"] = [{"name": "weather", "description": request.tool, "input_schema": SCHEMA}]
        if request.user is not None:
            more["metadata"] = {"user_id": request.user}
        if request.headers:
            more["extra_headers"] = request.headers
        create: Any = self._client.messages.create
        asked = [{"role": "user", "content": content}]
        return await create(model=request.model, max_tokens=200, messages=asked, **more)


Made = Callable[[LocalProvider, ResponseCache, AsyncExitStack], Awaitable[Face]]


async def _service(provider: LocalProvider, answers: ResponseCache, stack: AsyncExitStack) -> Face:
    asked = OpenAIProvider("m", base_url=provider.openai_url, api_key="k", max_retries=0)
    return ServiceFace(LLMService(await stack.enter_async_context(asked), answers))


async def _threads(provider: LocalProvider, answers: ResponseCache, stack: AsyncExitStack) -> Face:
    asked = OpenAIProvider("m", base_url=provider.openai_url, api_key="k", max_retries=0)
    service = SyncLLMService(asked, answers)
    stack.push_async_callback(asyncio.to_thread, service.close)
    return SyncServiceFace(service)


def _openai(kind: type[ChatFace | ResponsesFace]) -> Made:
    async def made(provider: LocalProvider, answers: ResponseCache, stack: AsyncExitStack) -> Face:
        http = await stack.enter_async_context(async_cached_client(answers))
        return kind(AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0))

    return made


async def _sync_chat(provider: LocalProvider, answers: ResponseCache, stack: AsyncExitStack) -> Face:
    http = stack.enter_context(cached_client(answers))
    return SyncChatFace(OpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0))


async def _anthropic(provider: LocalProvider, answers: ResponseCache, stack: AsyncExitStack) -> Face:
    http = await stack.enter_async_context(async_cached_client(answers))
    return MessagesFace(AsyncAnthropic(base_url=provider.url, api_key="k", http_client=http, max_retries=0))


LIVE: dict[str, Made] = {
    "service": _service,
    "openai-chat": _openai(ChatFace),
    "openai-responses": _openai(ResponsesFace),
    "anthropic": _anthropic,
}
"""The faces with streams that are read event by event."""

ALL: dict[str, Made] = {**LIVE, "service-in-threads": _threads, "openai-chat-in-threads": _sync_chat}
