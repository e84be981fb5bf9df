"""`delete`, `expire` and `refresh` of one request, in every form in which it can be asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cachecore import OptionsError
from cachecore.testing.clocks import FakeClock
from cachecore_llm import LLMRequest, LLMService, Prompt, SyncLLMService
from tests.llm.flow.scripted import WEATHER, Scripted, caching, chat, completion, tool_calls

TURNS = [{"role": "user", "content": "Weather in Rome?"}]

Ask = Callable[[LLMService], Awaitable[Any]]

FORMS: dict[str, tuple[Ask, tuple[Any, ...], dict[str, Any]]] = {
    "texts": (lambda s: s.generate("Brief.", "Where?", seed=1), ("Brief.", "Where?"), {"seed": 1}),
    "names": (
        lambda s: s.generate(system_prompt="Brief.", user_message="Where?"),
        (),
        {"system_prompt": "Brief.", "user_message": "Where?"},
    ),
    "prompt": (lambda s: s.generate(Prompt("faq", "Brief."), "Where?"), (Prompt("faq", "Brief."), "Where?"), {}),
    "label": (
        lambda s: s.generate("Brief.", "Where?", label="faq", tenant="t"),
        ("Brief.", "Where?"),
        {"label": "faq", "tenant": "t"},
    ),
    "conversation": (
        lambda s: s.chat(TURNS, tools=[WEATHER], tenant="t"),
        (TURNS,),
        {"tools": [WEATHER], "tenant": "t"},
    ),
    "messages": (lambda s: s.chat(messages=TURNS), (), {"messages": TURNS}),
    "stream": (lambda s: s.stream("Brief.", "Where?").response(), ("Brief.", "Where?"), {}),
    "request": (
        lambda s: s.ask(LLMRequest("Brief.", "Where?")),
        (LLMRequest("Brief.", "Where?"),),
        {},
    ),
    "call": (lambda s: s.ask(chat(tenant="t")), (chat(tenant="t"),), {}),
}


@pytest.mark.parametrize("form", FORMS)
async def test_one_request_in_every_form(form: str) -> None:
    ask, given, named = FORMS[form]
    provider = Scripted(completion("first"), completion("second"), completion("third"), completion("fourth"))
    clock = FakeClock()
    async with caching(clock) as cache:
        service = LLMService(provider, cache)
        assert await service.delete(*given, **named) is False
        assert (await ask(service)).content == "first"
        assert (await service.refresh(*given, **named)).content == "second"
        found = await ask(service)
        assert (found.content, found.cache_status) == ("second", "hit")
        assert await service.expire(*given, **named) is True
        assert (await ask(service)).content == "third"
        assert await service.delete(*given, **named) is True
        assert (await ask(service)).content == "fourth"
        assert len(provider.calls) == 4


async def test_an_agents_answer_is_deleted() -> None:
    """One with a tool call, by the very messages and tools that it was asked with."""
    provider = Scripted(tool_calls())
    async with caching() as cache:
        service = LLMService(provider, cache)
        await service.chat(TURNS, tools=[WEATHER])
        assert await service.delete(TURNS) is False
        assert await service.delete(TURNS, tools=[WEATHER]) is True
        assert (await service.chat(TURNS, tools=[WEATHER])).cache_status == "miss"


async def test_a_tenant_that_is_required_is_required_here_too() -> None:
    async with caching() as cache:
        service = LLMService(Scripted(), cache, tenants="required")
        for act in (service.delete, service.expire, service.refresh, service.explain):
            for given in (("Brief.", "Where?"), (TURNS,), (chat(),)):
                with pytest.raises(OptionsError, match="tenant"):
                    await act(*given)


async def test_a_request_beside_other_arguments_is_refused() -> None:
    async with caching() as cache:
        service = LLMService(Scripted(), cache)
        for act in (service.delete, service.expire, service.refresh, service.explain):
            with pytest.raises(OptionsError, match="give it alone"):
                await act(chat(), seed=1)


def test_the_synchronous_face() -> None:
    with SyncLLMService(Scripted(completion("a"), completion("b"), completion("c")), "memory://") as service:
        service.chat(TURNS)
        assert service.refresh(TURNS).content == "b"
        assert service.expire(TURNS) is True
        assert service.delete(messages=TURNS) is True
        assert service.chat(TURNS).content == "c"
