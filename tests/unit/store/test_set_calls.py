"""The calls of a `set`: each is one call of the guard, and an error is that of the whole call or of one part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cachecore.contract.errors import BackendError, BackendUnavailable
from cachecore.contract.futures import InlineFuture
from cachecore.store.joined import joined
from cachecore.store.memory_backend import MemoryBackend
from cachecore.store.set_calls import SetCalls, set_calls_of
from tests.unit.store.guarded import Guarded

KEYS = ["k:a", "k:b"]
STAMPS = ["s:1", "s:2", "s:3"]


class Refusing(MemoryBackend):
    """A store in which one operation fails."""

    def __init__(self, operation: str, *, transient: bool, reason: str) -> None:
        super().__init__()
        self._refused = operation
        self._error = BackendError(operation, transient=transient, reason=reason)

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        if self._refused == "sizes":
            raise self._error
        return await super().sizes(keys)

    async def advance(self, key: str) -> int:
        if self._refused == "advance":
            raise self._error
        return await super().advance(key)


def of(inner: Any = None) -> tuple[Guarded, SetCalls]:
    made = Guarded(inner)
    calls = set_calls_of(made.guard.explicit, made.store, made.seen)
    assert calls is not None
    return made, calls


async def looked(calls: SetCalls) -> tuple[list[Any], list[bytes | None], BackendError | None]:
    """Return the lengths told, the stamps and the error of a look at `KEYS` and `STAMPS`."""
    told: list[Any] = []
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    calls.look(KEYS, told.append, STAMPS, lambda values, error: answer.set_result((values, error)))
    values, error = await answer
    return told, values, error


async def test_a_look_tells_lengths_and_values_and_counts_as_one_call() -> None:
    made, calls = of()
    await made.guard.set_many({"k:a": b"long", "s:2": b"2"}, ttl=None)
    made.seen.calls.clear()
    assert await looked(calls) == ([[4, 0]], [None, b"2", None], None)
    assert made.seen.calls == ["get_many"]
    assert made.guard.under_way == 0


async def test_what_another_program_keeps_has_no_length_and_the_stamps_are_read_all_the_same() -> None:
    made, calls = of(Refusing("sizes", transient=False, reason="wrong_type"))
    await made.guard.set_many({"s:2": b"2"}, ttl=None)
    (told,), values, error = await looked(calls)
    assert isinstance(told, BackendError)
    assert (values, error) == ([None, b"2", None], None)


async def test_a_store_that_fails_to_tell_lengths_fails_the_look() -> None:
    made, calls = of(Refusing("sizes", transient=True, reason="reset"))
    told, values, error = await looked(calls)
    assert (told, values) == ([], [])
    assert error is not None
    assert error.reason == "reset"
    assert made.seen.errors == [("get_many", "reset")]


async def test_a_replacement_advances_the_counter_and_counts_as_one_call() -> None:
    made, calls = of()
    assert await calls.replace({"k:a": b"1", "k:b": b"2"}, "m", ttl=None) == 1
    assert await calls.replace({"k:a": b"3"}, "m", ttl=None) == 2
    assert made.seen.calls == ["set_many"] * 2
    assert await made.guard.get_many([*KEYS, "m"]) == [b"3", b"2", b"2"]


async def test_a_counter_that_finds_no_room_is_told_and_the_values_are_written() -> None:
    made, calls = of(Refusing("advance", transient=False, reason="full"))
    assert await calls.replace({"k:a": b"1"}, "m", ttl=None) is None
    assert await made.guard.get_many(["k:a"]) == [b"1"]
    assert made.seen.errors == [("advance", "full")]


async def test_any_other_error_of_the_counter_is_that_of_the_replacement() -> None:
    _, calls = of(Refusing("advance", transient=True, reason="reset"))
    with pytest.raises(BackendError) as caught:
        await calls.replace({"k:a": b"1"}, "m", ttl=None)
    assert caught.value.reason == "reset"


async def test_values_that_are_not_written_fail_the_replacement() -> None:
    made, calls = of()
    made.store.fail("set_many")
    with pytest.raises(BackendUnavailable):
        await calls.replace({"k:a": b"1"}, "m", ttl=None)


async def test_a_call_that_is_cancelled_ends_when_all_of_its_parts_have() -> None:
    loop = asyncio.get_running_loop()
    inline: InlineFuture[int] = InlineFuture(loop=loop)
    let_go, waits = asyncio.Event(), asyncio.Event()

    async def stubborn() -> int:
        try:
            await waits.wait()
        finally:
            await let_go.wait()
        return 1

    both = joined([lambda: inline, stubborn], lambda number, error: False)
    await asyncio.sleep(0)
    assert both.cancel()
    assert inline.cancelled()
    await asyncio.sleep(0)
    assert not both.done()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_what_the_second_call_raises_at_once_waits_for_the_first() -> None:
    loop = asyncio.get_running_loop()
    first: InlineFuture[int] = InlineFuture(loop=loop)

    def refuse() -> InlineFuture[int]:
        raise BackendUnavailable("advance", reason="closed")

    both = joined([lambda: first, refuse], lambda number, error: False)
    assert not both.done()
    first.set_result(1)
    with pytest.raises(BackendUnavailable):
        await both
