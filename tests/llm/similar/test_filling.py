"""A process that has seen no question knows those of the store when it needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, SyncCache
from cachecore.contract.errors import OptionsError
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from cachecore_llm import AllProvidersFailedError, CacheConfig, LLMService, ResponseCache
from tests.llm.flow.scripted import Scripted, completion


def service(store: Any, *, down: bool = False, **config: Any) -> LLMService:
    """Return a new process's service on `store`."""
    provider = Scripted(ConnectionError("down")) if down else Scripted(completion("In the app."))
    return LLMService(provider, ResponseCache(store, CacheConfig(**config)))


async def test_after_a_restart_during_an_outage() -> None:
    store = MemoryBackend()
    first = await service(store).generate("Bank.", "How do I order a card?", model="m")
    found = await service(store, down=True).generate("Bank.", "How can I order the card?", model="m")
    assert found.cache_status == "similar"
    assert found.matched_message == "How do I order a card?"
    assert found.content == first.content


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "b"},
        {"label": "faq"},
        {"temperature": 0.5},
        {"system_prompt": "Shop."},
        {"context": [{"role": "user", "content": "Hi"}]},
    ],
)
async def test_only_questions_of_the_same_partition(other: dict[str, Any]) -> None:
    store = MemoryBackend()
    asked: dict[str, Any] = {"system_prompt": "Bank.", "user_message": "How do I order a card?", "model": "m"}
    await service(store).generate(**(asked | other))
    with pytest.raises(AllProvidersFailedError):
        await service(store, down=True).generate(**(asked | {"user_message": "How can I order the card?"}))


async def test_an_invalidated_answer_is_not_found() -> None:
    store = MemoryBackend()
    writer = service(store)
    await writer.generate("Bank.", "How do I order a card?", model="m")
    await writer.cache.invalidate_prompt("Bank.")
    with pytest.raises(AllProvidersFailedError):
        await service(store, down=True).generate("Bank.", "How can I order the card?", model="m")


async def test_a_store_that_fails_costs_no_more_than_the_answer() -> None:
    memory = MemoryBackend()
    await service(memory).generate("Bank.", "How do I order a card?", model="m")
    store = FaultyBackend(memory)
    store.fail("scan")
    with pytest.raises(AllProvidersFailedError):
        await service(store, down=True).generate("Bank.", "How can I order the card?", model="m")


async def test_contents_are_those_of_the_namespace_alone() -> None:
    store = MemoryBackend()
    root: Cache[str] = Cache(store, ttl=60, prefix="p")
    here, below = root.scoped("a"), root.scoped("a/b")
    for view, value in ((root, "root"), (here, "here"), (below, "below")):
        await view.set({"q": 1}, value)
    await here.set({"q": 2}, "gone")
    await here.delete({"q": 2})
    assert [pair async for pair in root.contents()] == [(root.key({"q": 1}), "root")]
    assert [pair async for pair in here.contents()] == [(here.key({"q": 1}), "here")]
    await here.set({"q": 3}, "more")
    assert len([pair async for pair in here.contents(most=1)]) == 1
    with pytest.raises(OptionsError, match="most must be 1 or more"):
        root.contents(most=0)


async def test_contents_of_the_namespaces_below() -> None:
    """They are yielded where that is asked for, unless they are invalid; namespaces that merely begin alike are not."""
    async with Cache("memory://", ttl=60) as root:
        here, beside = root.scoped("a"), root.scoped("a-b")
        below, tagged = here.scoped("b/c"), here.scoped("d", tags=["t"])
        for view, value in [(here, "here"), (below, "below"), (beside, "beside"), (tagged, "tagged")]:
            await view.set({"q": 1}, value)
        assert {value async for _, value in here.contents(below=True)} == {"here", "below", "tagged"}
        assert len([pair async for pair in here.contents(most=2, below=True)]) == 2
        await here.scoped("b").invalidate_all()
        await root.invalidate_tags("t")
        assert [value async for _, value in here.contents(below=True)] == ["here"]


def test_contents_of_the_synchronous_face() -> None:
    with SyncCache("memory://", ttl=60) as cache:
        cache.set({"q": 1}, "here")
        assert cache.contents() == cache.contents(below=True) == [(cache.key({"q": 1}), "here")]


async def restarted(url: str) -> None:
    """Answer a question, and a similar one in another process's place while the provider is down."""
    first, second = service(url), service(url, down=True)
    async with first.cache:
        await first.generate("Bank.", "How do I order a card?", model="m")
    async with second.cache:
        found = await second.generate("Bank.", "How can I order the card?", model="m")
    assert found.cache_status == "similar"


async def test_a_restart_with_sqlite(tmp_path: Path) -> None:
    await restarted(f"sqlite:///{tmp_path / 'answers.db'}")


async def test_a_restart_with_redis(redis_url: str) -> None:
    await restarted(redis_url)
