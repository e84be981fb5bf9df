"""Values under keys: read, written, deleted, each until its deadline."""

from __future__ import annotations

from cachecore.testing.conformance.harness import Harness, LeapingHarness, SharedHarness, holds, registered, same


@registered
async def check_missing_key_is_an_answer(harness: Harness) -> None:
    """Keys never written read as None, and deleting them deletes nothing."""
    same(await harness.backend.get_many(["k1", "k2"]), [None, None], "get_many returns None for keys never written")
    same(await harness.backend.delete_many(["k1", "k2"]), 0, "delete_many counts no key that is not there")


@registered
async def check_empty_calls_do_nothing(harness: Harness) -> None:
    """Calls about no keys succeed."""
    same(await harness.backend.get_many([]), [], "get_many of no keys returns an empty list")
    await harness.backend.set_many({}, ttl=5)
    same(await harness.backend.delete_many([]), 0, "delete_many of no keys returns 0")


@registered
async def check_values_come_back_in_the_order_asked(harness: Harness) -> None:
    """The answer follows the keys asked, duplicates and gaps included."""
    await harness.backend.set_many({"a": b"1", "b": b"2"}, ttl=60)
    got = await harness.backend.get_many(["b", "none", "a", "b"])
    same(got, [b"2", None, b"1", b"2"], "get_many follows the order of its keys, duplicates and gaps included")


@registered
async def check_values_are_exact_bytes(harness: Harness) -> None:
    """Every byte value, the empty value and a megabyte come back as they were written."""
    values = {"all": bytes(range(256)) * 2, "empty": b"", "large": b"\xff\x00\r\n" * 262_144}
    await harness.backend.set_many(values, ttl=60)
    for key, got in zip(values, await harness.backend.get_many(list(values)), strict=True):
        same(got, values[key], f"the value {key!r} comes back byte for byte")
        holds(type(got) is bytes, f"get_many returns bytes, not {type(got).__name__}")


@registered
async def check_large_batches_of_large_values(harness: Harness) -> None:
    """A batch of 18 MB is written and read in one call, whatever the store takes at once."""
    values = {f"k{number}": bytes([number]) * 1_500_000 for number in range(12)}
    await harness.backend.set_many(values, ttl=60)
    got = await harness.backend.get_many(list(values))
    same([value and value[:1] for value in got], [value[:1] for value in values.values()], "no value is lost")
    holds(got == list(values.values()), "the values of a large batch come back byte for byte")


@registered
async def check_keys_are_taken_literally(harness: Harness) -> None:
    """Glob characters, quotes, wildcards and 250 bytes of key are only characters; case counts."""
    keys = ["g*", "g?", "g[ab]", "ga", "g'\"`", "g\\", "g%", "g_", "G*", "x" * 250, "{1}:a b"]
    await harness.backend.set_many({key: key.encode() for key in keys}, ttl=60)
    same(await harness.backend.get_many(keys), [key.encode() for key in keys], "each key has a value of its own")
    same(await harness.backend.delete_many(["g*"]), 1, "delete_many takes a key with * literally")
    got = await harness.backend.get_many(["g*", "g?", "ga", "G*"])
    same(got, [None, b"g?", b"ga", b"G*"], "deleting 'g*' deletes that key alone")


@registered
async def check_keys_that_look_like_paths(harness: Harness) -> None:
    """Colons, slashes, dots and escapes have no meaning, and no key is in the way of a longer one."""
    keys = [
        "a",
        "a:b",
        "a:b:c",
        "a/b",
        "a//b",
        "a:",
        ":a",
        "::",
        "/",
        ".",
        "..",
        "a/../b",
        "a%3Ab",
        "a=3Ab",
        "a+",
        "a_",
    ]
    keys += ["A", "x" * 200, "x" * 201, "x" * 249 + ":", "~" * 250, "%" * 250, "a b", "a ", " "]
    await harness.backend.set_many({key: key.encode() for key in keys}, ttl=60)
    for key, got in zip(keys, await harness.backend.get_many(keys), strict=True):
        same(got, key.encode(), f"the key {key!r} has a value of its own")
    same(await harness.backend.delete_many(keys[::2]), len(keys[::2]), "each of these keys is deleted by itself")
    got_many = await harness.backend.get_many(keys[1::2])
    same(got_many, [key.encode() for key in keys[1::2]], "deleting keys leaves those that look alike")


@registered
async def check_set_replaces_the_value(harness: Harness) -> None:
    """A read returns the last write, longer or shorter than the one before."""
    for value in (b"old", b"new", b"a longer one", b""):
        await harness.backend.set_many({"k": value}, ttl=60)
        same(await harness.backend.get_many(["k"]), [value], "a read returns the last write")


@registered
async def check_a_read_sees_what_another_backend_wrote(harness: Harness) -> None:
    """A key that a backend has read before is read from the store again: another process may have changed it."""
    if not isinstance(harness, SharedHarness):
        return
    backend, other = harness.backend, await harness.another()
    keys = ["set", "deleted", "swapped", "swapped away", "made"]
    await backend.set_many(dict.fromkeys(keys[:4], b"old"), ttl=60)
    for reader in (backend, other):
        same(await reader.get_many(keys), [b"old"] * 4 + [None], "a backend reads what one of the two wrote")
    await other.set_many({"set": b"new"}, ttl=60)
    same(await other.delete_many(["deleted"]), 1, "delete_many counts a key that another backend wrote")
    same(await other.swap("swapped", b"old", b"new", ttl=60), True, "swap sees the value that another backend wrote")
    same(await other.swap("swapped away", b"old", None, ttl=None), True, "swap deletes what another backend wrote")
    same(await other.swap("made", None, b"new", ttl=60), True, "swap from None writes where there is nothing")
    got = await backend.get_many(keys)
    same(got, [b"new", None, b"new", None, b"new"], "a read sees what another backend wrote since the last read")
    same(await backend.swap("set", b"old", b"mine", ttl=60), False, "swap compares with what another backend wrote")


@registered
async def check_value_dies_at_its_deadline(harness: Harness) -> None:
    """A value is there before its ttl is over and gone after it."""
    await harness.backend.set_many({"short": b"s", "long": b"l"}, ttl=1.5)
    await harness.backend.set_many({"long": b"l"}, ttl=60)
    same(await harness.backend.get_many(["short", "long"]), [b"s", b"l"], "a value is there before its ttl is over")
    await harness.advance(1.6 + harness.ttl_rounding)
    same(await harness.backend.get_many(["short", "long"]), [None, b"l"], "a value is gone after its ttl")


@registered
async def check_set_keeps_fractions_of_a_second(harness: Harness) -> None:
    """A ttl of 0.3 s is stored, not refused, and does not become for ever."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.3)
    await harness.advance(0.5 + harness.ttl_rounding)
    same(await harness.backend.get_many(["k"]), [None], "a value with a ttl of 0.3 s is gone after 0.5 s")


@registered
async def check_smallest_ttl_is_accepted(harness: Harness) -> None:
    """A ttl under a millisecond is short, not an error and not for ever."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.0001)
    await harness.advance(0.1 + harness.ttl_rounding)
    same(await harness.backend.get_many(["k"]), [None], "a value with a ttl of 0.1 ms is gone after 0.1 s")


@registered
async def check_longest_ttl_is_accepted(harness: Harness) -> None:
    """A ttl of a thousand years is stored."""
    await harness.backend.set_many({"k": b"v"}, ttl=1000 * 365 * 86400.0)
    same(await harness.backend.get_many(["k"]), [b"v"], "a value with a ttl of a thousand years is there")
    holds(await harness.backend.swap("k", b"v", b"w", ttl=1000 * 365 * 86400.0), "swap takes a ttl of a thousand years")


@registered
async def check_no_end_and_long_ends_are_kept(harness: Harness) -> None:
    """A value without an end is there after a year, and one of 400 days until its end: neither has the store's own."""
    if not isinstance(harness, LeapingHarness):
        return
    day, keys = 86_400.0, ["ever", "swapped", "long"]
    await harness.backend.set_many({"ever": b"v"}, ttl=None)
    same(await harness.backend.swap("swapped", None, b"v", ttl=None), True, "swap from None writes where nothing is")
    await harness.backend.set_many({"long": b"v"}, ttl=400 * day)
    await harness.leap(365 * day)
    got = await harness.backend.get_many(keys)
    same(got, [b"v"] * 3, "values with ttl=None and with a ttl of 400 days are there after a year")
    await harness.leap(36 * day)
    got = await harness.backend.get_many(keys)
    same(got, [b"v", b"v", None], "a value with a ttl of 400 days is gone after 401, one with ttl=None is not")


@registered
async def check_set_replaces_the_deadline(harness: Harness) -> None:
    """A second set counts its ttl from itself, and None takes the deadline away."""
    await harness.backend.set_many({"k": b"old", "ever": b"old"}, ttl=0.3)
    await harness.backend.set_many({"k": b"new"}, ttl=60)
    await harness.backend.set_many({"ever": b"new"}, ttl=None)
    await harness.advance(0.4 + harness.ttl_rounding)
    got = await harness.backend.get_many(["k", "ever"])
    same(got, [b"new", b"new"], "a second set has its own deadline, and with ttl=None none")


@registered
async def check_reading_does_not_prolong(harness: Harness) -> None:
    """A value that is read often dies at its deadline all the same."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.3)
    for _ in range(4):
        await harness.advance((0.4 + harness.ttl_rounding) / 4)
        await harness.backend.get_many(["k"])
    same(await harness.backend.get_many(["k"]), [None], "reading a value does not move its deadline")


@registered
async def check_delete_counts_what_existed(harness: Harness) -> None:
    """Deleting counts each existing key once, and expired keys not at all."""
    await harness.backend.set_many({"a": b"1", "b": b"2"}, ttl=60)
    await harness.backend.set_many({"dead": b"3"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    deleted = await harness.backend.delete_many(["a", "b", "a", "none", "dead"])
    same(deleted, 2, "delete_many counts each live key once, missing and dead ones not at all")
    same(await harness.backend.get_many(["a", "b"]), [None, None], "deleted keys are gone")
    same(await harness.backend.delete_many(["a", "b"]), 0, "a key that was deleted is not counted again")
