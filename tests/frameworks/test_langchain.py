"""LangChain's own suites on each store, and its models: one call for all, claims that end with a failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="langchain-tests is not installed: make frameworks")
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation, LLMResult
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite

from cachecore import Cache
from cachecore.serializers import EncryptedSerializer
from cachecore_frameworks.langchain import LangChainCache
from tests.frameworks.conftest import bytes_in


@pytest.fixture
def cache(store: str) -> Iterator[LangChainCache]:
    made = LangChainCache(store, ttl=60)
    yield made
    made.close()


class TestSync(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, store: str) -> Iterator[LangChainCache]:
        made = LangChainCache(store, ttl=60)
        yield made
        made.close()


class TestAsync(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, store: str) -> Any:
        made = LangChainCache(store, ttl=60)
        yield made
        await made.aclose()


class Chat(BaseChatModel):
    """Answers the number of its call, after the gate is open."""

    gate: Any = None
    reason: str = "stop"
    answers: list[Any] = []  # noqa: RUF012 - a field of pydantic, copied for each model
    temperature: float = 0.0
    calls: list[int] = []  # noqa: RUF012 - as above

    @property
    def _llm_type(self) -> str:
        return "counting"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        self.calls.append(1)
        number = len(self.calls)
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.answers and isinstance(self.answers[(number - 1) % len(self.answers)], Exception):
            raise self.answers[(number - 1) % len(self.answers)]
        message = AIMessage(
            f"answer {number}",
            tool_calls=[{"name": "look", "args": {"at": 1}, "id": "call-1"}],
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            response_metadata={"finish_reason": self.reason},
        )
        return ChatResult(generations=[ChatGeneration(message=message), ChatGeneration(message=AIMessage("another"))])


class Completion(BaseLLM):
    calls: list[str] = []  # noqa: RUF012 - as above

    @property
    def _llm_type(self) -> str:
        return "counting"

    def _generate(self, prompts: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> LLMResult:
        self.calls.extend(prompts)
        return LLMResult(generations=[[Generation(text=f"to {prompt}")] for prompt in prompts])


async def test_five_at_once_are_one_call(cache: LangChainCache) -> None:
    gate = threading.Event()
    model = Chat(cache=cache, gate=gate)
    asked = [asyncio.create_task(model.ainvoke("q")) for _ in range(5)]
    async with asyncio.timeout(20):
        while not model.calls:  # noqa: ASYNC110 - the model runs in a thread
            await asyncio.sleep(0.001)
    gate.set()
    answers = await asyncio.gather(*asked)
    assert [answer.content for answer in answers] == ["answer 1"] * 5
    assert len(model.calls) == 1


def test_five_threads_are_one_call(cache: LangChainCache) -> None:
    gate = threading.Event()
    model = Chat(cache=cache, gate=gate)
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(model.invoke, "q") for _ in range(5)]
        gate.set()
        assert {one.result(20).content for one in asked} == {"answer 1"}
    assert len(model.calls) == 1


def test_all_generations_come_back_whole(cache: LangChainCache) -> None:
    model = Chat(cache=cache)
    first, second = model.generate([[HumanMessage("q")]]), model.generate([[HumanMessage("q")]])
    assert len(model.calls) == 1
    assert [one.text for one in second.generations[0]] == ["answer 1", "another"]
    old, new = first.generations[0][0], second.generations[0][0]
    assert isinstance(old, ChatGeneration)
    assert isinstance(new, ChatGeneration)
    assert isinstance(new.message, AIMessage)
    assert new.message.tool_calls == old.message.tool_calls  # type: ignore[attr-defined, unused-ignore]  # an AIMessage
    assert new.message.usage_metadata is not None
    assert new.message.usage_metadata["total_tokens"] == 3
    assert old.message.id is not None
    assert new.message.id is None  # the id of a run is that run's


def test_model_parameters_and_stop_are_in_the_key(cache: LangChainCache) -> None:
    calls: list[int] = []
    cold = Chat(cache=cache)
    warm = Chat(cache=cache, temperature=1.0)
    cold.calls = warm.calls = calls
    for model in (cold, warm):
        for stop in (None, ["."]):
            model.invoke("q", stop=stop)
            model.invoke("q", stop=stop)
    assert len(calls) == 4


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "content_filter"])
def test_an_answer_that_broke_off_is_not_kept(reason: str) -> None:
    model = Chat(cache=LangChainCache("memory://", ttl=60), reason=reason)
    assert [model.invoke("q").content, model.invoke("q").content] == ["answer 1", "answer 2"]


def test_a_failed_call_lets_other_threads_go_on_at_once(cache: LangChainCache) -> None:
    """The thread whose call has failed lives on, and holds nothing."""
    failing = Chat(cache=cache, answers=[ValueError("overloaded")])
    with pytest.raises(ValueError, match="overloaded"):
        failing.invoke("q")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(Chat(cache=cache).invoke, "q").result(20).content == "answer 1"


async def test_a_failed_call_lets_other_tasks_go_on_at_once(cache: LangChainCache) -> None:
    failing = Chat(cache=cache, answers=[ValueError("overloaded")])
    results = await asyncio.gather(failing.ainvoke("q"), failing.ainvoke("q"), return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    async with asyncio.timeout(20):
        assert (await Chat(cache=cache).ainvoke("q")).content == "answer 1"


async def test_a_failed_completion_lets_other_tasks_go_on_at_once(cache: LangChainCache) -> None:
    class Failing(Completion):
        def _generate(self, prompts: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> LLMResult:
            raise ValueError("overloaded")

    with pytest.raises(ValueError, match="overloaded"):
        await Failing(cache=cache).agenerate(["p1", "p2"])
    async with asyncio.timeout(20):
        both = await asyncio.create_task(Completion(cache=cache).agenerate(["p1", "p2"]))
    assert [one[0].text for one in both.generations] == ["to p1", "to p2"]


def test_a_retry_in_the_thread_that_failed_is_kept(cache: LangChainCache) -> None:
    model = Chat(cache=cache, answers=[ValueError("overloaded"), "ok", "ok"])
    assert model.with_retry(wait_exponential_jitter=False, stop_after_attempt=2).invoke("q").content == "answer 2"
    assert model.invoke("q").content == "answer 2"


async def test_crossed_batches_end(cache: LangChainCache) -> None:
    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            Completion(cache=cache).agenerate(["p1", "p2"]), Completion(cache=cache).agenerate(["p2", "p1"])
        )
    assert [[one[0].text for one in answer.generations] for answer in answers] == [
        ["to p1", "to p2"],
        ["to p2", "to p1"],
    ]


def test_crossed_batches_of_threads_end_and_may_name_a_prompt_twice(cache: LangChainCache) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            asked = [
                pool.submit(Completion(cache=cache).generate, prompts) for prompts in (["a", "b", "a"], ["b", "a"])
            ]
            assert [one[0].text for one in asked[0].result(20).generations] == ["to a", "to b", "to a"]
            assert [one[0].text for one in asked[1].result(20).generations] == ["to b", "to a"]
            cache.clear()


async def test_invoke_inside_a_running_loop(cache: LangChainCache) -> None:
    model = Chat(cache=cache)
    assert [model.invoke("q").content, model.invoke("q").content] == ["answer 1"] * 2
    assert (await model.ainvoke("q")).content == "answer 1"


def test_what_is_cleared_during_a_call_is_not_kept(cache: LangChainCache) -> None:
    gate = threading.Event()
    model = Chat(cache=cache, gate=gate)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(model.invoke, "q")
        while not model.calls:
            pass
        cache.clear()
        gate.set()
        assert asked.result(20).content == "answer 1"
    assert model.invoke("q").content == "answer 2"


async def test_only_classes_of_the_list_are_made() -> None:
    """An entry that names another class is a miss, and the next answer replaces it."""
    async with Cache("memory://", ttl=60) as shared:
        cache = LangChainCache(shared)
        prompt, llm = request = ["prompt", "llm"]
        evil = {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}}
        for stored in (
            [{"kind": "Popen", "text": "", "info": None}],
            [evil],
            "text",
            5,
            [[1]],
            [{"kind": "Generation"}],
        ):
            await cache.cache.set(request, stored)
            assert await cache.alookup(prompt, llm) is None
            await cache.aupdate(prompt, llm, [Generation(text="mine")])
            assert await cache.alookup(prompt, llm) == [Generation(text="mine")]


async def test_clear_leaves_other_namespaces() -> None:
    async with Cache("memory://", ttl=60) as shared:
        cache = LangChainCache(shared)
        await shared.set("mine", 1)
        await cache.aupdate("p", "l", [Generation(text="a")])
        await cache.aclear()
        assert await cache.alookup("p", "l") is None
        assert await shared.get("mine") == 1


async def test_a_cache_that_encrypts_encrypts_here_too(tmp_path: Path) -> None:
    serializer = EncryptedSerializer(keys={"k": bytes(32)})
    async with Cache(f"sqlite:///{tmp_path}/c.db", ttl=60, serializer=serializer) as shared:
        cache = LangChainCache(shared)
        await cache.aupdate("p", "l", [Generation(text="hush " * 9)])
        assert await cache.alookup("p", "l") == [Generation(text="hush " * 9)]
    assert b"hush" not in bytes_in(tmp_path)
