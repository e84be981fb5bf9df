"""`swap`: compared and written in one step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from cachecore.contract import SupportsScan, SupportsSizes
from cachecore.testing.conformance.harness import Harness, SharedHarness, holds, registered, same


@registered
async def check_swap_writes_only_over_what_was_expected(harness: Harness) -> None:
    """Swap succeeds on the expected value, absent included, and changes nothing otherwise."""
    backend = harness.backend
    same(await backend.swap("k", None, b"one", ttl=60), True, "swap from None writes where there is nothing")
    same(await backend.swap("k", None, b"two", ttl=60), False, "swap from None does not write over a value")
    same(await backend.swap("k", b"other", b"two", ttl=60), False, "swap does not write over another value than `old`")
    same(await backend.swap("k", b"ONE", b"two", ttl=60), False, "swap tells values apart that differ in case")
    same(await backend.get_many(["k"]), [b"one"], "a swap that returns False changes nothing")
    same(await backend.swap("k", b"one", b"two", ttl=60), True, "swap writes over the value that is `old`")
    same(await backend.get_many(["k"]), [b"two"], "a swap that returns True has written")


@registered
async def check_swap_deletes(harness: Harness) -> None:
    """Swap to None deletes the expected value only; absent to None succeeds."""
    backend = harness.backend
    await backend.set_many({"k": b"v"}, ttl=60)
    same(await backend.swap("k", b"other", None, ttl=None), False, "swap to None deletes no other value than `old`")
    same(await backend.get_many(["k"]), [b"v"], "a swap to None that returns False deletes nothing")
    same(await backend.swap("k", b"v", None, ttl=None), True, "swap to None deletes the value that is `old`")
    same(await backend.get_many(["k"]), [None], "a swap to None that returns True has deleted")
    same(await backend.swap("k", None, None, ttl=None), True, "swap from None to None succeeds where there is nothing")
    same(await backend.swap("k", b"v", None, ttl=None), False, "swap from a value fails where there is nothing")
    await backend.set_many({"k": b"v"}, ttl=60)
    same(await backend.swap("k", None, None, ttl=None), False, "swap from None to None fails where there is a value")


@registered
async def check_what_was_swapped_away_is_absent_everywhere(harness: Harness) -> None:
    """Whatever a store leaves under a key that a swap deleted: no call takes it for a value."""
    backend = harness.backend
    await backend.set_many({"p:gone": b"v", "p:there": b"v"}, ttl=60)
    same(await backend.swap("p:gone", b"v", None, ttl=None), True, "swap to None deletes the value that is `old`")
    if isinstance(backend, SupportsScan):
        listed = {key async for page in backend.scan("p:") for key in page}  # a scan may yield a key more than once
        same(listed, {"p:there"}, "scan does not yield a key that a swap deleted")
    if isinstance(backend, SupportsSizes):
        same(await backend.sizes(["p:gone"]), [0], "a key that a swap deleted is 0 bytes long")
    same(await backend.swap("p:gone", b"", b"w", ttl=60), False, "a key that a swap deleted holds no empty value")
    same(await backend.delete_many(["p:gone", "p:there"]), 1, "delete_many does not count a key that a swap deleted")
    same(await backend.swap("p:gone", None, b"w", ttl=60), True, "a key that a swap deleted can be written as absent")
    same(await backend.get_many(["p:gone"]), [b"w"], "a key that a swap deleted can be written again")


@registered
async def check_swap_tells_empty_from_absent(harness: Harness) -> None:
    """An empty value is a value."""
    backend = harness.backend
    await backend.set_many({"k": b""}, ttl=60)
    same(await backend.swap("k", None, b"x", ttl=60), False, "an empty value is not absent")
    same(await backend.swap("k", b"", b"x", ttl=60), True, "swap writes over an empty value that is `old`")
    same(await backend.swap("none", b"", b"x", ttl=60), False, "an absent key does not hold an empty value")
    same(await backend.swap("k", b"x", b"", ttl=60), True, "swap writes an empty value")
    same(await backend.get_many(["k", "none"]), [b"", None], "an empty value that a swap wrote is there")


@registered
async def check_swap_sets_the_deadline(harness: Harness) -> None:
    """The new value of a swap lives for the swap's own ttl, shorter or longer than before."""
    backend = harness.backend
    await backend.set_many({"a": b"1", "b": b"1"}, ttl=1.5)
    await backend.set_many({"d": b"1"}, ttl=60)
    same(await backend.swap("a", b"1", b"2", ttl=60), True, "swap writes over the value that is `old`")
    same(await backend.swap("b", b"1", b"1", ttl=None), True, "swap writes the same value with another deadline")
    same(await backend.swap("c", None, b"3", ttl=0.3), True, "swap from None writes where there is nothing")
    same(await backend.swap("d", b"1", b"2", ttl=0.3), True, "swap writes over the value that is `old`")
    await harness.advance(1.6 + harness.ttl_rounding)
    got = await backend.get_many(["a", "b", "c", "d"])
    same(got, [b"2", b"1", None, None], "the value of a swap lives for the ttl of that swap")


@registered
async def check_swap_sees_an_expired_key_as_absent(harness: Harness) -> None:
    """A dead value can be replaced as absent, and not as itself."""
    backend = harness.backend
    await backend.set_many({"k": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    same(await backend.swap("k", b"v", b"w", ttl=60), False, "a dead value is not `old`")
    same(await backend.swap("k", b"v", None, ttl=None), False, "a dead value is not deleted as itself")
    same(await backend.swap("k", None, b"w", ttl=60), True, "a dead value is written over as absent")
    same(await backend.get_many(["k"]), [b"w"], "a value that was swapped in over a dead one is there")


@registered
async def check_swap_has_one_winner(harness: Harness) -> None:
    """Of many swaps at once from one value, exactly one succeeds."""
    backend = harness.backend
    for round_ in range(5):
        key = f"k{round_}"
        won = await asyncio.gather(*(backend.swap(key, None, b"%d" % i, ttl=60) for i in range(20)))
        same(sum(won), 1, "of many swaps at once from one value, one succeeds")
        same(await backend.get_many([key]), [b"%d" % won.index(True)], "the value is that of the swap that succeeded")


@registered
async def check_swaps_of_two_backends_have_one_winner(harness: Harness) -> None:
    """Processes that share a store do not win one swap together, whether the key was absent or there."""
    if not isinstance(harness, SharedHarness):
        return
    backends = [harness.backend, await harness.another()]
    await asyncio.gather(*(backend.get_many(["k"]) for backend in backends))  # both are connected
    for round_ in range(10):
        for old in (None, b"old"):
            key = f"k{round_}{old!r}"
            if old is not None:
                await backends[0].set_many({key: old}, ttl=60)
            swaps = (backend.swap(key, old, b"%d" % i, ttl=60) for i, backend in enumerate(backends * 3))
            won = await asyncio.gather(*swaps)
            same(sum(won), 1, "of swaps at once by two backends from one value, one succeeds")
            got = await backends[1].get_many([key])
            same(got, [b"%d" % won.index(True)], "the value is that of the swap that succeeded")


@registered
async def check_swap_never_undoes_a_write_at_the_same_time(harness: Harness) -> None:
    """Whichever comes first, the value of a `set_many` beside a swap stays: after it, the swap finds another value."""
    backend = harness.backend
    for round_ in range(10):
        key = f"k{round_}"
        await backend.set_many({key: b"old"}, ttl=60)
        calls: list[Awaitable[object]]
        calls = [backend.swap(key, b"old", b"swapped", ttl=60), backend.set_many({key: b"set"}, ttl=60)]
        await asyncio.gather(*calls[:: 1 if round_ % 2 else -1])
        same(await backend.get_many([key]), [b"set"], "a swap does not undo a set_many that came between")
        calls = [backend.swap(key, b"set", b"swapped", ttl=60), backend.delete_many([key])]
        await asyncio.gather(*calls[:: 1 if round_ % 2 else -1])
        same(await backend.get_many([key]), [None], "a swap does not undo a delete_many that came between")


@registered
async def check_swap_of_large_values(harness: Harness) -> None:
    """Swap compares and writes whole values, however large."""
    old, new = b"o" * 1_000_000, b"n" * 1_000_000
    await harness.backend.set_many({"k": old}, ttl=60)
    different = old[:-1] + b"x"
    same(await harness.backend.swap("k", different, new, ttl=60), False, "swap compares the last byte of a megabyte")
    same(await harness.backend.swap("k", old, new, ttl=60), True, "swap writes a megabyte over a megabyte")
    holds(await harness.backend.get_many(["k"]) == [new], "a megabyte that was swapped in comes back byte for byte")
