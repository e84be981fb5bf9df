"""The contract of a backend as tests, for every backend and every wrapper, ours and yours.

    @pytest.mark.parametrize("check", conformance.CHECKS, ids=attrgetter("__name__"))
    async def test_my_backend_keeps_the_contract(check):
        async with my_harness() as harness:
            await check(harness)

A harness gives each check an empty store and a way to let time pass. No check asks which backend it has; what is
optional (`scan`, `time`, `feed`) is checked where it is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, runtime_checkable

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import (
    Alive,
    CacheBackend,
    Changed,
    FeedEvent,
    Flushed,
    Lost,
    SupportsFeed,
    SupportsScan,
    SupportsSizes,
    SupportsTime,
)

_FEED_SECONDS = 10.0


class Harness(Protocol):
    """What a backend's author gives the suite."""

    @property
    def backend(self) -> CacheBackend:
        """Return the store, empty when a check begins."""

    @property
    def ttl_rounding(self) -> float:
        """Return the seconds by which the store may round a ttl up; at most 1."""

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass for the store: a fake clock moved on, or a real wait."""


@runtime_checkable
class SharedHarness(Harness, Protocol):
    """A harness whose store can be reached by more than one backend, as by several processes."""

    async def another(self) -> CacheBackend:
        """Return a further backend on the same store, closed by the harness in the end."""


Check = Callable[[Harness], Awaitable[None]]

CHECKS: list[Check] = []


def _check(check: Check) -> Check:
    CHECKS.append(check)
    return check


@_check
async def check_missing_key_is_an_answer(harness: Harness) -> None:
    """Keys never written read as None, and deleting them deletes nothing."""
    assert await harness.backend.get_many(["k1", "k2"]) == [None, None]
    assert await harness.backend.delete_many(["k1", "k2"]) == 0


@_check
async def check_empty_calls_do_nothing(harness: Harness) -> None:
    """Calls about no keys succeed."""
    assert await harness.backend.get_many([]) == []
    await harness.backend.set_many({}, ttl=5)
    assert await harness.backend.delete_many([]) == 0


@_check
async def check_values_come_back_in_the_order_asked(harness: Harness) -> None:
    """The answer follows the keys asked, duplicates and gaps included."""
    await harness.backend.set_many({"a": b"1", "b": b"2"}, ttl=60)
    assert await harness.backend.get_many(["b", "none", "a", "b"]) == [b"2", None, b"1", b"2"]


@_check
async def check_values_are_exact_bytes(harness: Harness) -> None:
    """Every byte value, the empty value and a megabyte come back as they were written."""
    values = {"all": bytes(range(256)) * 2, "empty": b"", "large": b"\xff\x00\r\n" * 262_144}
    await harness.backend.set_many(values, ttl=60)
    got = await harness.backend.get_many(list(values))
    assert got == list(values.values())
    assert all(type(value) is bytes for value in got)


@_check
async def check_keys_are_taken_literally(harness: Harness) -> None:
    """Glob characters, quotes, wildcards and 250 bytes of key are only characters; case counts."""
    keys = ["g*", "g?", "g[ab]", "ga", "g'\"`", "g\\", "g%", "g_", "G*", "x" * 250, "{1}:a b"]
    await harness.backend.set_many({key: key.encode() for key in keys}, ttl=60)
    assert await harness.backend.get_many(keys) == [key.encode() for key in keys]
    assert await harness.backend.delete_many(["g*"]) == 1
    assert (await harness.backend.get_many(["g*", "g?", "ga", "G*"])) == [None, b"g?", b"ga", b"G*"]


@_check
async def check_set_replaces_the_value(harness: Harness) -> None:
    """The last write is what is read."""
    await harness.backend.set_many({"k": b"old"}, ttl=60)
    await harness.backend.set_many({"k": b"new"}, ttl=60)
    assert await harness.backend.get_many(["k"]) == [b"new"]


@_check
async def check_value_dies_at_its_deadline(harness: Harness) -> None:
    """A value is there before its ttl is over and gone after it."""
    await harness.backend.set_many({"short": b"s", "long": b"l"}, ttl=0.5)
    await harness.backend.set_many({"long": b"l"}, ttl=60)
    assert await harness.backend.get_many(["short", "long"]) == [b"s", b"l"]
    await harness.advance(0.6 + harness.ttl_rounding)
    assert await harness.backend.get_many(["short", "long"]) == [None, b"l"]


@_check
async def check_set_keeps_fractions_of_a_second(harness: Harness) -> None:
    """A ttl of 0.3 s is stored, not refused, and does not become for ever."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.3)
    await harness.advance(0.5 + harness.ttl_rounding)
    assert await harness.backend.get_many(["k"]) == [None]


@_check
async def check_smallest_ttl_is_accepted(harness: Harness) -> None:
    """A ttl under a millisecond is short, not an error and not for ever."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.0001)
    await harness.advance(0.1 + harness.ttl_rounding)
    assert await harness.backend.get_many(["k"]) == [None]


@_check
async def check_longest_ttl_is_accepted(harness: Harness) -> None:
    """A ttl of a thousand years is stored."""
    await harness.backend.set_many({"k": b"v"}, ttl=1000 * 365 * 86400.0)
    assert await harness.backend.get_many(["k"]) == [b"v"]


@_check
async def check_set_replaces_the_deadline(harness: Harness) -> None:
    """A second set counts its ttl from itself, and None takes the deadline away."""
    await harness.backend.set_many({"k": b"old", "ever": b"old"}, ttl=0.3)
    await harness.backend.set_many({"k": b"new"}, ttl=60)
    await harness.backend.set_many({"ever": b"new"}, ttl=None)
    await harness.advance(0.4 + harness.ttl_rounding)
    assert await harness.backend.get_many(["k", "ever"]) == [b"new", b"new"]


@_check
async def check_reading_does_not_prolong(harness: Harness) -> None:
    """A value that is read often dies at its deadline all the same."""
    await harness.backend.set_many({"k": b"v"}, ttl=0.3)
    for _ in range(4):
        await harness.advance((0.4 + harness.ttl_rounding) / 4)
        await harness.backend.get_many(["k"])
    assert await harness.backend.get_many(["k"]) == [None]


@_check
async def check_delete_counts_what_existed(harness: Harness) -> None:
    """Deleting counts each existing key once, and expired keys not at all."""
    await harness.backend.set_many({"a": b"1", "b": b"2"}, ttl=60)
    await harness.backend.set_many({"dead": b"3"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    assert await harness.backend.delete_many(["a", "b", "a", "none", "dead"]) == 2
    assert await harness.backend.get_many(["a", "b"]) == [None, None]


@_check
async def check_swap_writes_only_over_what_was_expected(harness: Harness) -> None:
    """Swap succeeds on the expected value, absent included, and changes nothing otherwise."""
    backend = harness.backend
    assert await backend.swap("k", None, b"one", ttl=60)
    assert not await backend.swap("k", None, b"two", ttl=60)
    assert not await backend.swap("k", b"other", b"two", ttl=60)
    assert await backend.get_many(["k"]) == [b"one"]
    assert await backend.swap("k", b"one", b"two", ttl=60)
    assert await backend.get_many(["k"]) == [b"two"]


@_check
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


@_check
async def check_swap_tells_empty_from_absent(harness: Harness) -> None:
    """An empty value is a value."""
    backend = harness.backend
    await backend.set_many({"k": b""}, ttl=60)
    assert not await backend.swap("k", None, b"x", ttl=60)
    assert await backend.swap("k", b"", b"x", ttl=60)
    assert not await backend.swap("none", b"", b"x", ttl=60)


@_check
async def check_swap_sets_the_deadline(harness: Harness) -> None:
    """The new value of a swap lives for the swap's own ttl, shorter or longer than before."""
    backend = harness.backend
    await backend.set_many({"a": b"1", "b": b"1"}, ttl=0.5)
    assert await backend.swap("a", b"1", b"2", ttl=60)
    assert await backend.swap("b", b"1", b"1", ttl=None)
    assert await backend.swap("c", None, b"3", ttl=0.3)
    await harness.advance(0.6 + harness.ttl_rounding)
    assert await backend.get_many(["a", "b", "c"]) == [b"2", b"1", None]


@_check
async def check_swap_sees_an_expired_key_as_absent(harness: Harness) -> None:
    """A dead value can be replaced as absent, and not as itself."""
    backend = harness.backend
    await backend.set_many({"k": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    assert not await backend.swap("k", b"v", b"w", ttl=60)
    assert await backend.swap("k", None, b"w", ttl=60)


@_check
async def check_swap_has_one_winner(harness: Harness) -> None:
    """Of many swaps at once from one value, exactly one succeeds."""
    backend = harness.backend
    for round_ in range(5):
        key = f"k{round_}"
        won = await asyncio.gather(*(backend.swap(key, None, b"%d" % i, ttl=60) for i in range(20)))
        assert sum(won) == 1
        assert await backend.get_many([key]) == [b"%d" % won.index(True)]


@_check
async def check_swap_of_large_values(harness: Harness) -> None:
    """Swap compares and writes whole values, however large."""
    old, new = b"o" * 1_000_000, b"n" * 1_000_000
    await harness.backend.set_many({"k": old}, ttl=60)
    assert not await harness.backend.swap("k", old[:-1] + b"x", new, ttl=60)
    assert await harness.backend.swap("k", old, new, ttl=60)
    assert await harness.backend.get_many(["k"]) == [new]


@_check
async def check_many_keys_at_once(harness: Harness) -> None:
    """A thousand keys are written, read and deleted in one call each."""
    items = {f"k{i}": b"%d" % i for i in range(1000)}
    await harness.backend.set_many(items, ttl=60)
    assert await harness.backend.get_many(list(items)) == list(items.values())
    assert await harness.backend.delete_many(list(items)) == 1000


@_check
async def check_many_tasks_at_once(harness: Harness) -> None:
    """Tasks that use the backend at the same time each get their own answer."""

    async def use(i: int) -> None:
        key = f"k{i}"
        await harness.backend.set_many({key: b"%d" % i}, ttl=60)
        assert await harness.backend.get_many([key, f"none{i}"]) == [b"%d" % i, None]

    await asyncio.gather(*(use(i) for i in range(100)))


@_check
async def check_cancelled_caller_harms_nobody(harness: Harness) -> None:
    """After callers were cancelled at any step, others still get their own answers."""
    backend = harness.backend
    await backend.set_many({f"k{i}": b"%d" % i for i in range(50)}, ttl=60)
    for steps in range(8):
        tasks = [asyncio.ensure_future(backend.get_many([f"k{i}"])) for i in range(50)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for i in range(1, 50, 2):
            assert results[i] == [b"%d" % i]
    assert await backend.get_many(["k0"]) == [b"0"]


@_check
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


@_check
async def check_deleting_while_scanning(harness: Harness) -> None:
    """Deleting each page as it comes leaves nothing, and counts every key once."""
    if not isinstance(harness.backend, SupportsScan):
        return
    await harness.backend.set_many({f"p:{i}": b"v" for i in range(2000)}, ttl=60)
    deleted = 0
    async for page in harness.backend.scan("p:"):
        deleted += await harness.backend.delete_many(page)
    assert deleted == 2000


@_check
async def check_sizes_are_lengths_of_live_values(harness: Harness) -> None:
    """Sizes follow the keys asked, duplicates included; what is missing, dead or empty is 0 bytes long."""
    if not isinstance(harness.backend, SupportsSizes):
        return
    await harness.backend.set_many({"a": b"1234", "empty": b"", "large": b"\xff" * 100_000}, ttl=60)
    await harness.backend.set_many({"dead": b"v"}, ttl=0.05)
    await harness.advance(0.2 + harness.ttl_rounding)
    assert await harness.backend.sizes(["large", "none", "a", "dead", "empty", "a"]) == [100_000, 0, 4, 0, 0, 4]
    assert await harness.backend.sizes([]) == []


@_check
async def check_store_clock_is_near(harness: Harness) -> None:
    """The store's clock is Unix seconds and does not stand still."""
    if not isinstance(harness.backend, SupportsTime):
        return
    before = await harness.backend.time()
    await harness.advance(0.05)
    after = await harness.backend.time()
    assert before > 1_600_000_000
    assert before < after < before + 60


@asynccontextmanager
async def _events(backend: SupportsFeed, prefix: str) -> AsyncIterator[AsyncIterator[FeedEvent]]:
    """Iterate a feed with a deadline for each event, so that a silent one fails and does not hang."""
    feed = backend.feed(prefix)

    async def bounded() -> AsyncIterator[FeedEvent]:
        while True:
            yield await asyncio.wait_for(anext(feed), _FEED_SECONDS)

    try:
        yield bounded()
    finally:
        if isinstance(feed, AsyncGenerator):
            await feed.aclose()


async def _until_alive(events: AsyncIterator[FeedEvent]) -> list[FeedEvent]:
    """Return what comes up to an `Alive` that was sent after now."""
    asked = time.monotonic()
    seen = []
    async for event in events:
        seen.append(event)
        if isinstance(event, Alive) and event.sent_at >= asked:
            break
    return seen


def _told(events: list[FeedEvent]) -> set[str]:
    return {key for event in events if isinstance(event, Changed) for key in event.keys}


@_check
async def check_feed_starts_and_stays_alive(harness: Harness) -> None:
    """A feed begins with `Lost` or `Alive`, and then says that it is alive again and again."""
    if not isinstance(harness.backend, SupportsFeed):
        return
    async with _events(harness.backend, "p:") as events:
        first = await anext(events)
        assert isinstance(first, Alive | Lost)
        beats = [first] if isinstance(first, Alive) else []
        while len(beats) < 3:
            event = await anext(events)
            assert isinstance(event, Alive)
            beats.append(event)
        assert beats[0].sent_at < beats[1].sent_at < beats[2].sent_at <= time.monotonic()


@_check
async def check_feed_tells_every_kind_of_change(harness: Harness) -> None:
    """What another backend sets, deletes and swaps is told before the next `Alive`, keys below the prefix only."""
    if not (isinstance(harness.backend, SupportsFeed) and isinstance(harness, SharedHarness)):
        return
    other = await harness.another()
    await other.set_many({"p:deleted": b"1", "p:swapped": b"1", "p:gone": b"1"}, ttl=60)
    async with _events(harness.backend, "p:") as events:
        await _until_alive(events)
        await other.set_many({"p:set": b"1", "q:set": b"1"}, ttl=60)
        await other.delete_many(["p:deleted", "q:deleted"])
        assert await other.swap("p:swapped", b"1", b"2", ttl=60)
        assert await other.swap("p:gone", b"1", None, ttl=None)
        assert await other.swap("p:made", None, b"1", ttl=60)
        assert _told(await _until_alive(events)) == {"p:set", "p:deleted", "p:swapped", "p:gone", "p:made"}
        assert _told(await _until_alive(events)) == set()


@_check
async def check_feed_tells_each_of_many_changes(harness: Harness) -> None:
    """A thousand changes at once are all told, or the feed says that it cannot tell."""
    if not (isinstance(harness.backend, SupportsFeed) and isinstance(harness, SharedHarness)):
        return
    other = await harness.another()
    async with _events(harness.backend, "p:") as events:
        await _until_alive(events)
        keys = [f"p:{number}" for number in range(1000)]
        await other.set_many(dict.fromkeys(keys[:500], b"v"), ttl=60)
        await asyncio.gather(*(other.set_many({key: b"v"}, ttl=60) for key in keys[500:]))
        seen = await _until_alive(events)
        assert _told(seen) == set(keys) or any(isinstance(event, Lost | Flushed) for event in seen)


@_check
async def check_feeds_of_two_prefixes_do_not_mix(harness: Harness) -> None:
    """Two feeds of one backend tell each its own keys; one that was left does not hold up the other."""
    if not (isinstance(harness.backend, SupportsFeed) and isinstance(harness, SharedHarness)):
        return
    other = await harness.another()
    async with _events(harness.backend, "p:") as events:
        async with _events(harness.backend, "q:") as more:
            await asyncio.gather(_until_alive(events), _until_alive(more))
            await other.set_many({"p:1": b"v", "q:1": b"v"}, ttl=60)
            assert _told(await _until_alive(more)) == {"q:1"}
            assert _told(await _until_alive(events)) == {"p:1"}
        await other.set_many({"p:2": b"v"}, ttl=60)
        assert _told(await _until_alive(events)) == {"p:2"}


@_check
async def check_closing_is_final_and_idempotent(harness: Harness) -> None:
    """Closing twice is no error; a call after it raises BackendError and does not hang."""
    await harness.backend.get_many(["k"])
    await harness.backend.aclose()
    await harness.backend.aclose()
    try:
        await harness.backend.get_many(["k"])
    except BackendError as error:
        assert not error.transient
    else:
        raise AssertionError("a closed backend answered")
