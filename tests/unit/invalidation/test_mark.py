"""What one mark tells: whether the store is older than this process, and what was lost, if that is remembered here."""

from __future__ import annotations

import pytest

from cachecore.invalidation.mark import FLOOR, REMEMBERED, Mark, number_of
from cachecore.invalidation.outbox.backlog import entries

BASE = 1_764_460_800_000_000


def text(number: int) -> bytes:
    return b"%d" % number


def known(number: int) -> Mark:
    mark = Mark("cc.m:", "cc:s:n")
    assert mark.see(text(number), mark.known) == "current"
    return mark


def test_lower_number_means_that_the_store_is_older() -> None:
    mark = known(BASE + 5)
    assert mark.see(text(BASE + 5), mark.known) == "current"
    assert mark.see(text(BASE + 9), mark.known) == "current"
    assert mark.see(text(BASE + 8), mark.known) == "behind"


def test_read_that_was_sent_before_more_was_known_is_no_alarm() -> None:
    """Its answer may cross with that of a later advance."""
    mark = known(BASE)
    expected = mark.known
    mark.advanced(BASE + 1, [], 0.0)
    assert mark.see(text(BASE), expected) == "current"
    assert mark.known == BASE + 1
    assert mark.see(text(BASE), mark.known) == "behind"


def test_alarm_stays_although_others_raise_the_mark() -> None:
    mark = known(BASE + 5)
    assert mark.see(text(BASE), mark.known) == "behind"
    assert mark.see(text(BASE + 7), mark.known) == "behind"
    assert mark.see(None, mark.known) == "behind"


@pytest.mark.parametrize("data", [None, b"", b"1", b"-5", b"7x", text(FLOOR - 1), b"9" * 19])
def test_absent_mark_is_no_alarm_and_is_made_again_above_what_is_known(data: bytes | None) -> None:
    mark = known(BASE + 5)
    assert number_of(data) is None
    assert mark.see(data, mark.known) == "absent"
    assert mark.missing
    assert mark.above(0.0) == BASE + 6
    assert mark.above((BASE + 9_000_000) / 1e6) == BASE + 9_000_000
    assert Mark("m", "r").above(0.0) == FLOOR


def test_leap_says_that_what_is_known_of_stamps_may_be_too_old() -> None:
    mark = known(BASE)
    assert mark.see(text(BASE + 50), mark.known) == "current"
    assert mark.see(text(BASE + 1_000_000), mark.known) == "leapt"
    assert mark.see(text(BASE + 1_000_001), mark.known) == "current"
    assert Mark("m", "r").see(text(BASE), 0) == "current"


def test_what_was_lost_is_known_only_if_all_of_it_is_remembered() -> None:
    mark = known(BASE)
    mark.advanced(BASE + 1, entries(["a"], ()), 0.0)
    mark.advanced(BASE + 2, entries(["b"], ()), 4.0)
    mark.advanced(BASE + 3, entries(["c"], ()), 5.0)

    def lost(number: int, now: float) -> list[str] | None:
        items = mark.lost(number, now)
        return None if items is None else [item.name for item in items]

    assert lost(BASE, REMEMBERED) == ["a", "b", "c"]
    assert lost(BASE + 1, REMEMBERED + 4) == ["b", "c"]
    assert lost(BASE, REMEMBERED + 0.1) is None
    mark.see(text(BASE + 4), mark.known)  # another process's
    assert lost(BASE + 2, REMEMBERED) is None


def test_what_is_sent_again_counts_from_where_the_store_is() -> None:
    mark = known(BASE)
    mark.advanced(BASE + 1, entries(["a"], ()), 0.0)
    mark.go_back(BASE)
    assert mark.see(text(BASE), mark.known) == "current"
    assert mark.lost(BASE, 0.0) is None
    assert mark.lost(BASE - 1, 0.0) is None


def test_what_was_sent_before_the_mark_was_raised_raises_no_second_alarm() -> None:
    """Its answer tells of what is already repaired; its values are not trusted all the same."""
    mark = known(BASE + 5)
    expected = mark.known
    assert mark.see(text(BASE), expected) == "behind"
    mark.repaired(BASE + 1_000_000)
    assert mark.see(text(BASE), expected) == "leapt"
    assert not mark.behind
    assert mark.see(text(BASE + 1), mark.known) == "behind"  # it was sent after that: the store has gone back again


def test_an_alarm_of_later_is_raised_although_the_mark_has_gone_back_since() -> None:
    mark = known(BASE)
    mark.repaired(BASE + 1_000_000)
    mark.go_back(BASE + 10)
    assert mark.see(text(BASE + 5), mark.known) == "behind"


def test_what_was_sent_before_another_process_raised_the_mark_raises_no_alarm() -> None:
    mark = known(BASE + 5)
    expected = mark.known
    assert mark.see(text(BASE + 1_000_000), expected) == "leapt"
    assert mark.see(text(BASE), expected) == "leapt"
    assert not mark.behind
