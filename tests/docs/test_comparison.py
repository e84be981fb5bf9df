"""The measured table of docs/comparison.md: each cell is found out here, from the libraries that are installed."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import re
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cachecore import SyncCache
from tests.docs.pages import DOCS, ROOT
from tests.docs.tables import cells

CALLERS = 8
Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]


def peers(folder: Path) -> dict[str, Decorate]:
    """Return how each library that is installed caches a function without arguments of its own but a ttl or a size."""
    import cachetools

    found: dict[str, Decorate] = {
        "lru_cache": functools.lru_cache,
        "cachetools": lambda f: cachetools.cached(cachetools.TTLCache(100, 60), lock=threading.Lock())(f),
        "cachecore": SyncCache[Any]("memory://", ttl=60).cached,
    }
    if importlib.util.find_spec("diskcache"):
        import diskcache

        found["diskcache"] = lambda f: diskcache.Cache(str(folder)).memoize(name="f")(f)
    if importlib.util.find_spec("dogpile"):
        from dogpile.cache import make_region

        found["dogpile"] = lambda f: make_region().configure("dogpile.cache.memory").cache_on_arguments()(f)
    if importlib.util.find_spec("cashews"):
        import cashews

        memory = cashews.Cache()
        memory.setup("mem://")
        found["cashews"] = lambda f: awaited(memory(ttl="1m")(coroutine(f)))
    if importlib.util.find_spec("aiocache"):
        import aiocache

        found["aiocache"] = lambda f: awaited(aiocache.cached(ttl=60)(coroutine(f)))
    return found


def coroutine(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def called(q: Any) -> Any:
        return await asyncio.to_thread(function, q)

    return called


def awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` for threads that call it together; all calls run in one event loop."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    def call(q: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(function(q), loop).result(60)

    return call


def shares_one_call(decorate: Decorate) -> bool:
    calls, entered, let_go = [], threading.Event(), threading.Event()

    def slow(q: str) -> str:
        calls.append(q)
        entered.set()
        assert let_go.wait(60)
        return "answer"

    cached = decorate(slow)
    threads = [threading.Thread(target=cached, args=("q",)) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    assert entered.wait(60)
    limit = time.monotonic() + 2
    while (
        len(calls) == 1 and time.monotonic() < limit
    ):  # a second call is waited for; nothing tells that none will come
        time.sleep(0.01)
    let_go.set()
    for thread in threads:
        thread.join(60)
    return len(calls) == 1


def gives_copies(decorate: Decorate) -> bool:
    def answer(q: str) -> dict[str, list[int]]:
        return {"a": [1]}

    cached = decorate(answer)
    cached("q")["a"].append(2)
    return bool(cached("q") == {"a": [1]})


def tells_types_apart(decorate: Decorate) -> bool:
    def kind(q: object) -> str:
        return type(q).__name__

    cached = decorate(kind)
    return [cached(one) for one in (1, 1.0, True)] == ["int", "float", "bool"]


def keys_containers(decorate: Decorate) -> bool:
    def first(q: list[int]) -> int:
        return q[0]

    cached = decorate(first)
    try:
        return [cached([1]), cached([2])] == [1, 2]
    except TypeError:
        return False


ROWS: dict[str, Callable[[Decorate], bool]] = {
    "callers at the same time share one call": shares_one_call,
    "a caller that changes its answer changes no other's": gives_copies,
    "`1`, `1.0` and `True` are three requests": tells_types_apart,
    "lists and dicts are arguments": keys_containers,
}


def table() -> dict[str, dict[str, str]]:
    return cells(DOCS / "comparison.md", "measured")


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_table_says_what_the_libraries_do(row: str, tmp_path: Path) -> None:
    said = table()[row]
    for library, decorate in peers(tmp_path).items():
        assert said[library] == ("yes" if ROWS[row](decorate) else "no"), library


def test_every_row_is_measured() -> None:
    assert table().keys() == ROWS.keys()


def test_the_tests_and_figures_that_cells_name_are_there() -> None:
    page = (DOCS / "comparison.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|benchmarks)/[^`]+)`", page)
    assert len(named) >= 8
    for path in named:
        assert (ROOT / path).exists(), path


def test_each_documented_cell_has_its_source() -> None:
    """Here a test or a file that exists; for the others a link, or the sign that nothing was found."""
    rows = cells(DOCS / "comparison.md", "feature")
    assert len(rows) > 5
    for row in rows.values():
        has_sources(row.pop("here"), row)


def test_each_documented_cell_on_caches_of_model_calls_has_its_source() -> None:
    rows = cells(DOCS / "comparison.md", "documented")
    assert len(rows) > 5
    for row in rows.values():
        has_sources(row.pop("cachecore"), row)


def has_sources(here: str, others: dict[str, str]) -> None:
    named = re.findall(r"`((?:tests/|pyproject)[^`]+)`", here)
    assert named, here
    assert all((ROOT / path).exists() for path in named), here
    for cell in others.values():
        assert "](https://" in cell or cell == "–", cell
