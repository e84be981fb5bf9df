"""What adapters share, without any framework: the slot and its forms, and the HTTP of cached responses."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, Computed, Lookup, SyncCache
from cachecore_frameworks._atomic import add, change
from cachecore_frameworks._form import Form, broken_off
from cachecore_frameworks._http import headers_of_304, headers_of_answer, may_be_stored, personal
from cachecore_frameworks._slot import Slot


def _number(stored: Any) -> int:
    (number,) = stored
    return int(number)


NUMBERS = Form(plain=lambda number: [str(number)], made=_number, whole=lambda number: number >= 0)
"""Numbers as texts; negative ones are not kept."""
FOREIGN: list[Any] = ["", 5, None, [], ["x"], {"a": 1}]


@pytest.mark.parametrize("stored", FOREIGN, ids=repr)
def test_a_form_reads_its_own_data_only(stored: Any) -> None:
    assert NUMBERS.read(["7"]) == 7
    assert NUMBERS.read(stored) is None


@pytest.mark.parametrize("stored", FOREIGN, ids=repr)
async def test_an_entry_of_another_form_is_no_answer_and_is_replaced(stored: Any) -> None:
    async with Cache("memory://", ttl=60) as cache:
        slot = Slot(cache, "numbers", NUMBERS)
        for look, put in ((slot.get, slot.put), (slot.look, slot.put)):
            slot.sync_cache.set("q", stored)
            assert look("q") is None
            put("q", 3)
            assert look("q") == 3
        await slot.cache.set("q", stored)
        assert await slot.aget("q") is None
        await slot.aput("q", 4)
        assert await slot.aget("q") == 4
        slot.close()


@pytest.mark.parametrize("stored", FOREIGN, ids=repr)
async def test_an_entry_of_another_form_is_computed_once_for_all(stored: Any) -> None:
    async with Cache("memory://", ttl=60) as cache:
        slot = Slot(cache, "numbers", NUMBERS)
        asked: list[int] = []
        await slot.cache.set("q", stored)

        async def ask() -> int:
            asked.append(1)
            await asyncio.sleep(0)
            return 7

        assert await asyncio.gather(*(slot.aanswer("q", ask) for _ in range(3))) == [7] * 3
        assert await slot.aanswer("q", ask) == 7
        assert slot.answer("q", lambda: 8) == 7
        assert 1 <= len(asked) <= 2  # a caller that came while the refresh ran shares the next one
        slot.close()


def test_an_answer_that_is_not_kept_is_handed_out() -> None:
    slot = Slot("memory://", "numbers", NUMBERS, ttl=60)
    assert [slot.answer("q", lambda: -1), slot.answer("q", lambda: -2)] == [-1, -2]
    assert slot.answer("q", lambda: 3) == slot.answer("q", lambda: 4) == 3
    slot.close()


def test_an_answer_that_is_not_kept_gives_its_claim_back() -> None:
    slot = Slot("memory://", "numbers", NUMBERS, ttl=60)
    assert slot.get("q") is None
    slot.put("q", -1)
    with ThreadPoolExecutor(1) as pool:  # waits for no claim of this thread
        assert pool.submit(slot.get, "q").result(20) is None
    slot.close()


def test_tags_are_cleared_apart() -> None:
    slot = Slot("memory://", "numbers", ttl=60)
    slot.sync_cache.set_many({"a": 1}, tags=["one"])
    slot.sync_cache.set_many({"b": 2}, tags=["two"])
    slot.clear(["one"])
    assert (slot.look("a"), slot.look("b")) == (None, 2)
    slot.clear()
    assert slot.look("b") is None
    slot.close()


@pytest.mark.parametrize("first", [True, False], ids=["from the store", "from memory"])
def test_many_are_looked_at_together(first: bool, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/c.db?timeout=20s"
    writer = Slot(address, "numbers", NUMBERS, ttl=60, write_timeout=20)
    writer.sync_cache.set_many({"a": ["1"], "b": ["2"], "other": 5})
    slot = Slot(address, "numbers", NUMBERS, ttl=60) if first else writer
    assert slot.look_many({1: "a", 2: "missing", 3: "b"}) == {1: 1, 3: 2}
    assert slot.look_many({"x": "a", "y": "other"}) == {"x": 1}
    assert slot.look_many({}) == {}
    slot.close()
    writer.close()


def test_reasons_to_break_off() -> None:
    assert broken_off({"finish_reason": "MAX_TOKENS"}, ["finish_reason"])
    assert not broken_off({"finish_reason": "stop", "other": "length"}, ["finish_reason"])
    assert not broken_off(None, ["finish_reason"])


def test_change_sees_the_value_that_is_there_and_may_leave_it() -> None:
    with SyncCache("memory://", ttl=60) as cache:
        assert add(cache, "n", 1, ttl=60)
        assert not add(cache, "n", 2, ttl=60)
        assert change(cache, "n", lambda known: None) is None

        def next_number(known: Lookup[Any]) -> Computed[Any]:
            return Computed((known.value or 0) + 1, ttl=60)

        new = change(cache, "n", next_number)
        assert new is not None
        assert (new.value, cache.get("n")) == (2, 2)
        assert add(cache, "short", 1, ttl=0)
        assert cache.get("short") is None


def test_responses_of_all_callers_are_stored() -> None:
    assert may_be_stored(200, {"cache-control": "max-age=5"})
    assert not any(may_be_stored(status, {}) for status in (201, 204, 206, 301, 304, 404, 500))
    for control in ("no-store", "private, max-age=5", "No-Cache"):
        assert not may_be_stored(200, {"cache-control": control})
    assert not may_be_stored(200, {"set-cookie": "a=1"})
    assert personal({"cookie": "a=1"})
    assert personal({"authorization": "k"})
    assert not personal({"accept": "*/*"})


def test_headers_of_an_answer_and_of_its_304() -> None:
    headers = headers_of_answer(b"body", ttl=60.9, vary=["accept", "x-a"], private=True)
    assert headers["cache-control"] == "private, max-age=60"
    assert headers["vary"] == "accept, x-a"
    assert headers["etag"].startswith('W/"')
    assert headers["etag"] != headers_of_answer(b"other", ttl=60, vary=[], private=True)["etag"]
    tag = headers["etag"]
    for sent in (tag, tag.removeprefix("W/"), f'"a", {tag}', "*"):
        assert headers_of_304(sent, {**headers, "content-length": "4"}) == headers
    assert headers_of_304('"a"', headers) is None
    assert headers_of_304("*", {}) is None
