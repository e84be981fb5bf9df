"""`SyncLLMService`: the same service for code without an event loop.

One thread runs an event loop with the service and its providers on it; calls are carried there and back. Give it
providers that no other event loop uses: their connections belong to the loop they were opened in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any, Final, Literal, Self, TypeVar, overload

from cachecore import Cache, LoopThread
from cachecore_llm.embeddings import Embeddings
from cachecore_llm.flow import Answer, MissReport
from cachecore_llm.llm_stream import LLMStream
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.policy.prompts import Prompt, PromptRegistry
from cachecore_llm.request import LLMRequest
from cachecore_llm.response import CacheStatus, LLMResponse
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.service import LLMService
from cachecore_llm.upstream import FallbackOrchestrator, Provider, WireProvider
from cachecore_llm.wire import Call, JsonObject

T = TypeVar("T")

_END: Final = object()


class SyncLLMService:
    """`LLMService` for threads: takes the same arguments, or a service to share. Any number of threads may use it.

    Threads that ask the same at the same time share one call of a provider. Where an event loop is running in the
    caller's thread (a notebook), a call blocks that loop, as any other blocking call does.
    """

    def __init__(
        self,
        orchestrator: FallbackOrchestrator | Provider | WireProvider | Sequence[Provider | WireProvider] | LLMService,
        cache: ResponseCache | Cache[Any] | str | None = None,
        **options: Any,
    ) -> None:
        """Make a service of `orchestrator` and `cache`, with the further arguments of `LLMService`; or take one."""
        self._thread = LoopThread()
        if isinstance(orchestrator, LLMService):
            if cache is not None or options:
                raise TypeError("SyncLLMService of an LLMService takes nothing else: give it to the LLMService")
            self._service = orchestrator
            self._providers: tuple[object, ...] = ()
        else:
            if cache is None:
                raise TypeError("SyncLLMService needs a cache: a ResponseCache, a Cache or a URL such as 'memory://'")
            self._service = LLMService(orchestrator, cache, **options)
            self._providers = self._service.providers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the cache if it was made here, and the providers if they were given here; end the thread. Idempotent.

        Connections belong to the loop that they were opened in, so that no other thread could close them later.
        """
        self._thread.close(self._close)

    async def _close(self) -> None:
        await self._service.aclose()
        for provider in self._providers:
            close = getattr(provider, "aclose", None)
            if close is not None:
                await close()

    @property
    def cache(self) -> ResponseCache:
        """Return the cache. Its calls are for the thread of this service; its `metrics` can be read anywhere."""
        return self._service.cache

    @property
    def prompts(self) -> PromptRegistry:
        """The named system prompts: `service.prompts["faq"]`."""
        return self._service.prompts

    @overload
    def generate(
        self,
        system_prompt: str | Prompt,
        user_message: Any,
        context: Any = None,
        *,
        stream: Literal[False] | None = False,
        **arguments: Any,
    ) -> LLMResponse: ...
    @overload
    def generate(
        self,
        system_prompt: str | Prompt,
        user_message: Any,
        context: Any = None,
        *,
        stream: Literal[True],
        **arguments: Any,
    ) -> SyncLLMStream: ...
    def generate(
        self,
        system_prompt: str | Prompt,
        user_message: Any,
        context: Any = None,
        *,
        stream: bool | None = False,
        **arguments: Any,
    ) -> LLMResponse | SyncLLMStream:
        """Return an answer; see `LLMService.generate`."""
        if stream:
            return self.stream(system_prompt, user_message, context, **arguments)
        found: LLMResponse = self._run(self._service.generate(system_prompt, user_message, context, **arguments))
        return found

    def ask(self, request: LLMRequest | Call, cache: Controls = DEFAULT) -> LLMResponse:
        """Return an answer to `request`; see `LLMService.ask`."""
        return self._run(self._service.ask(request, cache))

    def answer(self, call: Call, cache: Controls = DEFAULT) -> Answer:
        """Return the answer to `call`, whole; see `LLMService.answer`."""
        return self._run(self._service.answer(call, cache))

    @overload
    def chat(self, messages: Any, *, stream: Literal[False] | None = False, **arguments: Any) -> LLMResponse: ...
    @overload
    def chat(self, messages: Any, *, stream: Literal[True], **arguments: Any) -> SyncLLMStream: ...
    def chat(self, messages: Any, *, stream: bool | None = False, **arguments: Any) -> LLMResponse | SyncLLMStream:
        """Return the answer to a conversation; see `LLMService.chat`."""
        if stream:
            made: LLMStream = self._run(self._service.chat(messages, stream=True, **arguments))
            return SyncLLMStream(made, self._thread)
        found: LLMResponse = self._run(self._service.chat(messages, **arguments))
        return found

    def stream(
        self, system_prompt: str | Prompt, user_message: Any, context: Any = None, **arguments: Any
    ) -> SyncLLMStream:
        """Return the answer in pieces of text: `for piece in service.stream(…)`; see `LLMService.stream`."""
        return SyncLLMStream(self._service.stream(system_prompt, user_message, context, **arguments), self._thread)

    def stream_of(self, request: LLMRequest | Call, cache: Controls = DEFAULT) -> SyncLLMStream:
        """Return the answer to `request` in pieces of text; see `LLMService.stream_of`."""
        return SyncLLMStream(self._service.stream_of(request, cache), self._thread)

    def embed(self, texts: str | list[Any], **arguments: Any) -> Embeddings:
        """Return a vector for each of `texts`; see `LLMService.embed`."""
        return self._run(self._service.embed(texts, **arguments))

    def explain(self, *asked: Any, **arguments: Any) -> MissReport:
        """Return why a request misses, and in which fields the nearest stored one differs; see `LLMService.explain`."""
        return self._run(self._service.explain(*asked, **arguments))

    def delete(self, *asked: Any, **arguments: Any) -> bool:
        """Delete the answer to one request; see `LLMService.delete`."""
        return self._run(self._service.delete(*asked, **arguments))

    def expire(self, *asked: Any, **arguments: Any) -> bool:
        """Make the answer to one request stale as of now; see `LLMService.expire`."""
        return self._run(self._service.expire(*asked, **arguments))

    def refresh(self, *asked: Any, **arguments: Any) -> LLMResponse:
        """Ask the providers for one request anew; see `LLMService.refresh`."""
        return self._run(self._service.refresh(*asked, **arguments))

    def invalidate_prompt(self, name_or_text: str | Prompt, text: str | None = None) -> int | None:
        """Make every answer to a prompt invalid; see `ResponseCache.invalidate_prompt`."""
        return self._run(self.cache.invalidate_prompt(name_or_text, text))

    def invalidate_prefix(self, label: str) -> int | None:
        """Make every answer with `label` invalid; see `ResponseCache.invalidate_prefix`."""
        return self._run(self.cache.invalidate_prefix(label))

    def invalidate_tenant(self, tenant: str) -> int | None:
        """Make every answer of `tenant` invalid; see `ResponseCache.invalidate_tenant`."""
        return self._run(self.cache.invalidate_tenant(tenant))

    def invalidate_model(self, model: str) -> None:
        """Make every answer of `model` invalid; see `ResponseCache.invalidate_model`."""
        self._run(self.cache.invalidate_model(model))

    def invalidate_all(self) -> int | None:
        """Make every answer invalid; see `ResponseCache.invalidate_all`."""
        return self._run(self.cache.invalidate_all())

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return _run(self._thread, call)


class SyncLLMStream:
    """One answer, for one reader: `for piece in stream`; then `stream.response()`. See `LLMStream`."""

    def __init__(self, stream: LLMStream, thread: LoopThread) -> None:
        self._stream = stream
        self._thread = thread

    @property
    def cache_status(self) -> CacheStatus | None:
        """How the answer came; None before the first piece."""
        return self._stream.cache_status

    @property
    def provider(self) -> str | None:
        """The name of the provider that answers; None before the first piece."""
        return self._stream.provider

    def __iter__(self) -> Iterator[str]:
        return self._each(aiter(self._stream))

    def events(self) -> Iterator[JsonObject]:
        """Return the events as the provider sends them, instead of pieces of text."""
        return self._each(self._stream.events())

    def _each(self, items: AsyncIterator[T]) -> Iterator[T]:
        while True:
            item: Any = _run(self._thread, _next(items))
            if item is _END:
                return
            yield item

    def response(self) -> LLMResponse:
        """Return the whole answer; reads the rest of the stream first."""
        return _run(self._thread, self._stream.response())

    def close(self) -> None:
        """Leave the stream. Idempotent."""
        self._thread.leave(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, _END)


def _run(thread: LoopThread, call: Coroutine[Any, Any, T]) -> T:
    running = thread.submit(call)
    try:
        return running.result()
    except BaseException:  # Ctrl-C above all: the call in the loop's thread ends with its caller
        running.cancel()
        raise
