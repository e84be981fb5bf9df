"""`explain`: which stored request is the nearest to one that misses, in which fields it differs, and nothing more."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import Cache, OptionsError, bypass
from cachecore.keys.hashers import blake2b
from cachecore.serializers import EncryptedSerializer
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.faulty import FaultyBackend
from cachecore_llm import (
    CacheConfig,
    Controls,
    LLMRequest,
    LLMService,
    MissReport,
    Prompt,
    ResponseCache,
    SyncLLMService,
)
from cachecore_llm.flow.fields import FieldDigester, unpacked
from cachecore_llm.flow.nearest import differences, nearest_entry
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.wire import Call
from tests.llm.flow.scripted import WEATHER, Scripted, caching, chat, completion
from tests.llm.wire.strategies import json_values

TURNS = [{"role": "system", "content": "Brief."}] + [
    {"role": role, "content": f"turn {number}"} for number, role in enumerate(["user", "assistant", "user"])
]


def paths(report: MissReport) -> list[str]:
    """Return the fields that a report names."""
    assert report.nearest is not None
    return [str(one) for one in report.nearest.differences]


CHANGED: list[tuple[dict[str, Any], list[str]]] = [
    ({"temperature": 0.5}, ["temperature"]),
    ({"seed": 1}, ["seed (only asked)"]),
    ({"tools": None}, ["tools (only stored)"]),
    ({"tools": [{**WEATHER, "strict": True}]}, ["tools"]),
    ({"model": "n", "temperature": 0.5}, ["model", "temperature"]),
    ({"messages": [*TURNS[:3], {"role": "user", "content": "other"}]}, ["messages[3]"]),
    ({"messages": [{"role": "system", "content": "It is 9:05."}, *TURNS[1:]]}, ["messages[0]"]),
    ({"messages": [*TURNS, {"role": "user", "content": "more"}]}, ["messages[4] (only asked)"]),
    ({"messages": TURNS[:3]}, ["messages[3] (only stored)"]),
    ({"label": "faq"}, ["prompt (only asked)"]),
    ({"extra_headers": {"x-mode": "b"}}, ["headers.x-mode (only asked)"]),
    ({"cache": Controls(sample=2)}, ["sample (only asked)"]),
]


@pytest.mark.parametrize(("changed", "expected"), CHANGED, ids=lambda value: ",".join(value))
async def test_the_field_that_differs_is_named(changed: dict[str, Any], expected: list[str]) -> None:
    """Whatever differs, also where the answer lies in another namespace; the values are in no part of the report."""
    async with caching() as cache:
        service = LLMService(Scripted(), cache)
        asked: dict[str, Any] = {"messages": TURNS, "model": "m", "temperature": 0, "tools": [WEATHER]}
        await service.chat(**asked)
        assert str(await service.explain(**asked)) == "hit: stored and fresh"
        report = await service.explain(**(asked | changed))
        assert (report.status, report.reason, paths(report)) == ("miss", "absent", expected)
        assert "turn" not in str(report)
        assert f"the nearest differs in {', '.join(expected)} (of 1 stored requests)" in str(report)


async def test_the_arguments_are_those_of_the_other_faces() -> None:
    async with caching() as cache:
        service = LLMService(Scripted(), cache)
        await service.generate(Prompt("faq", "Brief."), "Where?", temperature=0)
        for report in (
            await service.explain(Prompt("faq", "Brief."), "Where?", temperature=1),
            await service.explain("Brief.", user_message="Where?", label="faq", temperature=1),
            await service.explain(system_prompt="Brief.", user_message="Where?", label="faq", temperature=1),
            await service.explain(LLMRequest("Brief.", "Where?", None, {"temperature": 1}, None, "faq")),
        ):
            assert paths(report) == ["temperature"]
        messages = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Where?"}]
        assert (await service.explain(messages, label="faq", temperature=0)).status == "hit"
        call = Call(protocol="openai.chat", endpoint="e", body={"messages": messages, "model": "m"})
        assert "endpoint" in paths(await service.explain(call))
        for wrong in ((), ("one",), (1, 2), ("a", "b", "c", "d")):
            with pytest.raises(OptionsError, match="give a system prompt and a question"):
                await service.explain(*wrong)
        with pytest.raises(OptionsError, match="give it alone"):
            await service.explain(call, temperature=1)
        with pytest.raises(OptionsError, match="most must be 1 or more"):
            await service.explain(call, most=0)


def test_the_synchronous_face() -> None:
    with SyncLLMService(Scripted(), "memory://") as service:
        service.generate("Brief.", "Where?", temperature=0)
        assert paths(service.explain("Brief.", "Where?", temperature=1)) == ["temperature"]


async def test_asking_why_changes_nothing() -> None:
    """No provider is asked, no request counted, nothing stored."""
    async with caching() as cache:
        provider = Scripted()
        service = LLMService(provider, cache)
        await service.generate("Brief.", "Where?")
        before = cache.metrics
        await service.explain("Brief.", "Where?")
        await service.explain("Brief.", "Whence?")
        assert (cache.metrics, len(provider.calls)) == (before, 1)


async def test_other_reasons_than_a_key_that_is_absent() -> None:
    clock = FakeClock()
    store = FaultyBackend(MemoryBackend(clock=clock))
    async with ResponseCache(store, CacheConfig(ttl_seconds=10), clock=clock, jitter=0) as cache:
        service = LLMService(Scripted(), cache)
        await service.generate("", "Where?")
        clock.advance(5)
        young = await service.explain("", "Where?", cache=Controls(max_age=2))
        assert (young.status, young.reason, young.nearest) == ("miss", "max_age", None)
        clock.advance(6)
        assert str(await service.explain("", "Where?")) == "miss: expired"
        assert (await service.explain(chat(background=True))).status == "miss"  # no field of a chat
        body = {"model": "m", "input": "Hi", "background": True}
        bypass = await service.explain(Call(protocol="openai.responses", endpoint="e", body=body))
        assert (bypass.status, bypass.nearest) == ("bypass", None)
        assert "background" in str(bypass)


async def test_a_block_that_bypasses_the_cache_is_the_reason() -> None:
    async with caching() as cache:
        service = LLMService(Scripted(), cache)
        await service.generate("", "Where?")
        with bypass():
            assert str(await service.explain("", "Where?")) == "bypass: bypass()"
        assert (await service.explain("", "Where?")).status == "hit"


async def test_another_process_explains_with_the_same_store(redis_url: str) -> None:
    """Its digests are the same, also under a secret and where entries are encrypted; it needs no provider."""
    options: dict[str, Any] = {
        "hasher": blake2b(secret="s" * 32),
        "serializer": EncryptedSerializer(keys={"k1": "ab" * 32}),
        "backend_timeout": 20,
    }
    call = Call(protocol="openai.chat", endpoint="e", body={"model": "m", "messages": TURNS})
    async with ResponseCache(redis_url, **options) as one, ResponseCache(redis_url, **options) as other:
        await LLMService(Scripted(), one).ask(call)
        asked = Call(protocol="openai.chat", endpoint="e", body={**call.body, "temperature": 1})
        assert paths(await other.flow.explain(asked)) == ["temperature (only asked)"]
        assert (await other.flow.explain(call)).status == "hit"


async def test_a_store_that_is_away_is_the_reason() -> None:
    clock = FakeClock()
    store = FaultyBackend(MemoryBackend(clock=clock))
    async with ResponseCache(store, CacheConfig(), clock=clock) as cache:
        store.fail()
        assert (await LLMService(Scripted(), cache).explain("", "Where?")).reason == "store"


async def test_the_same_messages_are_nearer_than_the_same_parameters() -> None:
    async with caching() as cache:
        service = LLMService(Scripted(), cache)
        await service.generate("Brief.", "Where?", temperature=0, seed=1)
        await service.generate("Brief.", "Whence?", temperature=1)
        report = await service.explain("Brief.", "Where?", temperature=1)
        assert paths(report) == ["seed (only stored)", "temperature"]
        assert report.nearest is not None
        kept = {key async for key, _ in cache.flow.root.contents(below=True)}
        assert report.nearest.key in kept


async def test_tenants_are_never_compared() -> None:
    """Neither is an answer of another tenant looked at, nor do two tenants have one digest for one value."""
    async with caching() as cache:
        service = LLMService(Scripted(), cache)
        for tenant in ("a", None):
            await service.generate("Brief.", "Where?", tenant=tenant)
        assert (await service.explain("Brief.", "Where?", tenant="b")).nearest is None
        found = [unpacked(stored.fields) async for _, stored in cache.flow.root.contents(below=True)]
        assert len(found) == 2
        assert not set((found[0] or {}).values()) & set((found[1] or {}).values())


async def test_the_number_of_answers_looked_at_is_bounded() -> None:
    async with caching() as cache:
        service = LLMService(Scripted(), cache)
        for number in range(8):
            await service.generate(f"Brief {number}.", "Where?")
            await service.generate("Brief.", f"Where is {number}?")
        report = await service.explain("Brief.", "Whence?", most=3)
        assert report.looked_at <= 6
        assert paths(report) == ["messages[1]"]


async def test_the_digests_may_be_left_out() -> None:
    async with caching(field_digests=False) as cache:
        service = LLMService(Scripted(), cache)
        await service.generate("Brief.", "Where?")
        report = await service.explain("Brief.", "Where?", temperature=1)
        assert (report.nearest, report.looked_at, report.comparable) == (None, 1, 0)
        assert str(report) == "miss: absent; none of 1 stored answers compares"


async def test_embeddings_explain_the_first_input_that_misses() -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    body = {"object": "list", "model": "m", "data": [vector], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    async with caching() as cache:
        service = LLMService(Scripted(body), cache)
        call = Call(protocol="openai.embeddings", endpoint="e", body={"model": "m", "input": ["a"], "dimensions": 1})

        async def asked(**fields: Any) -> MissReport:
            return await service.explain(Call(protocol=call.protocol, endpoint="e", body=call.body | fields))

        await cache.flow.answer_many(call, service._orchestrator.send)
        assert (await asked()).status == "hit"
        assert paths(await asked(dimensions=2)) == ["dimensions"]
        assert paths(await asked(input=["a", "b"])) == ["input"]


async def test_a_stream_leaves_the_same_digests_as_a_whole_answer() -> None:
    kept = []
    for streamed in (False, True):
        async with caching() as cache:
            service = LLMService(Scripted(completion("one two")), cache)
            await (service.stream("Brief.", "Where?").response() if streamed else service.generate("Brief.", "Where?"))
            kept += [unpacked(stored.fields) async for _, stored in cache.flow.root.contents(below=True)]
    assert kept[0] == kept[1] is not None


def digester(**options: Any) -> FieldDigester:
    """Return one on a cache of its own."""
    return FieldDigester(Cache(MemoryBackend(), ttl=60, **options))


def request(**body: Any) -> dict[str, Any]:
    """Return the keyed value of a chat."""
    return {"protocol": "openai.chat", "endpoint": "e", "headers": {}, "scope": "s", "tenant": None, "body": body}


def test_a_secret_of_the_hasher_is_the_key_of_the_digests() -> None:
    """Digests under two secrets have nothing in common, and do not compare."""
    made = [digester(hasher=blake2b(secret=secret * 16)).digests(request(model="m")) for secret in "ab"]
    assert made[0].keys() == made[1].keys()
    assert not set(made[0].values()) & set(made[1].values())
    stored = StoredAnswer(protocol="openai.chat", body=b"{}", fields=digester().packed(request(model="m")))
    assert nearest_entry(made[0], [("k", stored)]) is None


def test_fields_of_body_and_call_are_told_apart() -> None:
    digests = digester().digests(request(endpoint="mine", messages=[{"role": "user"}, {"role": "user"}]))
    assert digests.keys() == {"", "endpoint", "scope", "body.endpoint", "messages[]"}
    assert digests["messages[]"][:8] == digests["messages[]"][8:]


@pytest.mark.parametrize("data", [None, b"", b"\xc1", b"\x81\xa1a\xc4\x01x", b"\x90", b"\x81\x01\x02"])
def test_bytes_of_another_program_are_no_digests(data: bytes | None) -> None:
    assert unpacked(data) is None


@given(st.dictionaries(st.sampled_from("abcd"), json_values, max_size=4), json_values, st.sampled_from("abcd"))
def test_law_a_field_is_named_if_and_only_if_it_differs(body: dict[str, Any], value: Any, field: str) -> None:
    one, other = request(**body), request(**(body | {field: value}))
    root: Cache[Any] = Cache(MemoryBackend(), ttl=60)
    makes = FieldDigester(root)
    found = [difference.path for difference in differences(makes.digests(one), makes.digests(other))]
    assert found == ([field] if root.key(one) != root.key(other) else [])


def test_law_moving_a_message_is_seen() -> None:
    """The order of messages counts, and each place that differs is named."""
    makes = digester()
    for order in itertools.permutations(range(4)):
        asked = makes.digests(request(messages=TURNS))
        moved = makes.digests(request(messages=[TURNS[place] for place in order]))
        expected = [f"messages[{place}]" for place in range(4) if order[place] != place]
        assert [one.path for one in differences(asked, moved)] == expected
