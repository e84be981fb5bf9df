"""DSPy with a provider of our own behind its cache slot."""

from __future__ import annotations

import os
from typing import Any

import pytest

for fetched in ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS", "POLICY_TEMPLATES", "AUTOROUTER_PRESETS"):
    os.environ.setdefault(f"LITELLM_LOCAL_{fetched}", "True")  # or LiteLLM looks for newer ones in the network
dspy: Any = pytest.importorskip("dspy", reason="dspy is not installed: make frameworks")
import litellm

from cachecore_frameworks.dspy import DSPyCache

pytestmark = pytest.mark.filterwarnings("ignore")  # of DSPy's and LiteLLM's own making


class Provider(litellm.CustomLLM):  # type: ignore[misc, unused-ignore]  # Any where LiteLLM is not followed
    calls = 0

    def completion(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        response = litellm.ModelResponse()
        response.choices[0].message.content = f"answer {self.calls}"
        response.choices[0].finish_reason = "stop"
        return response

    async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
        return self.completion()


async def test_a_model_is_asked_once(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, cache = Provider(), DSPyCache(store, ttl=60)
    monkeypatch.setattr(dspy, "cache", cache)
    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "counted", "custom_handler": provider}])
    model = dspy.LM("counted/one", temperature=0.0)
    assert [model("q"), model("q")] == [["answer 1"]] * 2
    assert [await model.acall("q"), await model.acall("q")] == [["answer 2"]] * 2  # a key of its own, DSPy's rule
    assert provider.calls == 2
    cache.reset_memory_cache()
    assert model("q") == ["answer 3"]
    cache.close()


def test_only_answers_and_plain_data_are_kept() -> None:
    cache = DSPyCache(ttl=60)
    cache.put({"q": 1}, {"plain": [1.5]})
    assert cache.get({"q": 1}) == {"plain": [1.5]}
    cache.put({"q": 2}, object())
    assert cache.get({"q": 2}) is None
    cache._slot.sync_cache.set(cache.cache_key({"q": 3}), ["Popen", "{}"])
    assert cache.get({"q": 3}) is None
    assert cache.cache_key({"q": 1}) in cache
    cache.close()
