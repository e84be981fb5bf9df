"""Named prompts at every face: whichever way a call names its prompt, a changed text is noticed before it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_llm import LLMRequest, LLMService, Prompt, PromptRegistry, SyncLLMService
from cachecore_llm.wire import Call
from tests.llm.flow.scripted import Scripted, caching

USER = {"role": "user", "content": "Hi"}


def turns(text: Any, role: str = "system") -> list[Any]:
    return [{"role": role, "content": text}, USER]


def call(text: str) -> Call:
    body = {"model": "m", "messages": turns(text)}
    return Call(protocol="openai.chat", endpoint="https://scripted/v1", body=body, scope="s", prompt="faq")


FACES: dict[str, Callable[[LLMService, str], Awaitable[Any]]] = {
    "generate": lambda service, text: service.generate(Prompt("faq", text), "Hi"),
    "generate with a label": lambda service, text: service.generate(text, "Hi", label="faq"),
    "generate with a label and a context": lambda service, text: service.generate(text, "Hi", ["…"], label="faq"),
    "generate, streamed": lambda service, text: service.stream(Prompt("faq", text), "Hi").response(),
    "stream with a label": lambda service, text: service.stream(text, "Hi", label="faq").response(),
    "chat": lambda service, text: service.chat(turns(Prompt("faq", text))),
    "chat of a developer": lambda service, text: service.chat(turns(Prompt("faq", text), "developer")),
    "chat with a label": lambda service, text: service.chat(turns(text), label="faq"),
    "a request": lambda service, text: service.ask(LLMRequest(text, "Hi", label="faq")),
    "a call": lambda service, text: service.ask(call(text)),
    "a call, streamed": lambda service, text: service.stream_of(call(text)).response(),
}


@pytest.mark.parametrize("face", FACES)
async def test_a_changed_text_is_noticed_by_every_face(face: str) -> None:
    """The answers to the old text are invalid before the new one is asked for."""
    registry = PromptRegistry([Prompt("faq", "old")], invalidate=True)
    async with caching() as cache:
        service = LLMService(Scripted(), cache, prompts=registry)
        old = [await FACES[face](service, "old") for _ in range(2)]
        assert [one.cache_status for one in old] == ["miss", "hit"]
        assert (await FACES[face](service, "new")).cache_status == "miss"
        assert await cache.invalidate_prompt("faq", "old") == 0, "nothing of the old text is left"
        assert (await FACES[face](service, "new")).cache_status == "hit"


async def test_streamed_chat_notices_too() -> None:
    registry = PromptRegistry([Prompt("faq", "old")], invalidate=True)
    async with caching() as cache:
        service = LLMService(Scripted(), cache, prompts=registry)
        await service.chat(turns("old"), label="faq")
        assert (await (await service.chat(turns(Prompt("faq", "new")), stream=True)).response()).content == "Paris."
        assert await cache.invalidate_prompt("faq", "old") == 0


async def test_a_label_that_names_no_prompt_is_shared_by_many_texts() -> None:
    """Labels group requests; only the name of a registered prompt says that there is one text."""
    registry = PromptRegistry([Prompt("faq", "old")], invalidate=True)
    async with caching() as cache:
        service = LLMService(Scripted(), cache, prompts=registry)
        for text in ("one", "two"):
            await service.chat(turns(text), label="search")
        assert (await service.chat(turns("one"), label="search")).cached


async def test_a_prompt_in_a_chat_has_its_name_as_label() -> None:
    provider = Scripted()
    async with caching() as cache:
        service = LLMService(provider, cache)
        await service.chat(turns(Prompt("faq", "Be brief.")))
        assert provider.calls[0].body["messages"] == turns("Be brief.")
        assert (await service.generate(Prompt("faq", "Be brief."), "Hi")).cached
        assert await cache.invalidate_prompt("faq") == 1
        with pytest.raises(OptionsError, match="label"):
            await service.chat(turns(Prompt("faq", "Be brief.")), label="other")


def test_prompts_of_a_service_for_threads() -> None:
    with SyncLLMService(Scripted(), "memory://", prompts=[Prompt("faq", "Be brief.")]) as service:
        assert service.generate(service.prompts["faq"], "Hi").content == "Paris."
        assert service.stream(service.prompts["faq"], "Hi").response().cached


class TestMistakes:
    @pytest.mark.parametrize("given", [{"ttl": 5}, True, "no-store", 60, None])
    async def test_controls_of_another_kind(self, given: Any) -> None:
        provider = Scripted()
        async with caching() as cache:
            service = LLMService(provider, cache)
            for ask in (
                lambda: service.generate("", "Hi", cache=given),
                lambda: service.chat([USER], cache=given),
                lambda: service.embed("a", cache=given),
                lambda: service.stream("", "Hi", cache=given).response(),
            ):
                with pytest.raises(OptionsError, match="Controls"):
                    await ask()
        assert not provider.calls

    @pytest.mark.parametrize("name", ["extra_body", "extra_headers", "extra_query"])
    async def test_extras_are_dicts(self, name: str) -> None:
        async with caching() as cache:
            service = LLMService(Scripted(), cache)
            extras: dict[str, Any] = {name: "sk-secret"}
            with pytest.raises(OptionsError, match=f"{name} must be a dict, not str") as raised:
                await service.chat([USER], **extras)
            assert "secret" not in str(raised.value)
