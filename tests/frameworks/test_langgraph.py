"""LangGraph's node cache on each store: batches, a ttl for each, namespaces, other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph.graph", reason="langgraph is not installed: make frameworks")
from langgraph.graph import StateGraph
from langgraph.types import CachePolicy

from cachecore import Cache
from cachecore_frameworks.langgraph import LangGraphCache

A, B = (("ns", "one"), "a"), (("ns", "two"), "b")


class State(TypedDict, total=False):
    asked: str
    answer: Any


def graph(cache: LangGraphCache, calls: list[str]) -> Any:
    def answer(state: State) -> State:
        calls.append(state["asked"])
        return {"answer": [len(calls), b"bytes"]}

    built = StateGraph(State)
    built.add_node("answer", answer, cache_policy=CachePolicy(ttl=60))
    built.set_entry_point("answer")
    return built.compile(cache=cache)


def test_batches_namespaces_and_ttls(store: str) -> None:
    cache = LangGraphCache(store, ttl=1000)
    cache.set({A: ({"x": [1, 2]}, 10), B: ([b"y", None], None)})
    assert cache.get([A, B, (("ns",), "c")]) == {A: {"x": [1, 2]}, B: [b"y", None]}
    first = cache._slot.sync_cache.lookup(("ns", "one", "a"))
    second = cache._slot.sync_cache.lookup(("ns", "two", "b"))
    assert first.fresh_for is not None
    assert second.fresh_for is not None
    assert first.fresh_for <= 10 < second.fresh_for
    cache.clear([("ns", "one")])
    assert cache.get([A, B]) == {B: [b"y", None]}
    cache.clear()
    assert cache.get([A, B]) == {}
    assert cache.get([]) == {}
    cache.close()


async def test_async_batches(store: str) -> None:
    cache = LangGraphCache(store, ttl=1000)
    await cache.aset({A: (1, 10), B: (2, None)})
    assert await cache.aget([B, A]) == {A: 1, B: 2}
    await cache.aclear([B[0]])
    assert await cache.aget([B, A]) == {A: 1}
    await cache.aclear()
    assert await cache.aget([B, A]) == {}
    await cache.aclose()


async def test_a_node_runs_once_for_an_input(store: str) -> None:
    cache, calls = LangGraphCache(store, ttl=60), []  # type: ignore[var-annotated]  # calls: a list of str
    compiled = graph(cache, calls)
    assert compiled.invoke({"asked": "q"})["answer"] == [1, b"bytes"]
    assert compiled.invoke({"asked": "q"})["answer"] == [1, b"bytes"]
    assert (await compiled.ainvoke({"asked": "q"}))["answer"] == [1, b"bytes"]
    assert compiled.invoke({"asked": "r"})["answer"] == [2, b"bytes"]
    assert calls == ["q", "r"]
    await compiled.aclear_cache()
    assert compiled.invoke({"asked": "q"})["answer"] == [3, b"bytes"]
    cache.close()


OTHER = """
import sys
from cachecore_frameworks.langgraph import LangGraphCache
from tests.frameworks.test_langgraph import graph
cache, calls = LangGraphCache(sys.argv[1], ttl=60), []
print(graph(cache, calls).invoke({"asked": "q"})["answer"], calls)
cache.close()
"""


def test_another_process_finds_what_this_one_has_computed(redis_address: str, tmp_path: Path) -> None:
    for address in (redis_address, f"sqlite:///{tmp_path}/nodes.db"):
        cache, calls = LangGraphCache(address, ttl=60), []  # type: ignore[var-annotated]  # as above
        graph(cache, calls).invoke({"asked": "q"})
        done = subprocess.run([sys.executable, "-c", OTHER, address], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[1, b'bytes'] []"
        cache.close()


async def test_bytes_that_pickle_would_run_are_no_result() -> None:
    """LangGraph's serializer refuses them: a store cannot make this process run code."""
    async with Cache("memory://", ttl=60) as shared:
        cache = LangGraphCache(shared)
        await cache.cache.set(("ns", "one", "a"), ["pickle", b"cos\nsystem\n(S'false'\ntR."])
        with pytest.raises(NotImplementedError):
            await cache.aget([A])


def test_what_only_pickle_could_store_is_refused() -> None:
    class Own:
        pass

    cache = LangGraphCache(ttl=60)
    for value in (Own(), lambda: 1):
        with pytest.raises(TypeError, match="serializable"):
            cache.set({A: (value, 10)})
    assert cache.get([A]) == {}
    cache.close()
