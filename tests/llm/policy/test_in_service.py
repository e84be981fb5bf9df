"""Prompts, tenants, lifetimes and costs as an application meets them: through the service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from cachecore import Cache, OptionsError
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.faulty import FaultyBackend
from cachecore_llm import CacheConfig, Controls, LLMResponse, LLMService, ResponseCache, SimulatedProvider, Usage
from cachecore_llm.cost.ledger import Key, Ledger
from cachecore_llm.cost.prices import Prices
from cachecore_llm.cost.rates import Rates
from cachecore_llm.policy.prompts import Prompt, PromptRegistry
from tests.llm.cost.test_ledger import collected

HOUR = 3600.0
USAGE = Usage(prompt_tokens=1000, completion_tokens=100)


class Model:
    """A provider of one's own that counts its calls."""

    name = "mine"

    def __init__(self) -> None:
        self.told: list[str] = []
        self.asked = asyncio.Event()
        self.gate: asyncio.Event | None = None
        self.answer: dict[str, Any] = {"content": "Paris."}
        self.identity = {"deployment": "test"}

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        self.told.append(system_prompt)
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        return LLMResponse(**{"model": "m", "finish_reason": "stop", "usage": USAGE, **self.answer})


class Down:
    """A provider that is never there."""

    name = "down"

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        raise ConnectionError("down")


async def test_named_prompt_is_made_invalid_by_name_and_by_text() -> None:
    model = Model()
    async with ResponseCache("memory://") as cache:
        service = LLMService(model, cache)
        kind, brief = Prompt("faq", "Be kind."), Prompt("faq", "Be brief.")

        async def statuses() -> list[str]:
            return [(await service.generate(prompt, "Capital?")).cache_status for prompt in (kind, brief)]

        assert await statuses() == ["miss", "miss"]
        assert await statuses() == ["hit", "hit"]
        assert await cache.invalidate_prompt("faq", "Be kind.") == 1
        assert await statuses() == ["miss", "hit"]
        assert await cache.invalidate_prompt("Be brief.") == 1
        assert await statuses() == ["hit", "miss"]
        assert await cache.invalidate_prompt("faq") == 2
        assert await statuses() == ["miss", "miss"]
        assert (await service.generate("Be kind.", "Capital?", label="faq")).cache_status == "hit", "label= is its name"


@pytest.mark.parametrize("invalidate", [True, False])
async def test_registry_makes_answers_to_the_old_text_invalid(invalidate: bool) -> None:
    """If asked to; a new text misses in any case, because the text is part of the key."""
    async with ResponseCache("memory://") as cache:
        service = LLMService(Model(), cache, prompts=PromptRegistry(invalidate=invalidate))
        await service.generate(Prompt("faq", "Be kind."), "Capital?")
        assert (await service.generate(Prompt("faq", "Be brief."), "Capital?")).cache_status == "miss"
        old = await service.generate("Be kind.", "Capital?", label="faq")
        assert old.cache_status == ("miss" if invalidate else "hit")


async def test_sick_store_does_not_turn_a_changed_prompt_into_an_error() -> None:
    """The invalidation is delivered later; the question is answered now."""
    store = FaultyBackend(MemoryBackend())
    async with Cache(store, ttl=60, write_timeout=0.05) as kept, ResponseCache(kept) as cache:
        service = LLMService(Model(), cache, prompts=PromptRegistry(invalidate=True))
        await service.generate(Prompt("faq", "Be kind."), "Capital?")
        store.fail()
        answer = await service.generate(Prompt("faq", "Be brief."), "Capital?")
        assert answer.content == "Paris."
        store.heal()


async def test_missing_tenant_is_an_error_where_tenants_are_required() -> None:
    model = Model()
    async with ResponseCache("memory://") as cache:
        service = LLMService(model, cache, tenants="required")
        with pytest.raises(OptionsError, match="this call names none"):
            await service.generate("Be kind.", "Capital?")
        with pytest.raises(OptionsError, match="this call names none"):
            await service.delete("Be kind.", "Capital?")
        assert not model.told
        assert (await service.generate("Be kind.", "Capital?", tenant="a")).cache_status == "miss"
        assert (await service.generate("Be kind.", "Capital?", tenant="b")).cache_status == "miss"
        assert (await service.generate("Be kind.", "Capital?", tenant="a")).cache_status == "hit"


@pytest.mark.parametrize(
    ("config", "controls", "hours"),
    [
        ({}, {}, 96),
        ({"max_retention": "30h"}, {}, 30),
        ({"max_retention": "30h"}, {"ttl": "90h"}, 30),
        ({"max_retention": "30h"}, {"stale_if_error": "90h"}, 30),
        ({"stale_if_error": 0}, {}, 24),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_retention_as_a_server_has_it(
    redis_url: str, config: dict[str, Any], controls: dict[str, Any], hours: float, streamed: bool
) -> None:
    """The time that a real server says an entry has left, whatever a call asks for."""
    async with ResponseCache(redis_url, CacheConfig(**config), backend_timeout=20, l1_max_bytes=0) as cache:
        service = LLMService(Model(), cache)
        if streamed:
            async for _ in service.stream("Be kind.", "Capital?", cache=Controls(refresh=True, **controls)):
                pass
        else:
            await service.generate("Be kind.", "Capital?", cache=Controls(**controls))
        assert (await service.generate("Be kind.", "Capital?")).cache_status == "hit"
    with redis.Redis.from_url(redis_url) as server:
        left = [server.pttl(key) / 1000 for key in server.scan_iter("*") if b"Paris." in (_value(server, key) or b"")]
    assert len(left) == 1
    assert 0.94 * hours * HOUR < left[0] <= hours * HOUR + 1, "a ttl is shortened by up to 5 %"


def _value(server: Any, key: bytes) -> bytes | None:
    return server.get(key) if server.type(key) == b"string" else None


@pytest.mark.parametrize(("tools", "status"), [({}, "hit"), ({"web_search_options": {}}, "miss")])
async def test_answer_made_with_a_search_of_the_web_is_fresh_for_minutes(tools: dict[str, Any], status: str) -> None:
    clock = FakeClock()
    ask = [{"role": "user", "content": "Who won?"}]
    async with ResponseCache(MemoryBackend(clock=clock), CacheConfig(live_ttl=300), clock=clock) as cache:
        service = LLMService(SimulatedProvider(median_latency=0.001), cache)
        assert (await service.chat(ask, **tools)).cache_status == "miss"
        clock.advance(240)
        assert (await service.chat(ask, **tools)).cache_status == "hit"
        clock.advance(61)
        assert (await service.chat(ask, **tools)).cache_status == status


async def test_spent_once_and_saved_by_all_who_waited_and_hit() -> None:
    model, ledger = Model(), Ledger(Prices({"m": Rates(input=1, output=10)}, catalogue=False))
    async with ResponseCache("memory://", ledger=ledger) as cache:
        service = LLMService(model, cache)
        model.gate = asyncio.Event()
        calls = [
            asyncio.create_task(service.generate(Prompt("faq", "Be kind."), "Capital?", tenant="acme"))
            for _ in range(5)
        ]
        await model.asked.wait()
        model.gate.set()
        answers = await asyncio.gather(*calls)
        assert sorted(answer.cache_status for answer in answers) == ["joined"] * 4 + ["miss"]
        for _ in range(3):
            await service.generate(Prompt("faq", "Be kind."), "Capital?", tenant="acme")
        row = ledger.rows()[Key("m", "acme", "faq")]
        assert (row.spent.calls, row.saved.calls) == (1, 7)
        assert row.spent.dollars == pytest.approx(0.002)
        assert row.saved.dollars == pytest.approx(0.014)
        assert row.saved.input_tokens == 7000


async def test_rates_of_the_model_that_was_asked_for() -> None:
    """Providers answer with the model's full name; an answer of a provider that stands in has its own model's price."""
    model, ledger = Model(), Ledger(Prices({"m": Rates(input=1, output=10)}, catalogue=False))
    model.answer = {"content": "Paris.", "model": "m-2026-01-01"}
    async with ResponseCache("memory://", ledger=ledger) as cache:
        service = LLMService(model, cache)
        for _ in range(2):
            await service.generate("Be kind.", "Capital?", model="m")
        row = ledger.by("model")["m-2026-01-01"]
        assert [row.spent.dollars, row.saved.dollars] == pytest.approx([0.002, 0.002])
        await LLMService([Down(), model], cache).generate("Be kind.", "Capital?", model="m")
        assert ledger.total().spent.unpriced == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"content": "I'm sorry, but I can't help with that."},
        {"content": "Once upon a", "finish_reason": "length"},
        {"content": "Sorry, an internal error occurred"},
    ],
)
async def test_answers_that_are_not_stored_are_spent_each_time(answer: dict[str, Any]) -> None:
    model, ledger = Model(), Ledger(Prices(catalogue=False))
    model.answer = answer
    async with ResponseCache("memory://", ledger=ledger) as cache:
        service = LLMService(model, cache)
        for _ in range(2):
            assert (await service.generate("Be kind.", "Capital?")).content == answer["content"]
        total = ledger.total()
        assert (total.spent.calls, total.saved.calls) == (2, 0)
        assert total.spent.unpriced == 2, "no rates for this model"
        assert sum(cache.metrics.rejected.values()) == 2


async def test_failed_call_is_timed_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of real calls all are in `gen_ai.client.operation.duration`, those that failed with `error.type`."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    monkeypatch.setattr(metrics, "get_meter", lambda *_: meter)
    model = Model()
    async with ResponseCache("memory://") as cache:
        service = LLMService(model, cache)
        model.answer = {"content": 5, "no_such_field": 1}
        with pytest.raises(TypeError):
            await service.generate("Be kind.", "Capital?")
        model.answer = {"content": "Paris."}
        for _ in range(3):
            await service.generate("Be kind.", "Capital?")
    seconds = collected(reader)["gen_ai.client.operation.duration"]
    assert {point.attributes.get("error.type"): point.count for point in seconds} == {"TypeError": 1, None: 1}


async def test_prompts_named_for_each_user_do_not_pile_up() -> None:
    async with ResponseCache("memory://") as cache:
        service = LLMService(Model(), cache, prompts=[Prompt("faq", "Be kind.")])
        for number in range(2000):
            await service.generate(Prompt(f"user/{number}", "Be kind."), "Capital?")
        assert [prompt.name for prompt in service.prompts] == ["faq"]
        assert len(service.prompts._texts) <= 1024
