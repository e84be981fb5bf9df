"""Normalised questions in a service: one answer for all spellings, and the provider reads the caller's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import OptionsError
from cachecore.keys import encode
from cachecore_llm import CacheConfig, LLMRequest, LLMService
from cachecore_llm.wire import Call, JsonObject
from tests.llm.flow.scripted import Scripted, caching, chat, completion

SPELLINGS = ["Where is my card?", " Where  is my card ?", "Where is my card", "Where is my card??\n"]

Asking = Callable[[LLMService, str], Any]


async def streamed(service: LLMService, question: str) -> Any:
    return await service.stream("s", question, temperature=0).response()


WAYS: list[Asking] = [
    lambda service, question: service.generate("s", question, temperature=0),
    lambda service, question: service.generate("s", question, ["earlier"], temperature=0),
    lambda service, question: service.chat([{"role": "user", "content": question}]),
    lambda service, question: service.ask(chat(question)),
    streamed,
]


@pytest.mark.parametrize("ask", WAYS)
async def test_one_answer_for_all_spellings(ask: Asking) -> None:
    provider = Scripted(completion("In the post."))
    service = LLMService(provider, caching(normalise=True))
    answers = [await ask(service, spelling) for spelling in SPELLINGS]
    assert [answer.cache_status for answer in answers] == ["miss", "hit", "hit", "hit"]
    assert provider.calls[0].body["messages"][-1]["content"] == SPELLINGS[0]
    assert (await ask(service, "where is my card?")).cache_status == "miss"
    assert len(provider.calls) == 2


async def test_what_is_sent_is_what_was_written() -> None:
    provider = Scripted()
    await LLMService(provider, caching(normalise=True)).generate(" Be  brief. ", SPELLINGS[1])
    assert [message["content"] for message in provider.calls[0].body["messages"]] == [" Be  brief. ", SPELLINGS[1]]


async def test_spellings_share_one_call() -> None:
    asked = asyncio.Event()

    def answer(call: Call) -> JsonObject:
        asked.set()
        return completion()

    provider = Scripted(answer)
    provider.gate = asyncio.Event()
    service = LLMService(provider, caching(normalise=True))
    asking = [asyncio.create_task(service.generate("s", spelling)) for spelling in SPELLINGS]
    await asked.wait()
    provider.gate.set()
    statuses = sorted([(await one).cache_status for one in asking])
    assert statuses == ["joined", "joined", "joined", "miss"]
    assert len(provider.calls) == 1


async def test_off_by_default() -> None:
    provider = Scripted()
    service = LLMService(provider, caching())
    for spelling in SPELLINGS:
        assert (await service.generate("s", spelling)).cache_status == "miss"


async def test_one_rule_of_them() -> None:
    service = LLMService(Scripted(), caching(normalise=["white_space"]))
    asked = [(await service.generate("s", text)).cache_status for text in ("a b", " a  b ", "a b.", "a b")]
    assert asked == ["miss", "hit", "miss", "hit"]


async def test_a_request_is_deleted_by_any_spelling() -> None:
    cache = caching(normalise=True)
    service = LLMService(Scripted(), cache)
    await service.generate("s", SPELLINGS[0])
    assert await service.delete("s", SPELLINGS[1])
    assert (await service.generate("s", SPELLINGS[2])).cache_status == "miss"


async def test_an_outage_finds_similar_questions_by_any_spelling() -> None:
    provider = Scripted(completion("In the post."), ConnectionError("down"))
    service = LLMService(provider, caching(normalise=True))
    await service.generate("s", " Where is  my new card ?")
    answer = await service.generate("s", "Where is my new card please?")
    assert (answer.cache_status, answer.content) == ("similar", "In the post.")
    assert answer.matched_message == "Where is my new card"


CACHE = caching(normalise=True)
SERVICE = LLMService(Scripted(), CACHE)


@given(st.text(max_size=8) | st.text(st.sampled_from(" ab?.!\n"), max_size=8))
def test_short_and_long_way_meet(question: str) -> None:
    request = LLMRequest("s", question, None, {"temperature": 0})

    def keyed() -> Call:
        return SERVICE._writer.keyed(request)

    quick = SERVICE._quick.find("s", question, request.params, None, None, keyed)
    assert quick is not None
    assert encode(quick[1]) == encode(CACHE.flow.ask(keyed()).request)


def test_a_rule_that_there_is_not() -> None:
    with pytest.raises(OptionsError, match=r"normalise: the rules are .*, not 'case'; letter case is never changed"):
        CacheConfig(normalise=["case"])  # type: ignore[list-item]


def test_settings_that_mean_the_same_are_equal() -> None:
    one, other = CacheConfig(normalise=["nfc", "white_space"]), CacheConfig(normalise=("white_space", "nfc", "nfc"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != CacheConfig(normalise=["nfc"])
