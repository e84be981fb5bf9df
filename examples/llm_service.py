"""A cached LLM service: a provider that is down, one that stands in for it, and the cache before and after both."""

import asyncio
from typing import Any

from cachecore_llm import FallbackOrchestrator, LLMResponse, LLMService, ResponseCache, SimulatedProvider


class Down:
    name = "first"

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        raise ConnectionError("out of order")


async def main() -> None:
    providers = FallbackOrchestrator([Down(), SimulatedProvider("second", speed=20)], timeout=30)
    async with ResponseCache("memory://") as cache:
        service = LLMService(providers, cache)
        for _ in range(2):
            answer = await service.generate("You are helpful.", "How do I reset my password?", temperature=0)
            print(answer.cache_status, answer.provider, answer.content)
        print(f"hit rate {cache.metrics.hit_rate:.0%}")


asyncio.run(main())
