"""`LLMService`: answers from the cache, else from the providers, else from the cache once more.

The ladder: the exact answer while it is fresh; the providers, one call for all who ask the same; the exact answer past
its ttl; the answer to a similar question; `AllProvidersFailedError`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import positive
from cachecore_llm.errors import AllProvidersFailedError, UnsupportedRequestError
from cachecore_llm.request import LLMRequest
from cachecore_llm.response import LLMResponse
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.upstream import FallbackOrchestrator, Provider


class LLMService:
    """Answers requests through a cache and providers that stand in for each other.

    Closes neither: both stay the caller's.
    """

    def __init__(self, orchestrator: FallbackOrchestrator | Provider, cache: ResponseCache) -> None:
        """Use `orchestrator`, or one provider alone, behind `cache`."""
        asked = orchestrator if isinstance(orchestrator, FallbackOrchestrator) else FallbackOrchestrator([orchestrator])
        limit = positive("factory_timeout", cache.config.factory_timeout)
        if asked.total_timeout >= limit:
            raise OptionsError(
                f"the providers may take {asked.total_timeout:g} s together, but the cache gives up after "
                f"factory_timeout = {limit:g} s: raise it in CacheConfig, or lower theirs"
            )
        self._orchestrator = asked
        self._cache = cache

    @property
    def cache(self) -> ResponseCache:
        """Return the cache that was given."""
        return self._cache

    async def generate(
        self,
        system_prompt: str,
        user_message: str,
        context: Any = None,
        *,
        tenant: str | None = None,
        label: str | None = None,
        **kwargs: Any,
    ) -> LLMResponse:
        """Return an answer; `cached`, `cache_status` and `age` tell how it came.

        Args:
            system_prompt: the instructions.
            user_message: the question.
            context: what else is sent, such as the conversation so far; any plain value.
            tenant: whose request it is; tenants never share answers.
            label: a name for a group of requests (`faq/v3`), for `ResponseCache.invalidate_prefix`.
            kwargs: the parameters of the request. All are part of the key, less `cachecore_llm.TRANSPORT_FIELDS`.

        Raises:
            AllProvidersFailedError: no provider answered and the cache has nothing that could stand in.
            UnkeyableError: the request holds something that has no canonical form.
            UnsupportedRequestError: `stream=True`; answers are whole in this version.
        """
        return await self.ask(LLMRequest(system_prompt, user_message, context, kwargs, tenant, label))

    async def ask(self, request: LLMRequest) -> LLMResponse:
        """Return an answer to `request`; as `generate`."""
        if request.params.get("stream"):
            raise UnsupportedRequestError("stream=True: answers are not streamed yet; leave it out to get them whole")
        identity = self._orchestrator.identity
        keyed = replace(request, params={**identity, **request.params}) if identity else request

        async def generate() -> LLMResponse:
            return await self._orchestrator.generate(
                request.system_prompt, request.user_message, request.context, **request.params
            )

        try:
            return await self._cache.answer(keyed, generate)
        except AllProvidersFailedError:
            found = await self._cache.similar(keyed)
            if found is None:
                raise
            return found
