"""Checks of optional abilities: `scan`, `sizes`, the clock, `touch`, `extend`, marks."""

from __future__ import annotations

import asyncio

from cachecore.contract import (
    SupportsExtend,
    SupportsMarks,
    SupportsScan,
    SupportsSizes,
    SupportsTime,
    SupportsTouch,
)
from cachecore.testing.conformance.harness import Harness, registered

_FEED_SECONDS = 10.0


@registered
async def check_scan_finds_live_keys_by_prefix(harness: Harness) -> None:
    """Scan yields every live key that starts with the prefix, taken literally, and no other."""
    if not isinstance(harness.backend, SupportsScan):
        return
    wanted = {f"p:e:{i}" for i in range(700)} | {"p:e:*", "p:e:["}
    others = {"p:s:1", "P:e:1", "xp:e:1", "p*e:1"}
    await harness.backend.set_many(dict.fromkeys(wanted | others, b"v"), ttl=60)
    await harness.backend.set_many({"p:e:dead": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    pages = [list(page) async for page in harness.backend.scan("p:e:")]
    assert {key for page in pages for key in page} == wanted
    assert [page async for page in harness.backend.scan("none:")] in ([], [[]])
    literal = [key async for page in harness.backend.scan("p:e:*") for key in page]
    assert set(literal) == {"p:e:*"}


@registered
async def check_deleting_while_scanning(harness: Harness) -> None:
    """Deleting each page as it comes leaves nothing, and counts every key once."""
    if not isinstance(harness.backend, SupportsScan):
        return
    await harness.backend.set_many({f"p:{i}": b"v" for i in range(2000)}, ttl=60)
    deleted = 0
    async for page in harness.backend.scan("p:"):
        deleted += await harness.backend.delete_many(page)
    assert deleted == 2000


@registered
async def check_sizes_are_lengths_of_live_values(harness: Harness) -> None:
    """Sizes follow the keys asked, duplicates included; a missing, dead or empty value is 0 bytes long."""
    if not isinstance(harness.backend, SupportsSizes):
        return
    await harness.backend.set_many({"a": b"1234", "empty": b"", "large": b"\xff" * 100_000}, ttl=60)
    await harness.backend.set_many({"dead": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    assert await harness.backend.sizes(["large", "none", "a", "dead", "empty", "a"]) == [100_000, 0, 4, 0, 0, 4]
    assert await harness.backend.sizes([]) == []


@registered
async def check_store_clock_is_near(harness: Harness) -> None:
    """The store's clock is Unix seconds and does not stand still."""
    if not isinstance(harness.backend, SupportsTime):
        return
    before = await harness.backend.time()
    await harness.advance(0.05)
    after = await harness.backend.time()
    assert before > 1_600_000_000
    assert before < after < before + 60


@registered
async def check_touch_changes_nothing(harness: Harness) -> None:
    """Touching leaves values and deadlines as they are, makes no key, and takes any number of keys."""
    if not isinstance(harness.backend, SupportsTouch):
        return
    await harness.backend.set_many({f"k{i}": b"v" for i in range(1500)}, ttl=60)
    await harness.backend.set_many({"brief": b"v"}, ttl=0.3)
    await harness.backend.touch([])
    await harness.backend.touch(["missing", "brief", "k0", "k0", *(f"k{i}" for i in range(1500))])
    assert await harness.backend.get_many(["missing", "k0", "k1499"]) == [None, b"v", b"v"]
    await harness.advance(0.4 + harness.ttl_rounding)
    assert await harness.backend.get_many(["brief", "k0"]) == [None, b"v"]


@registered
async def check_extending_never_shortens(harness: Harness) -> None:
    """A later end stays, and so does none; an earlier one is moved, by no more than was asked for."""
    backend = harness.backend
    if not isinstance(backend, SupportsExtend):
        return
    await backend.set_many({"short": b"v", "gone": b"v"}, ttl=0.5)
    await backend.set_many({"long": b"v"}, ttl=60)
    await backend.set_many({"ever": b"v"}, ttl=None)
    assert await backend.extend({"long": b"v", "ever": b"v", "short": b"v"}, ttl=2.0) == [True, True, True]
    assert await backend.extend({}, ttl=1) == []
    await harness.advance(0.8 + harness.ttl_rounding)
    assert await backend.get_many(["short", "gone", "long", "ever"]) == [b"v", None, b"v", b"v"]
    await harness.advance(1.5)
    assert await backend.get_many(["short", "long", "ever"]) == [None, b"v", b"v"]


@registered
async def check_extending_for_ever(harness: Harness) -> None:
    """A ttl of None takes the end away."""
    backend = harness.backend
    if not isinstance(backend, SupportsExtend):
        return
    await backend.set_many({"k": b"v"}, ttl=0.3)
    assert await backend.extend({"k": b"v"}, ttl=None) == [True]
    await harness.advance(0.5 + harness.ttl_rounding)
    assert await backend.get_many(["k"]) == [b"v"]


@registered
async def check_extending_tells_whose_value_it_is(harness: Harness) -> None:
    """Neither a missing key nor one with another value is made, changed or said to be there."""
    backend = harness.backend
    if not isinstance(backend, SupportsExtend):
        return
    await backend.set_many({"other": b"theirs", "same": b"v"}, ttl=60)
    assert await backend.extend({"missing": b"v", "same": b"v", "other": b"v"}, ttl=90) == [False, True, False]
    assert await backend.get_many(["missing", "same", "other"]) == [None, b"v", b"theirs"]


@registered
async def check_marks_only_rise(harness: Harness) -> None:
    """Each call gets a number of its own, one above the last; the value is that number in digits and stays."""
    backend = harness.backend
    if not isinstance(backend, SupportsMarks):
        return
    assert await backend.advance("p.m:") == 1
    assert await backend.advance("p.m:") == 2
    assert await backend.advance("p.m:other") == 1
    assert await backend.get_many(["p.m:", "p.m:other"]) == [b"2", b"1"]
    assert await backend.swap("p.m:", b"2", b"1764460800000000", ttl=None)
    numbers = await asyncio.gather(*(backend.advance("p.m:") for _ in range(50)))
    assert sorted(numbers) == list(range(1764460800000001, 1764460800000051))
    await harness.advance(1.2)
    assert await backend.get_many(["p.m:"]) == [b"1764460800000050"]


@registered
async def check_marks_begin_anew_over_what_is_no_number(harness: Harness) -> None:
    """A counter that was deleted or damaged counts as none: an invalidation never fails for it."""
    backend = harness.backend
    if not isinstance(backend, SupportsMarks):
        return
    for damaged in (b"", b"7x", b"\xff" * 16):
        await backend.set_many({"p.m:": damaged}, ttl=60)
        assert await backend.advance("p.m:") == 1
        assert await backend.get_many(["p.m:"]) == [b"1"]
    assert await backend.delete_many(["p.m:"]) == 1
    assert await backend.advance("p.m:") == 1


@registered
async def check_marks_follow_the_write_before_them(harness: Harness) -> None:
    """A number that is there proves that the write begun before it, in the same turn of the loop, is there too."""
    backend = harness.backend
    if not isinstance(backend, SupportsMarks):
        return
    for number in range(1, 21):
        value = b"%d" % number
        _, advanced = await asyncio.gather(backend.set_many({"p:k": value}, ttl=60), backend.advance("p.m:"))
        assert advanced == number
        assert await backend.get_many(["p:k", "p.m:"]) == [value, value]
