"""What a hit costs through a framework: with cachecore in its slot, and with the framework's own cache in memory.

    python -m benchmarks frameworks      # where the frameworks are installed: `make frameworks`

Both caches hold the same answer and take turns, in an order drawn anew each round. A figure is the median of the
processor time of one hit, in microseconds: other work on the machine changes that least. A framework without a cache of
its own is measured against its model alone. Each group of frameworks has a venv of its own: rows of frameworks that are
not installed stay as they were measured last.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.running.results import AbsentError, Question, Table, earlier

ROUNDS: Final = 20
HITS: Final = 10
TEXT: Final = "An answer of some length. " * 40
Hit = Callable[[], Any]


def langchain() -> tuple[Hit, Hit]:
    from langchain_core.caches import InMemoryCache
    from langchain_core.language_models import FakeListChatModel

    from cachecore_frameworks.langchain import LangChainCache

    ours, own = (
        FakeListChatModel(responses=[TEXT], cache=cache) for cache in (LangChainCache(ttl=600), InMemoryCache())
    )
    return lambda: ours.invoke("q"), lambda: own.invoke("q")


def langgraph() -> tuple[Hit, Hit]:
    from langgraph.cache.memory import InMemoryCache
    from langgraph.graph import StateGraph
    from langgraph.types import CachePolicy

    from cachecore_frameworks.langgraph import LangGraphCache

    def compiled(cache: Any) -> Any:
        graph: Any = StateGraph(dict)
        graph.add_node("answer", lambda state: {"answer": TEXT}, cache_policy=CachePolicy(ttl=600))
        graph.set_entry_point("answer")
        return graph.compile(cache=cache)

    ours, own = compiled(LangGraphCache(ttl=600)), compiled(InMemoryCache())
    return lambda: ours.invoke({"q": 1}), lambda: own.invoke({"q": 1})


def litellm() -> tuple[Hit, Hit]:
    import litellm as framework

    from cachecore_frameworks.litellm import cache_of

    caches = [cache_of(ttl=600), framework.Cache()]

    def hit(cache: Any) -> None:
        framework.cache = cache
        framework.completion(model="gpt-5", messages=[{"role": "user", "content": "q"}], mock_response=TEXT)

    return lambda: hit(caches[0]), lambda: hit(caches[1])


def pydantic_ai() -> tuple[Hit, Hit]:
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    from cachecore_frameworks.pydantic_ai import CachedModel

    loop = asyncio.new_event_loop()
    ours: Any = Agent(CachedModel(TestModel(custom_output_text=TEXT), ttl=600))
    own: Any = Agent(TestModel(custom_output_text=TEXT))
    return lambda: loop.run_until_complete(ours.run("q")), lambda: loop.run_until_complete(own.run("q"))


def llamaindex() -> tuple[Hit, Hit]:
    from llama_index.core.storage.kvstore import SimpleKVStore

    from cachecore_frameworks.llamaindex import KVStore

    ours, own = KVStore(ttl=600), SimpleKVStore()
    for store in (ours, own):
        store.put("k", {"nodes": [TEXT]})
    return lambda: ours.get("k"), lambda: own.get("k")


def instructor() -> tuple[Hit, Hit]:
    from instructor.cache import AutoCache, load_cached_response, store_cached_response
    from pydantic import BaseModel

    from cachecore_frameworks.instructor import InstructorCache

    class Answer(BaseModel):
        text: str

    ours, own = InstructorCache(ttl=600), AutoCache()
    for cache in (ours, own):
        store_cached_response(cache, "k", Answer(text=TEXT))
    return lambda: load_cached_response(ours, "k", Answer), lambda: load_cached_response(own, "k", Answer)


def dspy() -> tuple[Hit, Hit]:
    import litellm as models
    from dspy.clients.cache import Cache

    from cachecore_frameworks.dspy import DSPyCache

    request = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
    response = models.ModelResponse(choices=[{"message": {"role": "assistant", "content": TEXT}}])
    ours, own = DSPyCache(ttl=600), Cache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=None)
    for cache in (ours, own):
        cache.put(request, response)
    return lambda: ours.get(request), lambda: own.get(request)


def google_adk() -> tuple[Hit, Hit]:
    from google.adk.agents import LlmAgent
    from google.adk.apps import App
    from google.adk.models import BaseLlm, LlmResponse
    from google.adk.runners import InMemoryRunner
    from google.genai.types import GenerateContentResponseUsageMetadata, ModelContent, UserContent

    from cachecore_frameworks.google_adk import ModelCache

    class Constant(BaseLlm):
        async def generate_content_async(self, llm_request: Any, stream: bool = False) -> Any:
            usage = GenerateContentResponseUsageMetadata(prompt_token_count=1, candidates_token_count=200)
            yield LlmResponse(content=ModelContent(TEXT), usage_metadata=usage)

    loop = asyncio.new_event_loop()

    def agent(*plugins: Any) -> Hit:
        root = LlmAgent(name="a", model=Constant(model="m"))
        runner = InMemoryRunner(app=App(name="app", root_agent=root, plugins=list(plugins)))

        async def run() -> None:
            session = await runner.session_service.create_session(app_name="app", user_id="u")
            asked = UserContent("q")
            async for _ in runner.run_async(user_id="u", session_id=session.id, new_message=asked):
                pass

        return lambda: loop.run_until_complete(run())

    return agent(ModelCache(ttl=600)), agent()


def measured(ours: Hit, own: Hit, chance: random.Random) -> tuple[float, float]:
    """Return the median processor time of a hit in both caches, in microseconds."""
    times: dict[Hit, list[float]] = {ours: [], own: []}
    for hit in times:
        hit(), hit()
    for _ in range(ROUNDS):
        for hit in chance.sample([ours, own], 2):
            begun = time.process_time()
            for _ in range(HITS):
                hit()
            times[hit].append((time.process_time() - begun) / HITS * 1e6)
    return statistics.median(times[ours]), statistics.median(times[own])


CASES: Final = (langchain, langgraph, litellm, pydantic_ai, llamaindex, instructor, dspy, google_adk)
OWN: Final = {
    "pydantic_ai": "its test model",
    "google_adk": "a model that answers at once",
    "llamaindex": "a dict",
    "dspy": "a copy of the object",
}
"""The other side, where it is no cache of the framework's own in memory."""
TITLE: Final = "a hit in memory, processor µs"


async def measure() -> list[Table]:
    for fetched in ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS"):
        os.environ.setdefault(f"LITELLM_LOCAL_{fetched}", "True")
    return await asyncio.to_thread(tables)  # frameworks run event loops of their own


def tables() -> list[Table]:
    chance = random.Random(7)
    rows = earlier(QUESTION.name, TITLE)
    for case in CASES:
        try:
            importlib.import_module(f"cachecore_frameworks.{case.__name__}")
        except ImportError as error:
            print(f"  {case.__name__}: left out, {error}")
            continue
        ours, own = measured(*case(), chance)
        rows[case.__name__] = {
            "cachecore": round(ours, 1),
            "the framework": round(own, 1),
            "which is": OWN.get(case.__name__, "its own cache"),
            "×": round(ours / own, 2),
        }
    if not rows:
        raise AbsentError("no framework is installed: `make frameworks`")
    return [Table(TITLE, "×", rows)]


QUESTION = Question(
    "frameworks",
    "The cost of a hit through frameworks for models",
    measure,
    [
        "langchain-core",
        "langgraph",
        "litellm",
        "pydantic-ai-slim",
        "llama-index-core",
        "instructor",
        "dspy",
        "google-adk",
    ],
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
