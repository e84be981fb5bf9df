"""Options are checked once, while building. `tests/docs/test_options.py` compares them with their page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cachecore.contract import options
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import MemoryOptions, Policy, StoreOptions, lifetime, parse_duration


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ttl", 0),
        ("ttl", -1),
        ("ttl", float("nan")),
        ("ttl", float("inf")),
        ("ttl", True),
        ("ttl", "soon"),
        ("jitter", 1.0),
        ("jitter", -0.1),
        ("jitter", float("nan")),
        ("stale_if_error", -1),
        ("refresh_ahead", -1),
        ("factory_timeout", 0),
        ("soft_timeout", 0),
    ],
)
def test_a_wrong_policy_names_the_option_and_the_value(name: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=name) as caught:
        Policy(**{"ttl": 60, name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backend_timeout", 0),
        ("breaker_failures", 0),
        ("breaker_failures", 1.5),
        ("max_in_flight", True),
        ("max_value_bytes", 10),
        ("lease_ttl", -1),
        ("backend_timeout_per_mib", -1),
    ],
)
def test_a_wrong_store_option_names_the_option(name: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=name):
        StoreOptions(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("l1_max_bytes", -1), ("l1_max_entries", 0.5), ("l1_max_age", 0)])
def test_a_wrong_memory_option_names_the_option(name: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=name):
        MemoryOptions(**{name: value})


def test_durations_may_be_timedeltas() -> None:
    made = Policy(ttl=timedelta(hours=1), stale_if_error=timedelta(minutes=5))  # type: ignore[arg-type]  # turned into seconds
    assert (made.ttl, made.stale_if_error) == (3600.0, 300.0)
    assert lifetime("ttl", timedelta(seconds=2)) == 2.0
    assert lifetime("ttl", None) is None


@pytest.mark.parametrize(
    ("text", "meant"), [("30", 30.0), ("1.5", 1.5), ("250ms", 0.25), ("24h", 86_400.0), ("7 d", 604_800.0)]
)
def test_text_is_a_duration(text: str, meant: float) -> None:
    assert parse_duration("ttl", text) == meant


@pytest.mark.parametrize("text", ["", "h", "-1s", "1y", "1e3", "1 2", "inf"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(OptionsError, match="ttl"):
        parse_duration("ttl", text)


def test_a_ttl_of_a_hundred_years_is_for_ever() -> None:
    assert lifetime("ttl", "forever") is None
    assert lifetime("ttl", timedelta(days=36_600)) is None
    assert lifetime("ttl", "36500d") == 36_500 * 86_400.0


def test_durations_and_sizes_may_be_text() -> None:
    made = Policy(ttl="24h", stale_if_error="7d", soft_timeout="250ms")  # type: ignore[arg-type]  # turned into seconds
    assert (made.ttl, made.stale_if_error, made.soft_timeout) == (86_400.0, 604_800.0, 0.25)
    assert MemoryOptions(l1_max_bytes="64MiB", l1_max_age="2s") == MemoryOptions(l1_max_age=2.0)  # type: ignore[arg-type]
    assert StoreOptions(max_value_bytes="1.5 kB").max_value_bytes == 1500  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="at least 1024"):
        StoreOptions(max_value_bytes="1kB")  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="such as 65536, '64KiB'"):
        StoreOptions(max_value_bytes="64 MO")  # type: ignore[arg-type]


def test_the_defaults_are_accepted() -> None:
    assert Policy(ttl=60).ttl == 60.0
    assert StoreOptions().backend_timeout == 0.05
    assert MemoryOptions().l1_max_bytes == 64 * options.MIB


@pytest.mark.parametrize("ttl", [100 * 365.25 * 86_400, 1e18, 1.7e308, timedelta.max, 10**30])
def test_a_hundred_years_and_more_are_for_ever(ttl: float | timedelta) -> None:
    """No store's arithmetic has to hold such a ttl, in seconds or in milliseconds."""
    assert lifetime("ttl", ttl) is None
    assert lifetime("ttl", 99 * 365 * 86_400) == 99 * 365 * 86_400
