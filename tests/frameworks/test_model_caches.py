"""The measured table of docs/comparison.md on caches of model calls: each cell is found out from what is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS
from tests.docs.tables import cells
from tests.frameworks.model_caches import CACHES, Messages, Provider

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries' own making

CALLERS = 8
EMBEDDINGS = "of a batch of texts only the new ones are embedded"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def asked(text: str = "Where is Bonn?", system: str = "Be short.") -> Messages:
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


async def shares_one_call(cache: Any, provider: Provider) -> bool:
    callers = [asyncio.create_task(cache.ask_held(asked())) for _ in range(CALLERS)]
    async with asyncio.timeout(30):
        await provider.entered.wait()
        for _ in range(1000):  # the others look into the cache meanwhile, and wait or call
            await asyncio.sleep(0)
        provider.gate.set()
        await asyncio.gather(*callers)
    return provider.calls == 1


async def leaves_out_what_was_cut(cache: Any, provider: Provider) -> bool:
    provider.ends = "length"
    return [await cache.ask(asked()) for _ in range(2)] == ["answer 1", "answer 2"]


async def leaves_out_failures(cache: Any, provider: Provider) -> bool:
    provider.error = ValueError("overloaded")
    with pytest.raises(Exception, match=r"overloaded|providers failed"):
        await cache.ask(asked())
    provider.error = None
    return bool(await cache.ask(asked()) == f"answer {provider.calls}")


async def has_one_entry_for_both(cache: Any, provider: Provider) -> bool:
    whole, streamed = await cache.ask(asked("one")), await cache.stream(asked("two"))
    return bool([await cache.stream(asked("one")), await cache.ask(asked("two"))] == [whole, streamed])


async def keeps_streams(cache: Any, provider: Provider) -> bool:
    return [await cache.stream(asked()) for _ in range(2)] == ["answer 1"] * 2


async def keys_system_prompts(cache: Any, provider: Provider) -> bool:
    return await cache.ask(asked()) != await cache.ask(asked(system="Be long."))


async def keys_tools(cache: Any, provider: Provider) -> bool:
    return await cache.ask(asked()) != await cache.ask(asked(), tools=[TOOL])


async def keys_users(cache: Any, provider: Provider) -> bool:
    return await cache.ask(asked(), user="ada") != await cache.ask(asked(), user="bob")


async def keeps_long_chats(cache: Any, provider: Provider) -> bool:
    chat = [{"role": "user" if at % 2 == 0 else "assistant", "content": str(at)} for at in range(9)]
    return [await cache.ask(chat) for _ in range(2)] == ["answer 1"] * 2


async def survives_its_store(cache: Any, provider: Provider) -> bool:
    cache.break_store()
    try:
        return bool(await cache.ask(asked()) == "answer 1")
    except ConnectionError:
        return False


async def asks_for_missing_embeddings(cache: Any, provider: Provider) -> bool:
    await cache.embed(["a", "b"])
    await cache.embed(["b", "c", "a"])
    return provider.embedded == ["a", "b", "c"]


ROWS: dict[str, Callable[[Any, Provider], Awaitable[bool]]] = {
    "equal calls at once share one provider call": shares_one_call,
    "an answer that was cut (`length`) is not stored": leaves_out_what_was_cut,
    "a failed call is not stored": leaves_out_failures,
    "a second stream is answered from the first": keeps_streams,
    "one entry serves a stream and a whole answer": has_one_entry_for_both,
    "another system prompt has an answer of its own": keys_system_prompts,
    "other tools have an answer of their own": keys_tools,
    "another `user` has an answer of its own": keys_users,
    "a chat of nine messages is cached": keeps_long_chats,
    EMBEDDINGS: asks_for_missing_embeddings,
    "a store that fails costs a call, and no error": survives_its_store,
}


def table() -> dict[str, dict[str, str]]:
    return cells(DOCS / "comparison.md", "model calls")


@pytest.mark.parametrize("name", CACHES)
@pytest.mark.parametrize("row", ROWS)
async def test_the_table_says_what_the_caches_do(row: str, name: str, tmp_path: Path) -> None:
    provider = Provider()
    cache = CACHES[name](provider, tmp_path)
    if row == EMBEDDINGS and not hasattr(cache, "embed"):
        pytest.skip(f"the cache of {name} that is asked here takes no embeddings")
    try:
        found = await ROWS[row](cache, provider)
    finally:
        cache.close()
    assert table()[row][name] == ("yes" if found else "no")


def test_every_row_is_measured_and_every_other_cell_has_a_source() -> None:
    assert table().keys() == ROWS.keys()
    for row in table().values():
        assert row.keys() == CACHES.keys()
        assert all(cell in {"yes", "no", "–"} or "](https://" in cell for cell in row.values())
