"""Figures read as people write them, and none says more than is known."""

from __future__ import annotations

import pytest

from cachecore_llm.cost.ledger import Totals
from cachecore_proxy.admin import wording


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (0.0, "0.00 ms"),
        (0.000_42, "0.42 ms"),
        (0.009_94, "9.94 ms"),
        (0.009_996, "10 ms"),
        (0.8, "800 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (1234.0, "1,234 s"),
    ],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (-5, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (7260, "2 h 1 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_ages(seconds: float | None, words: str) -> None:
    assert wording.ago(seconds) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 0, "–"), (0, 7, "0.0 %"), (1, 3, "33.3 %"), (999_999, 1_000_000, "99.9 %"), (7, 7, "100.0 %")],
)
def test_all_but_one_of_a_million_is_not_all(part: int, whole: int, words: str) -> None:
    assert wording.share(part, whole) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (5 * 2**50, "5,120.0 TiB")],
)
def test_sizes(size: int | None, words: str) -> None:
    assert wording.bytes_(size) == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, "–"), (0.0, "$0.00"), (0.000_07, "$0.0001"), (0.5, "$0.50"), (1234.567, "$1,234.57")]
)
def test_money(value: float | None, words: str) -> None:
    assert wording.dollars(value) == words


@pytest.mark.parametrize(
    ("totals", "words"),
    [
        (None, "–"),
        (Totals(), "$0.00"),
        (Totals(calls=2, dollars=1.5), "$1.50"),
        (Totals(calls=2, dollars=1.5, unpriced=1), "≥ $1.50"),
        (Totals(calls=2, unpriced=2), "–"),
    ],
)
def test_an_unknown_price_is_not_nothing(totals: Totals | None, words: str) -> None:
    assert wording.money(totals) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (9999, "9,999"), (9999.7, "10.0 k"), (12_345, "12.3 k"), (999_949, "999.9 k"), (4_560_000, "4.56 M")],
)
def test_tokens(value: float | None, words: str) -> None:
    assert wording.tokens(value) == words


def test_freshness_and_reasons() -> None:
    assert [wording.until(value) for value in (None, 90.0, -90.0)] == [
        "for ever",
        "for 1 min 30 s",
        "stale for 1 min 30 s",
    ]
    assert wording.reason("absent") == "not stored"
    assert wording.reason("tool mcp acts") == "tool mcp acts"
