"""LlamaIndex: an ingestion pipeline and a model on a cache."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed: make frameworks")
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.llms import ChatMessage, CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.schema import Document, TransformComponent

from cachecore_frameworks.llamaindex import CachedLLM, KVStore

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of LlamaIndex's own making
SEEN: list[str] = []


class Shout(TransformComponent):
    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        SEEN.extend(node.text for node in nodes)
        return [Document(id_=node.id_, text=node.text.upper(), metadata=node.metadata) for node in nodes]


class Counting(CustomLLM):
    _calls: int = 0  # no field: those are in the key
    temperature: float = 0.0
    reason: str = "stop"
    fails: bool = False

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="counting")

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        if self.fails:
            raise ValueError("overloaded")
        self._calls += 1
        return CompletionResponse(text=f"answer {self._calls}", raw={"choices": [{"finish_reason": self.reason}]})

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        await asyncio.sleep(0)
        return self.complete(prompt, formatted, **kwargs)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        yield self.complete(prompt)


async def test_ingestion_runs_a_transformation_once(store: str) -> None:
    kept = KVStore(store, ttl=60)
    cache = IngestionCache(cache=kept, collection="docs")
    pipeline = IngestionPipeline(transformations=[Shout()], cache=cache)
    documents = [Document(id_="1", text="one", metadata={"page": 1}), Document(id_="2", text="two")]
    SEEN.clear()
    first = pipeline.run(documents=documents)
    assert pipeline.run(documents=documents) == first
    assert await pipeline.arun(documents=documents) == first
    assert [node.text for node in first] == ["ONE", "TWO"]  # type: ignore[attr-defined, unused-ignore]  # text nodes
    assert SEEN == ["one", "two"]
    assert len(kept.get_all("docs")) == 1
    cache.clear()
    assert kept.get_all("docs") == {}
    assert pipeline.run(documents=documents) == first
    assert SEEN == ["one", "two"] * 2
    kept.close()


async def test_the_store_keeps_keys_and_collections_apart(store: str) -> None:
    kept = KVStore(store, ttl=60)
    kept.put_all([("a key/with: anything ☃", {"x": [1]}), ("b", {})])
    await kept.aput("b", {"other": True}, collection="second")
    assert kept.get_all() == await kept.aget_all() == {"a key/with: anything ☃": {"x": [1]}, "b": {}}
    assert (kept.get("b"), kept.get("c"), await kept.aget("b", "second")) == ({}, None, {"other": True})
    assert (kept.delete("b"), kept.delete("b"), await kept.adelete("c")) == (True, False, False)
    assert kept.get_all("second") == {"b": {"other": True}}
    kept.close()


async def test_a_model_is_asked_once(store: str) -> None:
    inner = Counting()
    model = CachedLLM(inner, store, ttl=60)
    asked = [ChatMessage(role="user", content="q")]
    answers = await asyncio.gather(*(model.acomplete("p") for _ in range(5)))
    assert [one.text for one in answers] == ["answer 1"] * 5
    assert model.complete("p").text == "answer 1"
    assert model.chat(asked).message.content == "answer 2"
    assert (await model.achat(asked)).message.content == "answer 2"
    assert model.complete("p", max_tokens=5).text == "answer 3"
    inner.temperature = 1.0
    assert model.complete("p").text == "answer 4"
    model._slot.close()


def test_failures_and_answers_that_broke_off_are_not_kept() -> None:
    model = CachedLLM(Counting(reason="length"), ttl=60)
    assert [model.complete("p").text for _ in range(2)] == ["answer 1", "answer 2"]
    inner = Counting(fails=True)
    model = CachedLLM(inner, ttl=60)
    with pytest.raises(ValueError, match="overloaded"):
        model.complete("p")
    inner.fails = False
    assert model.complete("p").text == "answer 1"


@pytest.mark.parametrize("stored", [["CompletionResponse", "{}"], ["Popen", "{}"], "text", 5], ids=repr)
async def test_an_entry_of_another_version_is_replaced(stored: Any) -> None:
    model = CachedLLM(Counting(), ttl=60)
    await model.cache.set(model._request("complete", ["p", False], {}), stored)
    assert [model.complete("p").text, (await model.acomplete("p")).text] == ["answer 1"] * 2
    model.close()


async def test_raw_is_the_caller_s_that_asked_alone() -> None:
    model = CachedLLM(Counting(), ttl=60)
    first, second = await model.acomplete("p"), await model.acomplete("p")
    assert (first.raw is None, second.raw is None) == (False, True)
    model.close()


def test_streams_pass_through() -> None:
    model = CachedLLM(Counting(), ttl=60)
    assert [next(iter(model.stream_complete("p"))).text for _ in range(2)] == ["answer 1", "answer 2"]
    model.close()
