"""`ResponseCache`: LLM answers in a `cachecore.Cache`, under the key of the whole request."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

from cachecore import Cache, Computed, OptionsError
from cachecore.contract.clock import Clock
from cachecore.contract.options import positive
from cachecore.contract.protocols import CacheBackend
from cachecore.contract.results import UNSET, Outcome, Unset
from cachecore_llm.admission import Rejection, rejection
from cachecore_llm.config import CacheConfig, CacheMetrics
from cachecore_llm.policy.prompts import label_segments, namespace, prompt_digest
from cachecore_llm.policy.tenants import tenant_segments
from cachecore_llm.request import LLMRequest
from cachecore_llm.response import CacheStatus, LLMResponse, StoredAnswer, as_made, marked
from cachecore_llm.similar_answers import AnsweredQuestions

if TYPE_CHECKING:
    from redis.asyncio import Redis

_STATUS: Final[dict[Outcome, CacheStatus]] = {
    "hit": "hit",
    "stale": "stale",
    "rescued": "stale",
    "computed": "miss",
    "bypass": "bypass",
}
_MAX_VIEWS: Final = 4096


class ResponseCache:
    """Answers of LLMs, found again by everything that shaped them.

        async with ResponseCache("redis://localhost", CacheConfig(ttl_seconds=3600)) as cache:
            await cache.set("You are helpful.", "Hi!", None, response, model="m", temperature=0)
            await cache.get("You are helpful.", "Hi!", model="m", temperature=0.0)

    Args:
        store: a URL, a `Cache` (the answers get a namespace of their own in it), a backend, or a `redis.asyncio.Redis`.
            Only what was made from a URL is closed by `aclose`.
        config: how answers are kept.
        clock: where time comes from; a `Cache` brings its own.
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
        **options: Any,
    ) -> None:
        if "ttl" in options:
            raise OptionsError(f"ResponseCache has no option ttl: give it CacheConfig(ttl_seconds={options['ttl']!r})")
        if isinstance(store, Unset):
            raise OptionsError(
                "ResponseCache needs a store: ResponseCache('redis://localhost'), or memory://, sqlite:///…"
            )
        if config is not None and not isinstance(config, CacheConfig):
            raise OptionsError(f"the settings of a ResponseCache are a CacheConfig, not {config!r}")
        self.config = config = config or CacheConfig()
        self._opened: Cache[Any] | None = None
        policy: dict[str, Any] = {
            "ttl": config.ttl_seconds,
            "stale_if_error": config.stale_if_error,
            "stale_while_revalidate": config.stale_while_revalidate,
            "factory_timeout": config.factory_timeout,
        }
        if isinstance(store, Cache):
            if clock is not None:
                raise OptionsError("a Cache has its own clock; give it there")
            self._root: Cache[StoredAnswer] = store.scoped(
                config.prefix, value_type=StoredAnswer, name="llm", **policy, **options
            )
        else:
            self._root = self._opened = Cache(
                store if isinstance(store, str) else _backend(store),
                prefix=config.prefix,
                value_type=StoredAnswer,
                name="llm",
                clock=clock,
                **policy,
                **options,
            )
        # What is read to find a similar answer is no request of anybody, so it is not counted among them.
        self._unasked: Cache[StoredAnswer] = self._root.scoped(name="llm.similar")
        self._views: OrderedDict[str, Cache[StoredAnswer]] = OrderedDict()
        self._questions = AnsweredQuestions(config)
        self._rejected: Counter[str] = Counter()
        self._similar = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish background work and close what was made here; a caller's cache, backend or client stays open."""
        if self._opened is not None:
            await self._opened.aclose()

    @property
    def metrics(self) -> CacheMetrics:
        """The counts so far; a snapshot."""
        stats = self._root.stats
        return CacheMetrics(
            hits=stats.hits_l1 + stats.hits_l2,
            misses=stats.misses + stats.computed + stats.stale + stats.rescued + stats.failed,
            stale=stats.stale + stats.rescued,
            similar=self._similar,
            stored=stats.stored,
            rejected=dict(self._rejected),
            not_stored={why: number for why, number in stats.not_stored.items() if why != "admission"},
        )

    async def get(
        self,
        system_prompt: str,
        user_message: str,
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
            context: what else was sent, such as the conversation so far; any plain value.
            tenant: whose request it is; tenants never share answers.
            label: a name for a group of requests (`faq/v3`), for `invalidate_prefix`.
            params: every parameter of the request, such as `model` or `temperature`.

        Raises:
            UnkeyableError: the request holds something that has no canonical form.
        """
        return await self.find(LLMRequest(system_prompt, user_message, context, params, tenant, label))

    async def find(self, request: LLMRequest) -> LLMResponse | None:
        """Return the fresh answer to `request`, or None. As `get`."""
        if not self.config.enabled:
            return None
        found = await self._view(request).lookup(request.key_fields(self.config.ignore))
        if found.outcome != "hit" or found.value is None:
            return None
        if found.tier == "l2":
            self._questions.remember(request, self._view(request), found.value)
        return marked(found.value.response, "hit", found.age)

    async def set(
        self,
        system_prompt: str,
        user_message: str,
        context: Any = None,
        response: LLMResponse | None = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        **params: Any,
    ) -> bool:
        """Store `response` as the answer to a request; return whether it was fit to be stored, and stored.

        What is never stored: `cachecore_llm.admission`, and answers that came from a cache. `metrics.rejected` counts
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
        computed = self._computed(request, response)
        view, fields = self._view(request), request.key_fields(self.config.ignore)
        return computed.store and await view.set(fields, computed)

    async def answer(self, request: LLMRequest, generate: Callable[[], Awaitable[LLMResponse]]) -> LLMResponse:
        """Return the stored answer to `request`, or what `generate` returns, which is stored if it is fit to be.

        Callers that ask the same at the same time share one call of `generate`. If it fails, and the same request has
        an answer past its ttl but within `stale_if_error`, that is returned, marked `stale`; else its error is raised.
        """
        if not self.config.enabled:
            return marked(as_made(await generate()), "bypass")
        view, fields = self._view(request), request.key_fields(self.config.ignore)

        async def factory() -> Computed[StoredAnswer]:
            return self._computed(request, await generate())

        found = await view.lookup(fields, factory)
        stored = cast("StoredAnswer", found.value)  # with a factory there is an answer, or an exception
        if found.outcome == "hit" and found.tier == "l2":
            self._questions.remember(request, self._view(request), stored)
        status = _STATUS[found.outcome]
        return stored.response if status == "miss" else marked(stored.response, status, found.age)

    async def similar(self, request: LLMRequest) -> LLMResponse | None:
        """Return the answer to a question much like that of `request`, marked `similar`, or None.

        Looked for among the questions that this process has seen answered within the same system prompt, context,
        parameters, tenant and label. Each candidate is read from the store before it is served: it must still be
        there, valid, and hold the very question that was matched. It may be past its ttl, up to `stale_if_error`.
        """
        if not self.config.enabled or not self._questions.takes(request):
            return None
        view = self._unasked.scoped(_place(request, self.config), tags=_tags(request, self.config))
        found = await self._questions.answer(request, view)
        self._similar += found is not None
        return found

    async def invalidate_prompt(self, system_prompt: str) -> int | None:
        """Make every answer to `system_prompt` invalid, of every tenant and label, in every process, at once.

        Returns how many entries were deleted: exact without concurrent writers, None where the store cannot list its
        keys. Deleting looks at every key of this cache and goes on behind the invalidation, which is already done.

        Raises:
            InvalidationPending: the store did not acknowledge; it is tried again until it does.
        """
        tag = _prompt_tag(system_prompt)
        return await self._root.sweep_tag(tag, lambda place: place.split("/")[-1] == tag)

    async def invalidate_prefix(self, label: str) -> int | None:
        """Make every answer with `label`, or a label below it (`faq` and `faq/v3`), invalid, of every tenant.

        Returns and raises as `invalidate_prompt`.
        """
        wanted = label_segments(label)

        def labelled(place: str) -> bool:
            segments = place.split("/")
            own = segments[1:] if segments[0].startswith(("t-", "x-")) else segments
            return own[: len(wanted)] == wanted

        return await self._root.sweep_tag("/".join(wanted), labelled)

    async def invalidate_tenant(self, tenant: str) -> int | None:
        """Make every answer of `tenant` invalid. Returns and raises as `invalidate_prompt`."""
        return await self._root.invalidate_prefix("/".join(tenant_segments(tenant)))

    async def invalidate_all(self) -> int | None:
        """Make every answer of this cache invalid. Returns and raises as `invalidate_prompt`."""
        return await self._root.invalidate_all()

    def _view(self, request: LLMRequest) -> Cache[StoredAnswer]:
        place = _place(request, self.config)
        view = self._views.get(place)
        if view is None:
            view = self._views[place] = self._root.scoped(place, tags=_tags(request, self.config))
            if len(self._views) > _MAX_VIEWS:
                self._views.popitem(last=False)
        return view

    def _computed(self, request: LLMRequest, response: LLMResponse) -> Computed[StoredAnswer]:
        """Return `response` together with whether and for how long it may be stored; a rejection is counted."""
        why = self._rejection(request, response)
        made = as_made(response)
        stored = StoredAnswer(made, request.user_message if self._questions.may_match(request, made) else None)
        served_by = response.provider or None
        if why is not None:
            self._rejected[why] += 1
            return Computed(stored, store=False, served_by=served_by)
        self._questions.remember(request, self._view(request), stored)
        if not response.fallback:
            return Computed(stored, served_by=served_by)
        own, fallback = self.config.ttl_seconds, positive("fallback_ttl", self.config.fallback_ttl)
        ttl = fallback if own is None else min(positive("ttl_seconds", own), fallback)
        return Computed(stored, ttl=ttl, served_by=served_by)

    def _rejection(self, request: LLMRequest, response: LLMResponse) -> Rejection | None:
        if response.cached:
            return "cached"  # storing it again would make it young again, or the answer to another question
        why = rejection(response, request)
        if why is None and self.config.admit is not None and not self.config.admit(response):
            return "custom"
        return why


def _place(request: LLMRequest, config: CacheConfig) -> str:
    return namespace(request.system_prompt, tenant=request.tenant, label=_label(request, config))


def _tags(request: LLMRequest, config: CacheConfig) -> list[str]:
    segments = label_segments(_label(request, config))
    return [_prompt_tag(request.system_prompt), *("/".join(segments[: end + 1]) for end in range(len(segments)))]


def _label(request: LLMRequest, config: CacheConfig) -> str | None:
    return config.label if request.label is None else request.label


def _prompt_tag(system_prompt: str) -> str:
    return "p-" + prompt_digest(system_prompt)


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
