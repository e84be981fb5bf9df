"""`LLMService`: answers from the cache, else from the providers, else from the cache once more.

The ladder: the exact answer while it is fresh; the exact answer past its ttl while the providers are slow; the
providers, one call for all callers of one request; the exact answer past its ttl; the answer to a similar question;
`AllProvidersFailedError`. A mistake of the caller is raised at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, Self, overload

from cachecore import Cache, InvalidationPending
from cachecore_llm.call_writer import CallWriter, call_of, request_of, streaming, with_text, with_transport
from cachecore_llm.embeddings import Embeddings, embeddings_of
from cachecore_llm.flow import Answer, MissReport, response_of
from cachecore_llm.flow.misses import MOST
from cachecore_llm.flow.places import system_text
from cachecore_llm.flow.responses import hit_response
from cachecore_llm.llm_stream import LLMStream
from cachecore_llm.policy.admission import judge_of
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.policy.prompts import Prompt, PromptRegistry
from cachecore_llm.policy.tenants import checked_tenants, tenant_of
from cachecore_llm.quick_requests import QuickRequests
from cachecore_llm.request import LLMRequest
from cachecore_llm.response import LLMResponse
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.upstream import FallbackOrchestrator, Provider, Sent, Streamed, WireProvider
from cachecore_llm.wire import Call


class LLMService:
    """Answers requests through a cache and providers that stand in for each other.

    Closes neither providers nor a cache that was given: both stay the caller's. A cache made from a URL is closed by
    `aclose`.
    """

    def __init__(
        self,
        orchestrator: FallbackOrchestrator | Provider | WireProvider | Sequence[Provider | WireProvider],
        cache: ResponseCache | Cache[Any] | str,
        *,
        prompts: PromptRegistry | Iterable[Prompt] = (),
        tenants: Literal["optional", "required"] = "optional",
    ) -> None:
        """Use `orchestrator`, or providers with its default settings, behind `cache`.

        Args:
            orchestrator: the providers; the first is the one whose answers are wanted.
            cache: a `ResponseCache`, or a `Cache` or URL to make one of, with default settings.
            prompts: the named system prompts, or a `PromptRegistry`, which decides about the answers to a text that was
                replaced.
            tenants: `required` refuses a request that names no tenant.
        """
        given: Any = orchestrator
        if not isinstance(given, FallbackOrchestrator):
            given = FallbackOrchestrator(given if isinstance(given, list | tuple) else [given])
        asked: FallbackOrchestrator = given
        self._owned = not isinstance(cache, ResponseCache)
        kept = cache if isinstance(cache, ResponseCache) else ResponseCache(cache)
        kept.config.check_providers(asked.total_timeout)
        self._orchestrator = asked
        self._cache = kept
        self._flow = kept.flow
        self._writer = CallWriter(asked.first)
        self._quick = QuickRequests(kept.flow, "plain" if self._writer.is_plain else "openai.chat")
        self._tenants = checked_tenants(tenants)
        self.prompts = prompts if isinstance(prompts, PromptRegistry) else PromptRegistry(prompts)
        """The named system prompts: `service.prompts["faq"]`."""
        kept.serve(self._writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the cache if it was made here. Idempotent."""
        if self._owned:
            await self._cache.aclose()

    @property
    def cache(self) -> ResponseCache:
        """Return the cache."""
        return self._cache

    @property
    def providers(self) -> tuple[Provider | WireProvider, ...]:
        """Return the providers in the order they are asked."""
        return self._orchestrator.providers

    @overload
    async def generate(
        self,
        system_prompt: str | Prompt,
        user_message: Any,
        context: Any = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        stream: Literal[False] | None = False,
        **kwargs: Any,
    ) -> LLMResponse: ...
    @overload
    async def generate(
        self,
        system_prompt: str | Prompt,
        user_message: Any,
        context: Any = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        stream: Literal[True],
        **kwargs: Any,
    ) -> LLMStream: ...
    async def generate(
        self,
        system_prompt: str | Prompt,
        user_message: Any,
        context: Any = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        stream: bool | None = False,
        **kwargs: Any,
    ) -> LLMResponse | LLMStream:
        """Return an answer; `cached`, `cache_status` and `age` tell how it came.

        Args:
            system_prompt: the instructions: text, or a `Prompt`, which has its name as label.
            user_message: the question: text, or a list of content parts (texts and media).
            context: further input, such as the conversation so far; any plain value.
            tenant: the customer that asks; tenants never share answers.
            label: a name for a group of requests (`faq/v3`), for `ResponseCache.invalidate_prefix`.
            cache: how this call uses the cache.
            stream: True returns an `LLMStream`: text in pieces.
            kwargs: the parameters of the request. All are part of the key, less `cachecore_llm.TRANSPORT_FIELDS`.

        Raises:
            AllProvidersFailedError: no provider answered and the cache has nothing that could stand in.
            NotCachedError: `cache=Controls(only_if_cached=True)`, and there is no answer.
            UnkeyableError: the request holds something that has no canonical form.
            UnknownParameterError: a parameter that the provider's protocol does not have.
            Exception: the caller's own mistake, as the first provider raised it.
        """
        if (
            cache is DEFAULT
            and context is None
            and not stream
            and type(system_prompt) is str
            and type(user_message) is str
            and (tenant is not None or self._tenants == "optional")
        ):

            def keyed() -> Call:
                return self._writer.keyed(LLMRequest(system_prompt, user_message, None, kwargs, tenant, label))

            quick = self._quick.find(system_prompt, user_message, kwargs, tenant, label, keyed)
            if quick is not None:
                if label is not None and label in self.prompts:
                    await self._noticed(label, system_prompt)

                async def send(call: Call) -> Sent:
                    request = LLMRequest(system_prompt, user_message, None, kwargs, tenant, label)
                    return await self._send(self._writer.sent(request, call))

                found = await self._flow.quick(*quick, lambda: self._flow.ask(keyed()), send)
                return hit_response(*found) if type(found) is tuple else response_of(found)  # type: ignore[arg-type]  # mypy does not narrow by `type`
        if isinstance(system_prompt, Prompt):
            await self._noticed(system_prompt.name, system_prompt.text)
        request = request_of(system_prompt, user_message, context, kwargs, tenant, label)
        return self.stream_of(request, cache) if stream else await self.ask(request, cache)

    async def ask(self, request: LLMRequest | Call, cache: Controls = DEFAULT) -> LLMResponse:
        """Return an answer to `request`, or to a `Call` in a protocol of the first provider; as `generate`."""
        if isinstance(request, Call):
            return response_of(await self.answer(request, cache))
        keyed = self._keyed(request)
        await self._before(keyed)

        async def send(call: Call) -> Sent:
            return await self._send(self._writer.sent(request, call))

        return response_of(await self._flow.answer(keyed, send, cache))

    async def answer(self, call: Call, cache: Controls = DEFAULT) -> Answer:
        """Return the answer to `call`, whole, with all that is known of its way. Raises as `generate` does."""
        self._check_tenant(call.tenant)
        await self._before(call)
        return await self._flow.answer(call, self._send, cache)

    @overload
    async def chat(
        self,
        messages: Any,
        *,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        stream: Literal[False] | None = False,
        **params: Any,
    ) -> LLMResponse: ...
    @overload
    async def chat(
        self,
        messages: Any,
        *,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        stream: Literal[True],
        **params: Any,
    ) -> LLMStream: ...
    async def chat(
        self,
        messages: Any,
        *,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        stream: bool | None = False,
        **params: Any,
    ) -> LLMResponse | LLMStream:
        """Return the answer to a conversation in OpenAI's form: `chat([{"role": "user", "content": "Hi"}], tools=…)`.

        Messages, tools and forms of the answer may be pydantic models, `response_format` also a pydantic class. The
        content of the first message may be a `Prompt`. Further arguments as in `generate`; raises as it does.
        """
        call = self._writer.chat(messages, params, tenant, label)
        self._check_tenant(tenant)
        before = partial(self._before, call, with_text(messages)[1])
        if stream:
            return self._stream(streaming(call), with_transport(streaming(call), params), cache, before)
        await before()

        async def send(keyed: Call) -> Sent:
            return await self._send(with_transport(keyed, params))

        return response_of(await self._flow.answer(call, send, cache))

    def stream(
        self,
        system_prompt: str | Prompt,
        user_message: Any,
        context: Any = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        **kwargs: Any,
    ) -> LLMStream:
        """Return the answer in pieces of text; arguments as in `generate`. Asks when the first piece is read."""
        request = request_of(system_prompt, user_message, context, kwargs, tenant, label)
        keyed = self._keyed(request)
        before = partial(self._before, keyed, system_prompt)
        return self._stream(streaming(keyed), streaming(self._writer.sent(request, keyed)), cache, before)

    def stream_of(self, request: LLMRequest | Call, cache: Controls = DEFAULT) -> LLMStream:
        """Return the answer to `request` in pieces of text; as `stream`."""
        if isinstance(request, Call):
            self._check_tenant(request.tenant)
            return self._stream(streaming(request), streaming(request), cache, partial(self._before, request))
        keyed = self._keyed(request)
        sent = streaming(self._writer.sent(request, keyed))
        return self._stream(streaming(keyed), sent, cache, partial(self._before, keyed))

    async def embed(
        self,
        texts: str | list[Any],
        *,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        **params: Any,
    ) -> Embeddings:
        """Return a vector for each of `texts`; only those that are not stored are computed, all together.

        Args:
            texts: a text, a list of texts, a list of token ids (one input), or a list of such lists.
            tenant: as in `generate`.
            label: as in `generate`.
            cache: as in `generate`.
            params: the parameters of the request, such as `model` and `dimensions`.
        """
        call = self._writer.embeddings(texts, params, tenant, label)
        self._check_tenant(tenant)

        async def send(keyed: Call) -> Sent:
            return await self._send(with_transport(keyed, params))

        return embeddings_of(await self._flow.answer_many(call, send, cache))

    async def explain(
        self,
        *asked: Any,
        tenant: str | None = None,
        label: str | None = None,
        cache: Controls = DEFAULT,
        most: int = MOST,
        **params: Any,
    ) -> MissReport:
        """Return why a request misses, and in which fields the nearest stored one differs from it. Asks no provider.

        Arguments are those of `generate` or `chat`; or one `LLMRequest` or `Call`. At most `most` stored answers of the
        tenant are looked at, those of the request's own namespace first. Raises OptionsError and UnknownParameterError.
        """
        return await self._flow.explain(self._one(asked, params, tenant, label), cache, most=most)

    async def delete(self, *asked: Any, tenant: str | None = None, label: str | None = None, **params: Any) -> bool:
        """Delete the answer to one request; return whether there was one. As `ResponseCache.delete`.

        Arguments as in `explain`.
        """
        return await self._flow.delete(self._one(asked, params, tenant, label))

    async def expire(self, *asked: Any, tenant: str | None = None, label: str | None = None, **params: Any) -> bool:
        """Make the answer to one request stale as of now; return whether there was one. As `ResponseCache.expire`.

        Arguments as in `explain`.
        """
        return await self._flow.expire(self._one(asked, params, tenant, label))

    async def refresh(self, *asked: Any, **arguments: Any) -> LLMResponse:
        """Ask the providers for one request anew, store their answer for all, and return it; as `generate`.

        Arguments as in `explain`.
        """
        refresh, first = Controls(refresh=True), asked[0] if asked else arguments.get("messages")
        if isinstance(first, LLMRequest | Call):
            self._one(asked, arguments, None, None)
            return await self.ask(first, refresh)
        if isinstance(first, list | tuple):
            answered: LLMResponse = await self.chat(*asked, cache=refresh, **arguments)
        else:
            answered = await self.generate(*asked, cache=refresh, **arguments)
        return answered

    def _one(self, asked: tuple[Any, ...], params: dict[str, Any], tenant: str | None, label: str | None) -> Call:
        call = call_of(self._writer, asked, params, tenant, label)
        self._check_tenant(call.tenant)
        return call

    def _keyed(self, request: LLMRequest) -> Call:
        self._check_tenant(request.tenant)
        return self._writer.keyed(request)

    def _check_tenant(self, tenant: str | None) -> None:
        if tenant is None and self._tenants == "required":
            tenant_of(tenant, self._tenants)

    async def _before(self, call: Call, prompt: object = None) -> None:
        """Notice the text of a call's named prompt: one given as `Prompt`, or a label that is a name in `prompts`."""
        if call.prompt is not None and (isinstance(prompt, Prompt) or call.prompt in self.prompts):
            await self._noticed(call.prompt, system_text(call)[0])

    async def _noticed(self, name: str, text: str) -> None:
        """Remember a prompt's text; if it has changed and the registry says so, invalidate the outdated answers."""
        changed = self.prompts.notice(name, text)
        if changed is not None and changed.invalidate:
            with contextlib.suppress(InvalidationPending):  # logged, and delivered later; the question is answered now
                await self._cache.invalidate_selections([changed.outdated])

    async def _send(self, call: Call) -> Sent:
        return await self._orchestrator.send(call, unusable=judge_of(call))

    def _stream(self, keyed: Call, sent: Call, cache: Controls, before: Callable[[], Awaitable[None]]) -> LLMStream:
        def start(_: Call) -> Streamed:
            return self._orchestrator.stream(sent, unusable=judge_of(sent))

        return LLMStream(self._flow.stream(keyed, start, cache), keyed, before)
