"""Values under keys: read, written, deleted, each until its deadline."""

from __future__ import annotations

from cachecore.testing.conformance.harness import Harness, registered

_FEED_SECONDS = 10.0


@registered
async def check_missing_key_is_an_answer(harness: Harness) -> None:
    """Keys never written read as None, and deleting them deletes nothing."""
    assert await harness.backend.get_many(["k1", "k2"]) == [None, None]
    assert await harness.backend.delete_many(["k1", "k2"]) == 0


@registered
async def check_empty_calls_do_nothing(harness: Harness) -> None:
    """Calls about no keys succeed."""
    assert await harness.backend.get_many([]) == []
    await harness.backend.set_many({}, ttl=5)
    assert await harness.backend.delete_many([]) == 0


@registered
async def check_values_come_back_in_the_order_asked(harness: Harness) -> None:
    """The answer follows the keys asked, duplicates and gaps included."""
    await harness.backend.set_many({"a": b"1", "b": b"2"}, ttl=60)
    assert await harness.backend.get_many(["b", "none", "a", "b"]) == [b"2", None, b"1", b"2"]


@registered
async def check_values_are_exact_bytes(harness: Harness) -> None:
    """Every byte value, the empty value and a megabyte come back as they were written."""
    values = {"all": bytes(range(256)) * 2, "empty": b"", "large": b"\xff\x00\r\n" * 262_144}
    await harness.backend.set_many(values, ttl=60)
    got = await harness.backend.get_many(list(values))
    assert got == list(values.values())
    assert all(type(value) is bytes for value in got)


@registered
async def check_keys_are_taken_literally(harness: Harness) -> None:
    """Glob characters, quotes, wildcards and 250 bytes of key are only characters; case counts."""
    keys = ["g*", "g?", "g[ab]", "ga", "g'\"`", "g\\", "g%", "g_", "G*", "x" * 250, "{1}:a b"]
    await harness.backend.set_many({key: key.encode() for key in keys}, ttl=60)
    assert await harness.backend.get_many(keys) == [key.encode() for key in keys]
    assert await harness.backend.delete_many(["g*"]) == 1
    assert (await harness.backend.get_many(["g*", "g?", "ga", "G*"])) == [None, b"g?", b"ga", b"G*"]


@registered
async def check_set_replaces_the_value(harness: Harness) -> None:
    """A read returns the last write."""
    await harness.backend.set_many({"k": b"old"}, ttl=60)
    await harness.backend.set_many({"k": b"new"}, ttl=60)
    assert await harness.backend.get_many(["k"]) == [b"new"]


@registered
async def check_value_dies_at_its_deadline(harness: Harness) -> None:
    """A value is there before its ttl is over and gone after it."""
    await harness.backend.set_many({"short": b"s", "long": b"l"}, ttl=0.5)
    await harness.backend.set_many({"long": b"l"}, ttl=60)
    assert await harness.backend.get_many(["short", "long"]) == [b"s", b"l"]
    await harness.advance(0.6 + harness.ttl_rounding)
    assert await harness.backend.get_many(["short", "long"]) == [None, b"l"]


@registered
async def check_set_keeps_fractions_of_a_second(harness: Harness) -> None:
    """A ttl of 0.3 s is stored, not refused, and does not become for ever."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.3)
    await harness.advance(0.5 + harness.ttl_rounding)
    assert await harness.backend.get_many(["k"]) == [None]


@registered
async def check_smallest_ttl_is_accepted(harness: Harness) -> None:
    """A ttl under a millisecond is short, not an error and not for ever."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.0001)
    await harness.advance(0.1 + harness.ttl_rounding)
    assert await harness.backend.get_many(["k"]) == [None]


@registered
async def check_longest_ttl_is_accepted(harness: Harness) -> None:
    """A ttl of a thousand years is stored."""
    await harness.backend.set_many({"k": b"v"}, ttl=1000 * 365 * 86400.0)
    assert await harness.backend.get_many(["k"]) == [b"v"]


@registered
async def check_set_replaces_the_deadline(harness: Harness) -> None:
    """A second set counts its ttl from itself, and None takes the deadline away."""
    await harness.backend.set_many({"k": b"old", "ever": b"old"}, ttl=0.3)
    await harness.backend.set_many({"k": b"new"}, ttl=60)
    await harness.backend.set_many({"ever": b"new"}, ttl=None)
    await harness.advance(0.4 + harness.ttl_rounding)
    assert await harness.backend.get_many(["k", "ever"]) == [b"new", b"new"]


@registered
async def check_reading_does_not_prolong(harness: Harness) -> None:
    """A value that is read often dies at its deadline all the same."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.3)
    for _ in range(4):
        await harness.advance((0.4 + harness.ttl_rounding) / 4)
        await harness.backend.get_many(["k"])
    assert await harness.backend.get_many(["k"]) == [None]


@registered
async def check_delete_counts_what_existed(harness: Harness) -> None:
    """Deleting counts each existing key once, and expired keys not at all."""
    await harness.backend.set_many({"a": b"1", "b": b"2"}, ttl=60)
    await harness.backend.set_many({"dead": b"3"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    assert await harness.backend.delete_many(["a", "b", "a", "none", "dead"]) == 2
    assert await harness.backend.get_many(["a", "b"]) == [None, None]
