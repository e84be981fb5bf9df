"""Tenants and prompts never meet, and what they say is not told to anybody."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm import AllProvidersFailedError, LLMResponse, LLMService, ResponseCache

SECRET = "xyzzy-4711"


class Failing:
    name = "failing"

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        raise ConnectionError(f"could not send {user_message}")


async def test_no_tenant_and_prompt_gets_the_answer_of_another() -> None:
    """40 tenants with 50 prompts each, with names made to be confused, all asking the same question."""
    tenants = [name for n in range(10) for name in (f"t{n}", f"t-t{n}", f"l-t{n}", f"t{n}/p")]
    prompts = [text for n in range(10) for text in (f"p{n}", f"p{n} ", f"P{n}", f"t{n}/p{n}", f"p{n}\0")]
    async with ResponseCache("memory://") as cache:
        service = LLMService(Failing(), cache)
        for tenant in tenants:
            for prompt in prompts:
                await cache.set(prompt, "Q?", None, LLMResponse(f"{tenant}|{prompt}"), tenant=tenant)
        for tenant in tenants:
            for prompt in prompts:
                answer = await service.generate(prompt, "Q?", tenant=tenant)
                assert answer.content == f"{tenant}|{prompt}"
        assert cache.metrics.hits == 2000
        for stranger in [None, "t", "T0", "x"]:
            with pytest.raises(AllProvidersFailedError):
                await service.generate("p0", "Q?", tenant=stranger)


async def test_prompts_are_in_no_key_log_or_message(caplog: pytest.LogCaptureFixture) -> None:
    """Only a store's values hold what was asked and answered."""
    caplog.set_level(logging.DEBUG)
    backend = MemoryBackend()
    async with ResponseCache(backend) as cache:
        request: dict[str, Any] = {"system_prompt": SECRET, "context": [SECRET], "label": f"{SECRET}!", "key": SECRET}
        await cache.set(user_message=SECRET, response=LLMResponse(SECRET), **request)
        keys = [key async for page in backend.scan("") for key in page]
        assert keys
        with pytest.raises(AllProvidersFailedError) as raised:
            await LLMService(Failing(), cache).generate(user_message=f"What is {SECRET}?", **request)
        assert SECRET not in str(raised.value)
        await backend.aclose()
        await cache.get(user_message=SECRET, **request)
        assert SECRET not in f"{keys} {caplog.text} {cache.metrics} {cache!r}"
