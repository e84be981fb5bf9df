"""`swap`: compared and written in one step."""

from __future__ import annotations

import asyncio

from cachecore.testing.conformance.harness import Harness, registered

_FEED_SECONDS = 10.0


@registered
async def check_swap_writes_only_over_what_was_expected(harness: Harness) -> None:
    """Swap succeeds on the expected value, absent included, and changes nothing otherwise."""
    backend = harness.backend
    assert await backend.swap("k", None, b"one", ttl=60)
    assert not await backend.swap("k", None, b"two", ttl=60)
    assert not await backend.swap("k", b"other", b"two", ttl=60)
    assert await backend.get_many(["k"]) == [b"one"]
    assert await backend.swap("k", b"one", b"two", ttl=60)
    assert await backend.get_many(["k"]) == [b"two"]


@registered
async def check_swap_deletes(harness: Harness) -> None:
    """Swap to None deletes the expected value only; absent to None succeeds."""
    backend = harness.backend
    await backend.set_many({"k": b"v"}, ttl=60)
    assert not await backend.swap("k", b"other", None, ttl=None)
    assert await backend.get_many(["k"]) == [b"v"]
    assert await backend.swap("k", b"v", None, ttl=None)
    assert await backend.get_many(["k"]) == [None]
    assert await backend.swap("k", None, None, ttl=None)
    assert not await backend.swap("k", b"v", None, ttl=None)


@registered
async def check_swap_tells_empty_from_absent(harness: Harness) -> None:
    """An empty value is a value."""
    backend = harness.backend
    await backend.set_many({"k": b""}, ttl=60)
    assert not await backend.swap("k", None, b"x", ttl=60)
    assert await backend.swap("k", b"", b"x", ttl=60)
    assert not await backend.swap("none", b"", b"x", ttl=60)


@registered
async def check_swap_sets_the_deadline(harness: Harness) -> None:
    """The new value of a swap lives for the swap's own ttl, shorter or longer than before."""
    backend = harness.backend
    await backend.set_many({"a": b"1", "b": b"1"}, ttl=0.5)
    assert await backend.swap("a", b"1", b"2", ttl=60)
    assert await backend.swap("b", b"1", b"1", ttl=None)
    assert await backend.swap("c", None, b"3", ttl=0.3)
    await harness.advance(0.6 + harness.ttl_rounding)
    assert await backend.get_many(["a", "b", "c"]) == [b"2", b"1", None]


@registered
async def check_swap_sees_an_expired_key_as_absent(harness: Harness) -> None:
    """A dead value can be replaced as absent, and not as itself."""
    backend = harness.backend
    await backend.set_many({"k": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    assert not await backend.swap("k", b"v", b"w", ttl=60)
    assert await backend.swap("k", None, b"w", ttl=60)


@registered
async def check_swap_has_one_winner(harness: Harness) -> None:
    """Of many swaps at once from one value, exactly one succeeds."""
    backend = harness.backend
    for round_ in range(5):
        key = f"k{round_}"
        won = await asyncio.gather(*(backend.swap(key, None, b"%d" % i, ttl=60) for i in range(20)))
        assert sum(won) == 1
        assert await backend.get_many([key]) == [b"%d" % won.index(True)]


@registered
async def check_swap_of_large_values(harness: Harness) -> None:
    """Swap compares and writes whole values, however large."""
    old, new = b"o" * 1_000_000, b"n" * 1_000_000
    await harness.backend.set_many({"k": old}, ttl=60)
    assert not await harness.backend.swap("k", old[:-1] + b"x", new, ttl=60)
    assert await harness.backend.swap("k", old, new, ttl=60)
    assert await harness.backend.get_many(["k"]) == [new]
