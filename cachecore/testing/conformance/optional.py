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
from cachecore.testing.conformance.harness import Harness, holds, registered, same


async def _listed(backend: SupportsScan, prefix: str) -> list[str]:
    return [key async for page in backend.scan(prefix) for key in page]


@registered
async def check_scan_finds_live_keys_by_prefix(harness: Harness) -> None:
    """Scan yields every live key that starts with the prefix, taken literally, and no other."""
    backend = harness.backend
    if not isinstance(backend, SupportsScan):
        return
    wanted = {f"p:e:{i}" for i in range(700)} | {"p:e:*", "p:e:["}
    others = {"p:s:1", "P:e:1", "xp:e:1", "p*e:1"}
    await backend.set_many(dict.fromkeys(wanted | others, b"v"), ttl=60)
    await backend.set_many({"p:e:dead": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    found = set(await _listed(backend, "p:e:"))
    same(sorted(wanted - found), [], "scan yields every live key with the prefix; these are missing")
    same(sorted(found - wanted), [], "scan yields live keys with the prefix and no others; these are more")
    same(await _listed(backend, "none:"), [], "scan of a prefix that no key has yields nothing")
    same(set(await _listed(backend, "p:e:*")), {"p:e:*"}, "scan takes its prefix literally")


@registered
async def check_scan_by_any_part_of_a_key(harness: Harness) -> None:
    """A prefix may end anywhere: within a part, at a whole key, before the first character; _ and % are characters."""
    backend = harness.backend
    if not isinstance(backend, SupportsScan):
        return
    keys = {"p", "p:", "p:e", "p:e:faq", "p:e:faq:1", "p:e:fax", "p:e:f_q", "p:e:f%q", "p:e:f~", "q", "~"}
    await backend.set_many(dict.fromkeys(keys, b"v"), ttl=60)
    for prefix in ("", "p", "p:", "p:e:fa", "p:e:faq", "p:e:faq:1", "p:e:f_", "p:e:f%", "p:e:f~", "~"):
        found = sorted(set(await _listed(backend, prefix)))
        same(found, sorted(key for key in keys if key.startswith(prefix)), f"scan({prefix!r}) finds its keys")


@registered
async def check_deleting_while_scanning(harness: Harness) -> None:
    """Deleting each page as it comes leaves nothing, and counts every key once."""
    if not isinstance(harness.backend, SupportsScan):
        return
    await harness.backend.set_many({f"p:{i}": b"v" for i in range(2000)}, ttl=60)
    deleted = 0
    async for page in harness.backend.scan("p:"):
        deleted += await harness.backend.delete_many(page)
    same(deleted, 2000, "deleting the pages of a scan as they come deletes every key once")


@registered
async def check_sizes_are_lengths_of_live_values(harness: Harness) -> None:
    """Sizes follow the keys asked, duplicates included; a missing, dead or empty value is 0 bytes long."""
    if not isinstance(harness.backend, SupportsSizes):
        return
    await harness.backend.set_many({"a": b"1234", "empty": b"", "large": b"\xff" * 100_000}, ttl=60)
    await harness.backend.set_many({"dead": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    got = await harness.backend.sizes(["large", "none", "a", "dead", "empty", "a"])
    same(got, [100_000, 0, 4, 0, 0, 4], "sizes are the lengths of live values in the order of the keys")
    same(await harness.backend.sizes([]), [], "sizes of no keys is an empty list")


@registered
async def check_store_clock_is_near(harness: Harness) -> None:
    """The store's clock is Unix seconds and does not stand still."""
    if not isinstance(harness.backend, SupportsTime):
        return
    before = await harness.backend.time()
    await harness.advance(0.05)
    after = await harness.backend.time()
    holds(1_600_000_000 < before < 16_000_000_000, f"the store's clock is Unix seconds, not {before!r}")
    holds(before < after < before + 60, f"the store's clock goes on by what has passed: {before!r}, then {after!r}")


@registered
async def check_touch_changes_nothing(harness: Harness) -> None:
    """Touching leaves values and deadlines as they are, makes no key, and takes any number of keys."""
    backend = harness.backend
    if not isinstance(backend, SupportsTouch):
        return
    await backend.set_many({f"k{i}": b"v" for i in range(1500)}, ttl=60)
    await backend.set_many({"brief": b"v"}, ttl=0.3)
    await backend.touch([])
    await backend.touch(["missing", "brief", "k0", "k0", *(f"k{i}" for i in range(1500))])
    got = await backend.get_many(["missing", "k0", "k1499"])
    same(got, [None, b"v", b"v"], "touch makes no key and leaves values as they are")
    await harness.advance(0.4 + harness.ttl_rounding)
    same(await backend.get_many(["brief", "k0"]), [None, b"v"], "touch leaves deadlines as they are")


@registered
async def check_extending_never_shortens(harness: Harness) -> None:
    """A later end stays, and so does none; an earlier one is moved, by no more than was asked for."""
    backend = harness.backend
    if not isinstance(backend, SupportsExtend):
        return
    await backend.set_many({"short": b"v", "gone": b"v"}, ttl=1.5)
    await backend.set_many({"long": b"v"}, ttl=60)
    await backend.set_many({"ever": b"v"}, ttl=None)
    got = await backend.extend({"long": b"v", "ever": b"v", "short": b"v"}, ttl=4.0)
    same(got, [True, True, True], "extend says of each key that it has the value given")
    same(await backend.extend({}, ttl=1), [], "extend of no keys returns an empty list")
    await harness.advance(1.6 + harness.ttl_rounding)
    values = await backend.get_many(["short", "gone", "long", "ever"])
    same(values, [b"v", None, b"v", b"v"], "extend moves an earlier end, of the keys given alone")
    await harness.advance(2.6)
    values = await backend.get_many(["short", "long", "ever"])
    same(values, [None, b"v", b"v"], "extend moves an end no further than asked, and never back")


@registered
async def check_extending_for_ever(harness: Harness) -> None:
    """A ttl of None takes the end away."""
    backend = harness.backend
    if not isinstance(backend, SupportsExtend):
        return
    await backend.set_many({"k": b"v"}, ttl=1.5)
    same(await backend.extend({"k": b"v"}, ttl=None), [True], "extend with ttl=None takes a value that is there")
    await harness.advance(1.6 + harness.ttl_rounding)
    same(await backend.get_many(["k"]), [b"v"], "extend with ttl=None takes the end away")


@registered
async def check_extending_tells_whose_value_it_is(harness: Harness) -> None:
    """Neither a missing key nor one with another value nor a dead one is made, changed or said to be there."""
    backend = harness.backend
    if not isinstance(backend, SupportsExtend):
        return
    await backend.set_many({"other": b"theirs", "same": b"v"}, ttl=60)
    await backend.set_many({"dead": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    got = await backend.extend({"missing": b"v", "same": b"v", "other": b"v", "dead": b"v"}, ttl=90)
    same(got, [False, True, False, False], "extend says which keys have the value given, in the order of the keys")
    values = await backend.get_many(["missing", "same", "other", "dead"])
    same(values, [None, b"v", b"theirs", None], "extend neither makes nor changes a value, nor brings a dead one back")


@registered
async def check_marks_only_rise(harness: Harness) -> None:
    """Each call gets a number of its own, one above the last; the value is that number in digits and stays."""
    backend = harness.backend
    if not isinstance(backend, SupportsMarks):
        return
    same(await backend.advance("p.m:"), 1, "a counter begins with 1")
    same(await backend.advance("p.m:"), 2, "a counter rises by one")
    same(await backend.advance("p.m:other"), 1, "each key has a counter of its own")
    same(await backend.get_many(["p.m:", "p.m:other"]), [b"2", b"1"], "the value of a counter is its number in digits")
    raised = await backend.swap("p.m:", b"2", b"1764460800000000", ttl=None)
    same(raised, True, "a counter can be swapped from its digits")
    numbers = await asyncio.gather(*(backend.advance("p.m:") for _ in range(50)))
    wanted = list(range(1764460800000001, 1764460800000051))
    same(sorted(numbers), wanted, "each of many calls at once gets a number of its own")
    await harness.advance(1.2)
    same(await backend.get_many(["p.m:"]), [b"1764460800000050"], "the value of a counter stays")


@registered
async def check_marks_begin_anew_over_what_is_no_number(harness: Harness) -> None:
    """A counter that was deleted or damaged counts as none: an invalidation never fails for it."""
    backend = harness.backend
    if not isinstance(backend, SupportsMarks):
        return
    for damaged in (b"", b"7x", b"\xff" * 16):
        await backend.set_many({"p.m:": damaged}, ttl=60)
        same(await backend.advance("p.m:"), 1, f"a counter begins anew over {damaged!r}")
        same(await backend.get_many(["p.m:"]), [b"1"], f"a counter that begins anew over {damaged!r} is written")
    same(await backend.delete_many(["p.m:"]), 1, "a counter is deleted and counted like any value")
    same(await backend.advance("p.m:"), 1, "a counter begins anew after it was deleted")


@registered
async def check_marks_go_on_from_what_is_there(harness: Harness) -> None:
    """A counter goes on from digits that were written under its key, unless they have ended."""
    backend = harness.backend
    if not isinstance(backend, SupportsMarks):
        return
    await backend.set_many({"p.m:": b"5"}, ttl=60)
    await backend.set_many({"p.m:dead": b"5"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    same(await backend.advance("p.m:"), 6, "a counter goes on from the digits that are there")
    same(await backend.advance("p.m:dead"), 1, "a counter whose digits have ended begins anew")


@registered
async def check_marks_follow_the_write_before_them(harness: Harness) -> None:
    """A number that is there proves that the write begun before it, in the same turn of the loop, is there too."""
    backend = harness.backend
    if not isinstance(backend, SupportsMarks):
        return
    for number in range(1, 21):
        value = b"%d" % number
        _, advanced = await asyncio.gather(backend.set_many({"p:k": value}, ttl=60), backend.advance("p.m:"))
        same(advanced, number, "a counter rises by one behind each write")
        got = await backend.get_many(["p:k", "p.m:"])
        same(got, [value, value], "a write and the counter behind it are both there")
