"""Frameworks that call models. Each case is imported where its framework is installed."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.frameworks.measuring import TEXT, Hits, Row, awaited, repeated


def langchain() -> Row:
    from langchain_core.caches import InMemoryCache
    from langchain_core.language_models import FakeListChatModel

    from cachecore_frameworks.langchain import LangChainCache

    ours, own = (
        FakeListChatModel(responses=[TEXT], cache=cache) for cache in (LangChainCache(ttl=600), InMemoryCache())
    )
    return Row(
        framework="LangChain",
        call="`invoke`",
        packages=("langchain-core",),
        ours=repeated(lambda: ours.invoke("q")),
        own=repeated(lambda: own.invoke("q")),
        own_is="its `InMemoryCache`",
    )


def langgraph() -> Row:
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
    return Row(
        framework="LangGraph",
        call="a graph of one node",
        packages=("langgraph",),
        ours=repeated(lambda: ours.invoke({"q": 1})),
        own=repeated(lambda: own.invoke({"q": 1})),
        own_is="its `InMemoryCache`",
    )


def litellm() -> Row:
    import litellm as framework  # fetches lists unless its variables say otherwise: see __main__

    from cachecore_frameworks.litellm import cache_of

    caches = [cache_of(ttl=600), framework.Cache()]

    def hit(cache: Any) -> None:
        framework.cache = cache
        framework.completion(model="gpt-5", messages=[{"role": "user", "content": "q"}], mock_response=TEXT)

    return Row(
        framework="LiteLLM",
        call="`completion`",
        packages=("litellm",),
        ours=repeated(lambda: hit(caches[0])),
        own=repeated(lambda: hit(caches[1])),
        own_is="its cache in memory",
    )


def pydantic_ai() -> Row:
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    from cachecore_frameworks.pydantic_ai import CachedModel

    loop = asyncio.new_event_loop()
    ours: Any = Agent(CachedModel(TestModel(custom_output_text=TEXT), ttl=600))
    own: Any = Agent(TestModel(custom_output_text=TEXT))
    return Row(
        framework="Pydantic AI",
        call="`agent.run`",
        packages=("pydantic-ai-slim",),
        ours=awaited(loop, lambda: ours.run("q")),
        own=awaited(loop, lambda: own.run("q")),
        own_is="none: its test model",
    )


def llamaindex() -> Row:
    from llama_index.core.storage.kvstore import SimpleKVStore

    from cachecore_frameworks.llamaindex import KVStore

    ours, own = KVStore(ttl=600), SimpleKVStore()
    for store in (ours, own):
        store.put("k", {"nodes": [TEXT]})
    return Row(
        framework="LlamaIndex",
        call="`KVStore.get`",
        packages=("llama-index-core",),
        ours=repeated(lambda: ours.get("k")),
        own=repeated(lambda: own.get("k")),
        own_is="its `SimpleKVStore`, a dict",
    )


def instructor() -> Row:
    from instructor.cache import AutoCache, load_cached_response, store_cached_response
    from pydantic import BaseModel

    from cachecore_frameworks.instructor import InstructorCache

    class Answer(BaseModel):
        text: str

    ours, own = InstructorCache(ttl=600), AutoCache()
    for cache in (ours, own):
        store_cached_response(cache, "k", Answer(text=TEXT))
    return Row(
        framework="Instructor",
        call="`load_cached_response`",
        packages=("instructor",),
        ours=repeated(lambda: load_cached_response(ours, "k", Answer)),
        own=repeated(lambda: load_cached_response(own, "k", Answer)),
        own_is="its `AutoCache`",
    )


def dspy() -> Row:
    import litellm as models
    from dspy.clients.cache import Cache

    from cachecore_frameworks.dspy import DSPyCache

    request = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
    response = models.ModelResponse(choices=[{"message": {"role": "assistant", "content": TEXT}}])
    ours, own = DSPyCache(ttl=600), Cache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=None)
    for cache in (ours, own):
        cache.put(request, response)
    return Row(
        framework="DSPy",
        call="`Cache.get`",
        packages=("dspy",),
        ours=repeated(lambda: ours.get(request)),
        own=repeated(lambda: own.get(request)),
        own_is="its cache in memory, a copy of the object",
    )


def google_adk() -> Row:
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

    def agent(*plugins: Any) -> Hits:
        root = LlmAgent(name="a", model=Constant(model="m"))
        runner = InMemoryRunner(app=App(name="app", root_agent=root, plugins=list(plugins)))

        async def run() -> None:
            session = await runner.session_service.create_session(app_name="app", user_id="u")
            asked = UserContent("q")
            async for _ in runner.run_async(user_id="u", session_id=session.id, new_message=asked):
                pass

        return awaited(loop, run)

    return Row(
        framework="Google ADK",
        call="a run of one turn in a new session",
        packages=("google-adk",),
        ours=agent(ModelCache(ttl=600)),
        own=agent(),
        own_is="none: a model that answers at once",
    )


CASES = {
    "langchain_core": langchain,
    "langgraph": langgraph,
    "litellm": litellm,
    "pydantic_ai": pydantic_ai,
    "llama_index.core": llamaindex,
    "instructor": instructor,
    "dspy": dspy,
    "google.adk": google_adk,
}
"""By the package that each needs."""
