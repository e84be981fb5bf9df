"""Embeddings: one entry for each input, and only what is not stored is computed."""

from __future__ import annotations

import base64
import math
from array import array
from typing import Any

import pytest

from cachecore.testing.clocks import FakeClock
from cachecore_llm import Controls, LLMService, NotCachedError, UnusableAnswerError
from cachecore_llm.wire import Call, JsonObject
from tests.llm.flow.scripted import Scripted, caching


class RefusedBatchError(Exception):
    """What an endpoint says that takes no part of a batch."""

    status_code = 400


def vector_of(text: Any) -> list[float]:
    return [float(len(text)), 0.5]


def embedded(call: Call) -> JsonObject:
    """Return vectors that tell which input they are of, and 2 tokens for each."""
    given = call.body["input"]
    several = isinstance(given, list) and not all(type(one) is int for one in given)
    texts = given if several else [given]
    data = []
    for index, text in enumerate(texts):
        numbers: Any = vector_of(text)
        if call.body.get("encoding_format") == "base64":
            numbers = base64.b64encode(array("f", numbers).tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": numbers})
    tokens = 2 * len(texts)
    return {"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


async def test_only_what_is_not_stored_is_computed() -> None:
    provider = Scripted(embedded)
    async with caching() as cache:
        service = LLMService(provider, cache)
        first = await service.embed(["a", "bb", "ccc"], model="e")
        assert [list(vector) for vector in first] == [vector_of(text) for text in ("a", "bb", "ccc")]
        assert (first.cached, first.usage and first.usage.total_tokens) == ((False, False, False), 6)
        second = await service.embed(["bb", "dddd", "a", "bb"], model="e")
        assert [list(vector) for vector in second] == [vector_of(text) for text in ("bb", "dddd", "a", "bb")]
        assert second.cached == (True, False, True, True)
        assert second.usage is not None
        assert second.usage.prompt_tokens == 2
        assert [call.body["input"] for call in provider.calls] == [["a", "bb", "ccc"], "dddd"]
        third = await service.embed("a", model="e")
        assert (third.cached, third.usage and third.usage.total_tokens) == ((True,), 0)
        row = cache.ledger.total()
        assert (row.spent.calls, row.saved.calls) == (2, 4)


@pytest.mark.parametrize("tokens", [[1, 2, 3]])
async def test_a_list_of_token_ids_is_one_input(tokens: list[int]) -> None:
    provider = Scripted(embedded)
    async with caching() as cache:
        service = LLMService(provider, cache)
        assert len(await service.embed(tokens)) == 1
        assert len(await service.embed([tokens, [4]])) == 2
        assert [call.body["input"] for call in provider.calls] == [[1, 2, 3], [4]]


async def test_dimensions_and_encoding_are_in_the_key() -> None:
    provider = Scripted(embedded)
    async with caching() as cache:
        service = LLMService(provider, cache)
        await service.embed("a")
        await service.embed("a", dimensions=5)
        numbers = await service.embed("a", encoding_format="float")
        assert list(numbers[0]) == vector_of("a")
        assert len(provider.calls) == 3


async def test_an_endpoint_that_takes_no_part_of_a_batch_gets_all_of_it() -> None:
    provider = Scripted(embedded, RefusedBatchError("whole batches only"), embedded)
    async with caching() as cache:
        service = LLMService(provider, cache)
        await service.embed("a")
        found = await service.embed(["a", "bb"])
        assert [list(vector) for vector in found] == [vector_of("a"), vector_of("bb")]
        assert [call.body["input"] for call in provider.calls] == ["a", "bb", ["a", "bb"]]


async def test_a_mistake_in_the_whole_batch_is_raised() -> None:
    async with caching() as cache:
        with pytest.raises(RefusedBatchError):
            await LLMService(Scripted(RefusedBatchError("no")), cache).embed(["a", "bb"])


async def test_controls_of_a_batch() -> None:
    provider = Scripted(embedded)
    async with caching() as cache:
        service = LLMService(provider, cache)
        with pytest.raises(NotCachedError):
            await service.embed(["a"], cache=Controls(only_if_cached=True))
        await service.embed(["a", "bb"], cache=Controls(no_store=True))
        assert (await service.embed(["a"])).cached == (False,)
        assert (await service.embed(["a"], cache=Controls(refresh=True))).cached == (False,)
        assert (await service.embed(["a"], cache=Controls(only_if_cached=True))).cached == (True,)
        assert len(provider.calls) == 3


async def test_a_batch_that_is_not_to_be_stored_takes_what_is() -> None:
    provider = Scripted(embedded)
    async with caching() as cache:
        service = LLMService(provider, cache)
        await service.embed("a")
        found = await service.embed(["a", "bb"], cache=Controls(no_store=True))
        assert ([list(vector) for vector in found], found.cached) == ([vector_of("a"), vector_of("bb")], (True, False))
        assert [call.body["input"] for call in provider.calls] == ["a", "bb"]
        with pytest.raises(NotCachedError):
            await service.embed(["a", "bb"], cache=Controls(no_store=True, only_if_cached=True))
        assert len(provider.calls) == 2


async def test_inputs_that_are_too_old_for_a_call_are_computed_again() -> None:
    provider, clock = Scripted(embedded), FakeClock()
    async with caching(clock) as cache:
        service = LLMService(provider, cache)
        await service.embed("a")
        clock.advance(5)
        await service.embed("bb")
        young = Controls(max_age=3)
        assert (await service.embed(["a", "bb"], cache=young)).cached == (False, True)
        assert (await service.embed(["a", "bb"], cache=young)).cached == (True, True), "the new one is stored"
        with pytest.raises(NotCachedError):
            clock.advance(4)
            await service.embed("a", cache=Controls(max_age=3, only_if_cached=True))
        assert [call.body["input"] for call in provider.calls] == ["a", "bb", "a"]


async def test_too_few_vectors_are_an_unusable_answer() -> None:
    """The error says so; what was wanted of a part is asked for as a whole first."""
    short: JsonObject = {"data": [{"index": 0, "embedding": [1.0]}], "model": "e"}
    provider = Scripted(short, embedded)
    async with caching() as cache:
        service = LLMService(provider, cache)
        with pytest.raises(UnusableAnswerError, match="1 answers to 2 inputs"):
            await service.embed(["a", "bb"])
        assert [list(vector) for vector in await service.embed(["a", "bb"])] == [vector_of("a"), vector_of("bb")]
        assert len(provider.calls) == 2


@pytest.mark.parametrize("vector", [[], [1.0, None], [math.nan, 1.0], [math.inf, 1.0]])
async def test_a_vector_with_a_hole_is_given_and_not_stored(vector: list[Any]) -> None:
    broken: JsonObject = {"data": [{"index": 0, "embedding": vector}], "model": "e"}
    provider = Scripted(broken, embedded)
    async with caching() as cache:
        service = LLMService(provider, cache)
        assert len((await service.embed("a"))[0]) == len(vector)
        assert list((await service.embed("a"))[0]) == vector_of("a")
