"""LiteLLM with a provider of our own behind its cache slot."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

for fetched in ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS", "POLICY_TEMPLATES", "AUTOROUTER_PRESETS"):
    os.environ.setdefault(f"LITELLM_LOCAL_{fetched}", "True")  # or LiteLLM looks for newer ones in the network
litellm: Any = pytest.importorskip("litellm", reason="litellm is not installed: make frameworks")
pytest.importorskip("soundfile", reason="LiteLLM imports soundfile at a hit, which is not installed: make frameworks")
pytest.importorskip("litellm.caching.caching", reason="this LiteLLM has no cache of this form: make frameworks")

from cachecore_frameworks.litellm import cache_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of LiteLLM's own making

ASKED: dict[str, Any] = {"model": "counted/one", "messages": [{"role": "user", "content": "q"}]}


class Provider(litellm.CustomLLM):  # type: ignore[misc, unused-ignore]  # Any where LiteLLM is not followed
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.embedded: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []
        self.reason = "stop"

    def _answer(self) -> Any:
        self.calls += 1
        if self.failures:
            raise self.failures.pop()
        response = litellm.ModelResponse()
        response.choices[0].message.content = f"answer {self.calls}"
        response.choices[0].finish_reason = self.reason
        return response

    def completion(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer()

    async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._answer()
        await self.gate.wait()
        return answer

    def _chunks(self) -> list[Any]:
        self.calls += 1
        texts = [("answer ", False), (f"{self.calls}", True)]
        return [
            {
                "text": text,
                "is_finished": last,
                "finish_reason": "stop" if last else "",
                "index": 0,
                "tool_use": None,
                "usage": None,
            }
            for text, last in texts
        ]

    def streaming(self, *args: Any, **kwargs: Any) -> Any:
        yield from self._chunks()

    async def astreaming(self, *args: Any, **kwargs: Any) -> Any:
        for chunk in self._chunks():
            yield chunk

    async def aembedding(self, model: str, input: list[str], *args: Any, **kwargs: Any) -> Any:  # noqa: A002
        self.embedded += input
        data = [{"object": "embedding", "index": at, "embedding": [float(len(text))]} for at, text in enumerate(input)]
        response = kwargs["model_response"]
        response.model, response.data = model, data
        return response


@pytest.fixture
def provider(store: str) -> Iterator[Provider]:
    made = Provider()
    litellm.custom_provider_map = [{"provider": "counted", "custom_handler": made}]
    litellm.cache = cache_of(store, ttl=60)
    yield made
    litellm.cache.cache.slot.close()
    litellm.cache = None


def text(response: Any) -> Any:
    return response.choices[0].message.content


def test_sync_hits(provider: Provider) -> None:
    assert [text(litellm.completion(**ASKED)) for _ in range(2)] == ["answer 1"] * 2
    assert text(litellm.completion(**ASKED, temperature=0.5)) == "answer 2"
    assert text(litellm.completion(**ASKED, cache={"no-cache": True})) == "answer 3"
    assert text(litellm.completion(**ASKED)) == "answer 3"


async def test_async_hits(provider: Provider) -> None:
    first = await litellm.acompletion(**ASKED)
    await settled(provider)
    second = await litellm.acompletion(**ASKED)
    assert [text(first), text(second)] == ["answer 1"] * 2
    assert text(await litellm.acompletion(**ASKED, cache={"no-cache": True})) == "answer 2"


async def test_many_messages_are_cached_too(provider: Provider) -> None:
    asked = {**ASKED, "messages": [{"role": "user", "content": str(at)} for at in range(9)]}
    await litellm.acompletion(**asked)
    await settled(provider)
    assert text(await litellm.acompletion(**asked)) == "answer 1"


async def test_five_at_once_are_one_call(provider: Provider) -> None:
    provider.gate.clear()
    asked = [asyncio.create_task(litellm.acompletion(**ASKED)) for _ in range(5)]
    async with asyncio.timeout(20):
        while not provider.calls:  # noqa: ASYNC110 - the provider is called from LiteLLM's own tasks
            await asyncio.sleep(0.001)
        provider.gate.set()
        assert [text(await one) for one in asked] == ["answer 1"] * 5
    assert provider.calls == 1


async def test_a_failure_lets_others_go_on(provider: Provider) -> None:
    """The task that failed lives on and holds nothing."""
    provider.failures.append(ValueError("overloaded"))
    with pytest.raises(Exception, match="overloaded"):
        await litellm.acompletion(**ASKED, num_retries=0)
    async with asyncio.timeout(20):
        assert text(await asyncio.create_task(litellm.acompletion(**ASKED))) == "answer 2"


async def test_a_failure_leaves_the_call_of_another_model_alone(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models are asked the same. When the first fails, callers of the second still share its one call."""
    ends = {"one": asyncio.Event(), "two": asyncio.Event()}
    begun: list[str] = []

    async def acompletion(model: str, *args: Any, **kwargs: Any) -> Any:
        begun.append(model)
        await ends[model].wait()
        if model == "one":
            raise ValueError("overloaded")
        return provider._answer()

    async def until_begun(models: list[str]) -> None:
        while begun != models:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)

    looked: list[str] = []
    look = litellm.cache.cache.async_get_cache

    async def noted(key: str, **kwargs: Any) -> Any:
        looked.append(key)
        return await look(key, **kwargs)

    monkeypatch.setattr(litellm.cache.cache, "async_get_cache", noted)
    monkeypatch.setattr(provider, "acompletion", acompletion)
    async with asyncio.timeout(20):
        one = asyncio.create_task(litellm.acompletion(**ASKED, num_retries=0))
        await until_begun(["one"])
        two = [asyncio.create_task(litellm.acompletion(**{**ASKED, "model": "counted/two"}))]
        await until_begun(["one", "two"])
        ends["one"].set()
        with pytest.raises(Exception, match="overloaded"):
            await one
        two += [asyncio.create_task(litellm.acompletion(**{**ASKED, "model": "counted/two"})) for _ in range(3)]
        while len(looked) < 5:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        ends["two"].set()
        assert {text(answer) for answer in await asyncio.gather(*two)} == {"answer 1"}
    assert begun == ["one", "two"]


def test_a_failure_lets_other_threads_go_on(provider: Provider) -> None:
    provider.failures.append(ValueError("overloaded"))
    with pytest.raises(Exception, match="overloaded"):
        litellm.completion(**ASKED, num_retries=0)
    answers: list[Any] = []
    other = threading.Thread(target=lambda: answers.append(text(litellm.completion(**ASKED))), daemon=True)
    other.start()
    other.join(20)
    assert answers == ["answer 2"]


def test_what_broke_off_is_not_kept(provider: Provider) -> None:
    provider.reason = "length"
    assert [text(litellm.completion(**ASKED)) for _ in range(2)] == ["answer 1", "answer 2"]


async def test_streams(provider: Provider) -> None:
    async def read() -> str:
        chunks = [chunk async for chunk in await litellm.acompletion(**ASKED, stream=True)]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert await read() == "answer 1"
    await settled(provider)
    assert await read() == "answer 1"
    assert provider.calls == 1


def test_sync_streams(provider: Provider) -> None:
    def read() -> str:
        chunks = litellm.completion(**ASKED, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert [read(), read()] == ["answer 1", "answer 1"]
    assert provider.calls == 1


def test_directives_of_a_call(provider: Provider) -> None:
    assert text(litellm.completion(**ASKED, cache={"no-store": True})) == "answer 1"
    assert text(litellm.completion(**ASKED, cache={"ttl": 30})) == "answer 2"
    assert text(litellm.completion(**ASKED)) == "answer 2"
    (entry,) = litellm.cache.cache.slot.sync_cache.entries()
    assert entry.fresh_for is not None
    assert entry.fresh_for <= 30


BARE = """
import os, sys, warnings
sys.modules[sys.argv[1]] = None
import litellm
from cachecore_frameworks.litellm import cache_of
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    litellm.cache = cache_of("memory://", ttl=60)
print([str(one.message) for one in told if "cachecore-frameworks[litellm]" in str(one.message)])
asked = {"model": "gpt-5", "messages": [{"role": "user", "content": "q"}], "mock_response": "one"}
litellm.completion(**asked)
try:
    litellm.completion(**asked)
except ModuleNotFoundError as error:
    print(error.name)
sys.stdout.flush()
os._exit(0)  # LiteLLM's threads
"""


@pytest.mark.parametrize("package", ["fastapi", "orjson", "soundfile"])
def test_a_bare_install_is_told_what_a_hit_needs(package: str) -> None:
    """LiteLLM fails at a hit without it. If this fails, LiteLLM no longer does: drop the warning and the extra."""
    done = subprocess.run([sys.executable, "-c", BARE, package], capture_output=True, text=True, check=True)
    told, failed = done.stdout.splitlines()[-2:]
    assert f"imports {package} at a hit" in told
    assert failed == package


async def test_embeddings_partly_cached(provider: Provider) -> None:
    await litellm.aembedding("counted/one", input=["a", "bb"])
    await settled(provider, 2)
    response = await litellm.aembedding("counted/one", input=["bb", "ccc", "a"])
    assert [one["embedding"] for one in response.data] == [[2.0], [3.0], [1.0]]
    assert provider.embedded == ["a", "bb", "ccc"]


async def settled(provider: Provider, entries: int = 1) -> None:
    """Wait until LiteLLM has stored its answers, which it does in tasks of its own."""
    cache = litellm.cache.cache.slot.cache
    async with asyncio.timeout(20):
        while cache.stats.stored < entries:  # noqa: ASYNC110 - a counter wakes no waiter
            await asyncio.sleep(0.001)
