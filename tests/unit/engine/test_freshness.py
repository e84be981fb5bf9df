"""Pure decisions about times."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from cachecore.contract.options import Policy
from cachecore.engine.freshness import Lifetime, decide, expired, lifetime, refresh_at

seconds = st.floats(0.001, 1e6)


class Made:
    """An entry's times."""

    def __init__(self, times: Lifetime, compute_time: float = 0.0, *, created: float = 0.0) -> None:
        self.created = created
        self.fresh_until, self.dead_until, self.compute_time = times.fresh_until, times.dead_until, compute_time


@given(ttl=seconds, stale=seconds, chance=st.floats(0, 1, exclude_max=True))
def test_states_follow_each_other(ttl: float, stale: float, chance: float) -> None:
    """Fresh, then stale, then only for rescue, then dead; never back."""
    policy = Policy(ttl=ttl, stale_while_revalidate=stale, stale_if_error=2 * stale)
    made = Made(lifetime(1000.0, ttl, chance, policy))
    end = made.fresh_until
    assert end is not None
    assert 1000.0 + ttl * (1 - policy.jitter) * 0.999 <= end <= 1000.0 + ttl  # shortened, never longer
    order = ["fresh", "stale", "rescue", "dead"]
    moments = [1000.0, end - ttl / 4, end, end + stale / 2, end + 1.5 * stale, end + 2.5 * stale, end + 1e9]
    states = [order.index(decide(made, moment, policy)) for moment in moments]
    assert states == sorted(states)
    assert states[0] == 0
    assert states[-1] == 3


@given(now=st.floats(0, 1e9))
def test_for_ever_is_for_ever_and_nan_is_dead(now: float) -> None:
    policy = Policy(ttl=None)
    assert decide(Made(lifetime(0.0, None, 0.5, policy)), now, policy) == "fresh"
    assert decide(Made(Lifetime(now, math.nan)), now, policy) == "dead"


def test_reader_with_longer_windows_serves_nothing_that_is_dead() -> None:
    made = Made(lifetime(0.0, 10, 0.5, Policy(ttl=10, jitter=0)))
    assert decide(made, 10.5, Policy(ttl=10, stale_if_error=100)) == "dead"


def test_max_age_ends_freshness_before_the_ttl_does() -> None:
    """Counted from when the answer was made; stale windows count from then, and nothing lives longer."""
    policy = Policy(ttl=100, jitter=0, max_age=10, stale_while_revalidate=5, stale_if_error=20)
    made = Made(lifetime(0.0, 100, 0.5, policy))
    states = [decide(made, moment, policy) for moment in (9.9, 10.0, 15.0, 29.9, 30.0)]
    assert states == ["fresh", "stale", "rescue", "rescue", "dead"]
    for_ever = Made(lifetime(0.0, None, 0.5, policy))
    assert [decide(for_ever, moment, policy) for moment in (9.9, 10.0)] == ["fresh", "stale"]
    short = Made(lifetime(0.0, 5, 0.5, policy))
    assert decide(short, 6.0, policy) == "stale"
    assert decide(made, 0.0, Policy(ttl=100, max_age=0)) == "dead"


def test_expired_is_stale_at_once_within_its_windows() -> None:
    policy = Policy(ttl=10, stale_if_error=5)
    made = Made(expired(100.0, policy))
    assert [decide(made, moment, policy) for moment in (100.0, 104.9, 105.0)] == ["rescue", "rescue", "dead"]


@given(chance=st.floats(0.001, 1.0), cost=seconds, beta=st.floats(0.1, 10))
def test_early_refresh_comes_before_the_end_and_sooner_for_what_costs_more(
    chance: float, cost: float, beta: float
) -> None:
    made, dearer = Made(Lifetime(1e7, 2e7), cost), Made(Lifetime(1e7, 2e7), 2 * cost)
    at = refresh_at(made, chance, beta)
    assert at > 1e7 - 1e8 * beta
    assert at == math.inf if chance == 1.0 else at <= 1e7
    assert refresh_at(dearer, chance, beta) <= at
    assert refresh_at(made, chance, 0.0) == math.inf
