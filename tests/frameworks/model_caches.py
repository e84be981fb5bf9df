"""Caches of model calls, each in front of a provider inside the process; `test_model_caches.py` asks them."""

from __future__ import annotations

import asyncio
import importlib
import importlib.machinery
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

Messages = list[dict[str, str]]


def broken(*args: Any, **kwargs: Any) -> Any:
    raise ConnectionError("the store is down")


class Provider:
    """Numbers its answers."""

    def __init__(self) -> None:
        self.calls = 0
        self.ends = "stop"
        self.error: Exception | None = None
        self.embedded: list[str] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()

    def text(self) -> str:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return f"answer {self.calls}"

    async def held_text(self) -> str:
        """Return the next answer once the gate is open."""
        text = self.text()
        self.entered.set()
        await self.gate.wait()
        return text

    def vectors(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        return [[float(len(text))] for text in texts]


def litellm_installed() -> Any:
    for fetched in ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS", "POLICY_TEMPLATES", "AUTOROUTER_PRESETS"):
        os.environ.setdefault(f"LITELLM_LOCAL_{fetched}", "True")  # or LiteLLM looks for newer ones in the network
    for needed in ("soundfile", "orjson", "fastapi"):
        pytest.importorskip(needed, reason=f"LiteLLM imports {needed} at a hit, it is missing: make frameworks")
    return pytest.importorskip("litellm", reason="litellm is not installed: make frameworks")


class LiteLLM:
    """`litellm.cache = Cache()` in front of a provider of one's own."""

    def __init__(self, provider: Provider, _: Path) -> None:
        self.litellm = litellm = litellm_installed()
        from litellm.caching.caching import Cache

        class Handler(litellm.CustomLLM):  # type: ignore[misc, name-defined, unused-ignore]  # Any
            def completion(self, *args: Any, **kwargs: Any) -> Any:
                return self.response(provider.text())

            async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
                return self.response(await provider.held_text())

            def streaming(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
                chunk = {"finish_reason": "stop", "is_finished": True, "index": 0, "tool_use": None, "usage": None}
                yield {"text": provider.text(), **chunk}

            async def aembedding(self, *args: Any, **kwargs: Any) -> Any:
                response = kwargs["model_response"]
                vectors = enumerate(provider.vectors(kwargs["input"]))
                response.data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in vectors]
                response.model = "counted/one"
                return response

            def response(self, text: str) -> Any:
                response = litellm.ModelResponse()
                response.choices[0].message.content = text
                response.choices[0].finish_reason = provider.ends
                return response

        litellm.custom_provider_map = [{"provider": "counted", "custom_handler": Handler()}]
        litellm.cache = Cache()

    async def ask(self, messages: Messages, **params: Any) -> str:
        asked = self.litellm.completion(model="counted/one", messages=messages, num_retries=0, **params)
        return str(asked.choices[0].message.content)

    async def stream(self, messages: Messages) -> str:
        chunks = self.litellm.completion(model="counted/one", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    async def ask_held(self, messages: Messages) -> str:
        asked = await self.litellm.acompletion(model="counted/one", messages=messages)
        return str(asked.choices[0].message.content)

    async def embed(self, texts: list[str]) -> None:
        await self.litellm.aembedding("counted/one", input=texts)
        stored = self.litellm.cache.cache.cache_dict
        async with asyncio.timeout(20):
            while len(stored) < len(texts):  # noqa: ASYNC110 - stored by a task of LiteLLM's own
                await asyncio.sleep(0.001)

    def break_store(self) -> None:
        vars(self.litellm.cache.cache).update(get_cache=broken, set_cache=broken)

    def close(self) -> None:
        self.litellm.cache = None


class LangChain:
    """`InMemoryCache` of langchain-core at a chat model."""

    def __init__(self, provider: Provider, folder: Path) -> None:
        pytest.importorskip("langchain_core", reason="langchain-core is not installed: make frameworks")
        from langchain_core.caches import InMemoryCache
        from langchain_core.language_models import BaseChatModel
        from langchain_core.messages import AIMessage, AIMessageChunk
        from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

        class Model(BaseChatModel):
            @property
            def _llm_type(self) -> str:
                return "counted"

            def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
                return self.result(provider.text())

            async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
                return self.result(await provider.held_text())

            def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
                yield ChatGenerationChunk(message=AIMessageChunk(provider.text()))

            def result(self, text: str) -> ChatResult:
                ends = {"finish_reason": provider.ends}
                message = AIMessage(text, response_metadata=ends)
                return ChatResult(generations=[ChatGeneration(message=message, generation_info=ends)])

        self.cache = InMemoryCache()
        self.model = Model(cache=self.cache)

    async def ask(self, messages: Messages, **params: Any) -> str:
        return str(self.model.invoke(messages, **params).content)

    async def stream(self, messages: Messages) -> str:
        return "".join(str(chunk.content) for chunk in self.model.stream(messages))

    async def ask_held(self, messages: Messages) -> str:
        return str((await self.model.ainvoke(messages)).content)

    def break_store(self) -> None:
        vars(self.cache).update(lookup=broken, update=broken)

    def close(self) -> None:
        pass


class GPTCache:
    """`cache.init()` of GPTCache, as it is by default, and its adapter of `openai.ChatCompletion`.

    The adapter derives from classes of the SDK before 1.0, which no other library here still takes: empty ones stand in
    for them, and `ChatCompletion.llm`, which GPTCache calls in place of the SDK, is the provider.
    """

    def __init__(self, provider: Provider, folder: Path) -> None:
        pytest.importorskip("gptcache", reason="gptcache is not installed: make frameworks")
        from gptcache import Cache, Config
        from gptcache.manager import get_data_manager

        old = types.ModuleType("openai")
        old.__spec__ = importlib.machinery.ModuleSpec("openai", None)  # or GPTCache has pip install it
        names = ["ChatCompletion", "Completion", "Audio", "Image", "Moderation"]
        vars(old).update({name: type(name, (), {}) for name in names})
        vars(old)["OpenAIError"] = type("OpenAIError", (Exception,), {})
        with mock.patch.dict(sys.modules, openai=old):
            self.chats = importlib.import_module("gptcache.adapter.openai").ChatCompletion
        self.provider = provider
        self.manager = get_data_manager(data_path=str(folder / "map"))
        self.cache = Cache()
        self.cache.init(data_manager=self.manager, config=Config(enable_token_counter=False))  # it fetches a vocabulary

    async def ask(self, messages: Messages, **params: Any) -> str:
        self.chats.llm = lambda **_: self.response(self.provider.text())
        return str(self.asked("create", messages, **params)["choices"][0]["message"]["content"])

    async def stream(self, messages: Messages) -> str:
        self.chats.llm = lambda **_: iter([{"choices": [{"delta": {"content": self.provider.text()}}]}])
        chunks = self.asked("create", messages, stream=True)
        return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)

    async def ask_held(self, messages: Messages) -> str:
        async def held(**_: Any) -> Any:
            return self.response(await self.provider.held_text())

        self.chats.llm = held
        return str((await self.asked("acreate", messages))["choices"][0]["message"]["content"])

    def asked(self, way: str, messages: Messages, **params: Any) -> Any:
        return getattr(self.chats, way)(model="m", messages=messages, cache_obj=self.cache, **params)

    def response(self, text: str) -> Any:
        return {"choices": [{"finish_reason": self.provider.ends, "message": {"role": "assistant", "content": text}}]}

    def break_store(self) -> None:
        vars(self.manager).update(search=broken, save=broken)

    def close(self) -> None:
        pass


class Cachecore:
    """`LLMService` in front of a provider that speaks OpenAI's chat."""

    def __init__(self, provider: Provider, folder: Path) -> None:
        pytest.importorskip("cachecore_llm", reason="cachecore-llm is not installed: make test")
        from cachecore.store.memory_backend import MemoryBackend
        from cachecore_llm import LLMService, ResponseCache
        from tests.llm.flow.scripted import Scripted, completion

        def body(call: Any) -> Any:
            if call.protocol == "openai.embeddings":
                vectors = enumerate(provider.vectors(call.body["input"]))
                data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in vectors]
                return {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
            text = provider.text()
            provider.entered.set()
            return completion(text, provider.ends)

        self.provider = provider
        self.upstream = Scripted(body)
        self.store = MemoryBackend()
        self.service = LLMService(self.upstream, ResponseCache(self.store))

    async def ask(self, messages: Messages, **params: Any) -> str:
        return (await self.service.chat(messages, **params)).content

    async def stream(self, messages: Messages) -> str:
        return (await (await self.service.chat(messages, stream=True)).response()).content

    async def ask_held(self, messages: Messages) -> str:
        self.upstream.gate = self.provider.gate
        return await self.ask(messages)

    async def embed(self, texts: list[str]) -> None:
        await self.service.embed(texts, model="m")

    def break_store(self) -> None:
        from cachecore import BackendError

        async def unreachable(*args: Any, **kwargs: Any) -> Any:
            raise BackendError("get_many", transient=True)

        vars(self.store).update(get_many=unreachable, set_many=unreachable)

    def close(self) -> None:
        pass


CACHES: dict[str, Callable[[Provider, Path], Any]] = {
    "LiteLLM": LiteLLM,
    "LangChain": LangChain,
    "GPTCache": GPTCache,
    "cachecore": Cachecore,
}
"""By the heads of the table."""
