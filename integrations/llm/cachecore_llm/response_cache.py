"""`ResponseCache`: LLM answers in a `cachecore.Cache`, under the key of the whole request."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cachecore import Cache, OptionsError
from cachecore.contract.clock import Clock
from cachecore.contract.protocols import CacheBackend
from cachecore.contract.results import UNSET, Unset
from cachecore_llm.call_writer import CallWriter
from cachecore_llm.config import CacheConfig, CacheMetrics
from cachecore_llm.cost.ledger import Ledger
from cachecore_llm.flow import Flow, StoredAnswer, body_of, response_of
from cachecore_llm.flow.costs import Costs
from cachecore_llm.flow.places import model_tag
from cachecore_llm.policy.prompts import Prompt, Selection, name_selection, selections
from cachecore_llm.policy.tenants import tenant_segments
from cachecore_llm.request import LLMRequest
from cachecore_llm.response import LLMResponse
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import Call

if TYPE_CHECKING:
    from redis.asyncio import Redis


class ResponseCache:
    """Answers of LLMs, found again by everything that shaped them.

        async with ResponseCache("redis://localhost", CacheConfig(ttl_seconds=3600)) as cache:
            await cache.set("You are helpful.", "Hi!", None, response, model="m", temperature=0)
            await cache.get("You are helpful.", "Hi!", model="m", temperature=0.0)

    Args:
        store: a URL, a `Cache` (the answers get a namespace of their own in it), a backend, or a `redis.asyncio.Redis`.
            `aclose` closes only a store made from a URL. Without one, `backend` of the environment or the file, as for
            `Cache()`.
        config: how answers are kept. Without one, the settings of environment and file, then the defaults.
        clock: where time comes from; a `Cache` brings its own.
        ledger: counts spending at providers and savings of the cache; one of its own if not given.
        options: any further option of `cachecore.Cache`, such as `serializer`, `hasher` or `l1_max_bytes`.

    `get`, `answer` and `set` never raise because the store is sick; the invalidations raise
    `cachecore.InvalidationPending` when the store did not acknowledge them, and are delivered by themselves.
    """

    def __init__(
        self,
        store: str | Cache[Any] | CacheBackend | Redis | Unset = UNSET,
        config: CacheConfig | None = None,
        *,
        clock: Clock | None = None,
        ledger: Ledger | None = None,
        **options: Any,
    ) -> None:
        if "ttl" in options:
            raise OptionsError(f"ResponseCache has no option ttl: give it CacheConfig(ttl_seconds={options['ttl']!r})")
        if config is not None and not isinstance(config, CacheConfig):
            raise OptionsError(f"the settings of a ResponseCache are a CacheConfig, not {config!r}")
        settings = {} if isinstance(store, Cache) else Cache.configuration()
        if isinstance(store, Unset) and "backend" not in settings:
            raise OptionsError(
                "ResponseCache needs a store: ResponseCache('redis://localhost'), or memory://, sqlite:///…; or set "
                "CACHECORE_BACKEND, or backend in cachecore.toml or [tool.cachecore], to a URL"
            )
        config = config or CacheConfig.of(settings)
        if os.environ.get("CACHECORE_OFF", "").strip().lower() in ("1", "true", "yes", "on"):
            config = replace(config, enabled=False)
        self.config = config
        self._opened: Cache[Any] | None = None
        policy: dict[str, Any] = {
            "ttl": config.ttl_seconds,
            "stale_if_error": config.stale_if_error,
            "stale_while_revalidate": config.stale_while_revalidate,
            "soft_timeout": config.soft_timeout,
            "factory_timeout": config.gives_up_after,
        }
        if isinstance(store, Cache):
            if clock is not None:
                raise OptionsError("a Cache has its own clock; give it there")
            self._root: Cache[StoredAnswer] = store.scoped(
                config.prefix, value_type=StoredAnswer, name="llm", **policy, **options
            )
        else:
            # A serializer object has no value type, and a view makes it one of answers.
            named = isinstance(options.get("serializer"), str | None)
            further = {**policy, **options, **({"value_type": StoredAnswer} if named else {})}
            self._opened = Cache(
                store if isinstance(store, str | Unset) else _backend(store),
                prefix=config.prefix,
                name="llm",
                clock=clock,
                **further,
            )
            self._root = self._opened if named else self._opened.scoped(value_type=StoredAnswer)
        self.flow = Flow(self._root, config, Costs(ledger))
        """The ways of calls through this cache, for faces that take calls of their own."""
        self._writer = CallWriter()
        self._served = False

    def serve(self, writer: CallWriter) -> None:
        """Let `get`, `set`, `find`, `delete` and the like mean the answers of the provider that `writer` writes for.

        An `LLMService` does so when it is built; of several services on one cache, the first counts.
        """
        if not self._served:
            self._served, self._writer = True, writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish background work and close a store that was made here; one that was given stays open."""
        if self._opened is not None:
            await self._opened.aclose()

    @property
    def ledger(self) -> Ledger:
        """Spending at providers and savings of the cache, per model, tenant and prompt."""
        return self.flow.costs.ledger

    @property
    def metrics(self) -> CacheMetrics:
        """The counts so far; a snapshot."""
        stats = self._root.stats
        return CacheMetrics(
            hits=stats.hits_l1 + stats.hits_l2,
            misses=stats.misses + stats.computed + stats.stale + stats.rescued + stats.failed,
            stale=stats.stale + stats.rescued,
            similar=self.flow.similar,
            joined=stats.joined,
            stored=stats.stored,
            rejected=dict(self.flow.commit.rejected),
            not_stored={why: number for why, number in stats.not_stored.items() if why != "admission"},
        )

    async def get(
        self,
        system_prompt: str,
        user_message: Any,
        context: Any = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        **params: Any,
    ) -> LLMResponse | None:
        """Return the fresh answer to a request, or None.

        Args:
            system_prompt: the instructions.
            user_message: the question.
            context: further input, such as the conversation so far; any plain value.
            tenant: the customer that asks; tenants never share answers.
            label: a name for a group of requests (`faq/v3`), for `invalidate_prefix`.
            params: every parameter of the request, such as `model` or `temperature`.

        Raises:
            UnkeyableError: the request holds something that has no canonical form.
        """
        return await self.find(LLMRequest(system_prompt, user_message, context, params, tenant, label))

    async def find(self, request: LLMRequest) -> LLMResponse | None:
        """Return the fresh answer to `request`, or None. As `get`."""
        found = await self.flow.find(self._writer.keyed(request))
        return None if found is None else response_of(found)

    async def set(
        self,
        system_prompt: str,
        user_message: Any,
        context: Any = None,
        response: LLMResponse | None = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        **params: Any,
    ) -> bool:
        """Store `response` as the answer to a request; return whether it was fit to be stored, and stored.

        What is never stored: `policy.admission`, and answers that came from a cache. `metrics.rejected` counts
        the reasons. An answer marked `fallback` lives for `fallback_ttl`. Further arguments as in `get`.

        Raises:
            UnkeyableError: the request holds something that has no canonical form.
            EncodingError: the answer is larger than the store takes.
        """
        if response is None:
            raise TypeError("set() needs the response to store")
        request = LLMRequest(system_prompt, user_message, context, params, tenant, label)
        if not self.config.enabled:
            return False
        given: object = response
        if not isinstance(given, LLMResponse):
            kind = type(given).__name__
            raise TypeError(f"the answer to store is a {kind}, not an LLMResponse: LLMResponse(content=…) holds a text")
        if response.cached:  # storing it again would make it young again, or the answer to another question
            self.flow.commit.rejected["cached"] += 1
            return False
        call = self._writer.keyed(request)
        return await self.flow.put(call, _sent(call, response))

    async def answer(self, request: LLMRequest, generate: Callable[[], Awaitable[LLMResponse]]) -> LLMResponse:
        """Return the stored answer to `request`, else that of `generate`, which is stored if it is fit to be.

        Callers that ask the same at the same time share one call of `generate`. If it fails, and the same request has
        an answer past its ttl but within `stale_if_error`, that is returned, marked `stale`; else its error is raised.
        """

        async def send(call: Call) -> Sent:
            return _sent(call, await generate())

        return response_of(await self.flow.answer(self._writer.keyed(request), send, similar=False))

    async def similar(self, request: LLMRequest) -> LLMResponse | None:
        """Return the answer to a question much like that of `request`, marked `similar`, or None.

        Looked for among the questions that this process has seen answered within the same system prompt, context,
        parameters, tenant and label. Each candidate is read from the store before it is served: it must still be
        there, valid, and hold the very question that was matched. It may be past its ttl, up to `stale_if_error`.
        """
        found = await self.flow.similar_answer(self.flow.ask(self._writer.keyed(request)))
        return None if found is None else response_of(found)

    async def delete(
        self,
        system_prompt: str,
        user_message: Any,
        context: Any = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        **params: Any,
    ) -> bool:
        """Delete the answer to one request, for all processes; return whether there was one. Arguments as in `get`.

        Raises:
            InvalidationPending: the store did not acknowledge; it is delivered by itself as soon as it answers.
        """
        request = LLMRequest(system_prompt, user_message, context, params, tenant, label)
        return await self.flow.delete(self._writer.keyed(request))

    async def expire(
        self,
        system_prompt: str,
        user_message: Any,
        context: Any = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        **params: Any,
    ) -> bool:
        """Make the answer to one request stale as of now: it is made anew, and kept in case that fails.

        Returns whether there was one. Arguments as in `get`; raises as `delete` does.
        """
        request = LLMRequest(system_prompt, user_message, context, params, tenant, label)
        return await self.flow.expire(self._writer.keyed(request))

    async def invalidate_prompt(self, name_or_text: str | Prompt, text: str | None = None) -> int | None:
        """Make every answer to a prompt invalid, of every tenant and label, in every process, at once.

        A prompt is given by its name (answers to all its texts), by its text, or by both (answers to that text).

        Returns how many entries were deleted: exact without concurrent writers, None where the store cannot list its
        keys. Deleting looks at every key of this cache and goes on behind the invalidation, which is already done.

        Raises:
            InvalidationPending: the store did not acknowledge; it is tried again until it does.
        """
        return await self.invalidate_selections(selections(name_or_text, text))

    async def invalidate_selections(self, chosen: Iterable[Selection]) -> int | None:
        """Make the answers in each of `chosen` invalid. Returns and raises as `invalidate_prompt`."""
        counts = [await self._root.sweep_tag(one.tag, one.holds) for one in chosen]
        return None if None in counts else sum(count or 0 for count in counts)

    async def invalidate_prefix(self, label: str) -> int | None:
        """Make every answer with `label`, or a label below it (`faq` and `faq/v3`), invalid, of every tenant.

        Returns and raises as `invalidate_prompt`.
        """
        return await self.invalidate_selections([name_selection(label)])

    async def invalidate_model(self, model: str) -> None:
        """Make every answer invalid for which `model` was asked, or that `model` gave as a fallback.

        Raises:
            InvalidationPending: the store did not acknowledge; it is tried again until it does.
        """
        await self._root.invalidate_tags(model_tag(model))

    async def invalidate_tenant(self, tenant: str) -> int | None:
        """Make every answer of `tenant` invalid. Returns and raises as `invalidate_prompt`."""
        return await self._root.invalidate_prefix("/".join(tenant_segments(tenant)))

    async def invalidate_all(self) -> int | None:
        """Make every answer of this cache invalid. Returns and raises as `invalidate_prompt`."""
        return await self._root.invalidate_all()


def _sent(call: Call, response: LLMResponse) -> Sent:
    return Sent(
        body=body_of(call.protocol, response),
        provider=response.provider,
        fallback=response.fallback,
        latency=response.latency,
    )


def _backend(store: object) -> CacheBackend:
    """Return the backend that a caller's object is or makes."""
    driver = sys.modules.get("redis.asyncio")  # not imported: whoever holds a client of it has done so
    if driver is not None and isinstance(store, driver.Redis):
        try:
            from cachecore_redis import RedisBackend
        except ImportError as error:
            raise OptionsError("a Redis client needs the backend for it: pip install cachecore-redis") from error
        return RedisBackend.from_client(store)
    if not isinstance(store, CacheBackend):
        raise OptionsError(
            f"a ResponseCache is made from a URL, a Cache, a backend or a Redis client, not {type(store).__name__}"
        )
    return store
