"""The record of the gateway: what it counts, and that nothing of it grows with traffic."""

from __future__ import annotations

import sys
from typing import get_args

import pytest

from cachecore.keys import MAX_KEY_BYTES
from cachecore.testing.clocks import FakeClock
from cachecore_proxy.activity import (
    BOUNDS,
    FROM_CACHE,
    LOOKED_UP,
    MAX_MISSES,
    MAX_NAME,
    OTHERS,
    STEPS,
    Activity,
    Name,
    Outcome,
    UpstreamState,
    quantile,
)


def record(**options: int) -> tuple[Activity, FakeClock]:
    clock = FakeClock()
    return Activity(clock=clock.monotonic, wall=clock.time, **options), clock


def one(activity: Activity, outcome: Outcome = "hit", seconds: float = 0.001, **name: str | None) -> None:
    activity.began()
    activity.ended(outcome, seconds, **name)


def test_requests_are_counted_by_name_and_outcome() -> None:
    activity, _ = record()
    one(activity, "hit", 0.5, model="m", tenant="a", prompt="faq")
    one(activity, "miss", 1.5, model="m", tenant="a", prompt="faq")
    one(activity, "hit", model="m")
    row = activity.rows[Name("m", "a", "faq")]
    assert (row.outcomes, row.seconds, row.requests) == ({"hit": 1, "miss": 1}, 2.0, 2)
    assert activity.rows[Name("m", "", "")].outcomes == {"hit": 1}


def test_requests_under_way() -> None:
    activity, _ = record()
    activity.began()
    activity.began()
    activity.ended("failed", 1.0)
    assert activity.under_way == 1


def test_every_outcome_is_counted_and_only_answers_are_timed() -> None:
    activity, _ = record()
    for outcome in get_args(Outcome):
        one(activity, outcome)
    (step,) = activity.steps(60)
    assert step.outcomes == dict.fromkeys(get_args(Outcome), 1)
    assert sum(step.from_cache.values()) == len(FROM_CACHE)
    assert sum(step.upstream.values()) == len(("miss", "bypass"))
    assert set(FROM_CACHE) < set(LOOKED_UP) < set(get_args(Outcome))


def test_a_window_has_what_ended_within_it() -> None:
    activity, clock = record()
    for _ in range(40):
        one(activity)
        clock.advance(10)
    assert sum(step.outcomes["hit"] for step in activity.steps(60)) == 5  # the step under way is empty
    assert sum(step.outcomes["hit"] for step in activity.steps(300)) == 29
    clock.advance(4000)
    assert activity.steps(3600) == []


def test_an_hour_of_steps_is_kept() -> None:
    activity, clock = record()
    for _ in range(2 * STEPS):
        one(activity)
        clock.advance(10)
    assert len(activity.steps(1e9)) == STEPS


def test_names_beyond_the_limit_are_counted_together() -> None:
    activity, _ = record(rows=10)
    one(activity, model="kept")
    for number in range(100):
        one(activity, model=f"random-{number}")
        one(activity, model="kept")
    assert len(activity.rows) <= 10
    assert activity.rows[Name("kept", "", "")].requests == 101
    assert activity.rows[Name(OTHERS, OTHERS, OTHERS)].requests == 100 - 8  # eight have a row
    assert sum(row.requests for row in activity.rows.values()) == 201


def test_long_names_are_cut() -> None:
    activity, _ = record()
    for _ in range(2):
        one(activity, model="x" * 100_000, tenant="y" * 100_000)
        activity.missed("absent", prompt="z" * 100_000, key="k" * 100_000)
    assert activity.rows.keys() == {Name("x" * MAX_NAME, "y" * MAX_NAME, "")}
    assert activity.rows[Name("x" * MAX_NAME, "y" * MAX_NAME, "")].requests == 2
    assert len(activity.misses[-1].name.prompt) == MAX_NAME
    assert len(activity.misses[-1].key) == MAX_KEY_BYTES


def test_misses_are_bounded_and_the_newest_is_last() -> None:
    activity, clock = record()
    for number in range(2 * MAX_MISSES):
        clock.advance(1)
        activity.missed(f"reason {number}")
    assert len(activity.misses) == MAX_MISSES
    assert activity.misses[-1].at == clock.time()
    assert len(activity.reasons) <= MAX_MISSES + 1
    assert sum(activity.reasons.values()) == 2 * MAX_MISSES


def test_no_text_of_a_request_is_kept() -> None:
    activity, _ = record()
    secret = "my card is 4929 1234"
    for end in ("", " again"):
        activity.missed("absent", model="m", request={"body": {"model": "m", "messages": [{"content": secret + end}]}})
    assert activity.misses[-1].differs == "messages[0]"
    assert secret not in repr((vars(activity), vars(activity._differences)))


def test_streams_under_way() -> None:
    activity, clock = record()
    first = activity.stream_opened("miss", model="m")
    clock.advance(5)
    second = activity.stream_opened("hit", model="n")
    first.sent += 100
    assert [(stream.name.model, stream.sent) for stream in activity.streams()] == [("m", 100), ("n", 0)]
    assert activity.streams(1) == [first]
    activity.stream_closed(first)
    assert (activity.streams(), activity.streams_open) == ([second], 1)
    counted = activity.stream_opened("hit", counts=lambda: 4096)
    assert (first.size, counted.size) == (100, 4096)


def test_more_streams_than_are_listed_are_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachecore_proxy.activity.MAX_STREAMS", 2)
    activity, _ = record()
    streams = [activity.stream_opened("hit") for _ in range(5)]
    assert (len(activity.streams()), activity.streams_open) == (2, 5)
    for stream in streams:
        activity.stream_closed(stream)
    assert (activity.streams(), activity.streams_open) == ([], 0)


def test_providers() -> None:
    activity, _ = record()
    state = UpstreamState("primary", "openai.chat", "https://p/v1", False, 0.0)
    assert activity.upstreams() == ()
    activity.upstreams_from(lambda: [state])
    activity.called("primary", 0.5)
    activity.called("primary", 1.5, failed=True)
    assert activity.upstreams() == (state,)
    counts = activity.upstream_counts["primary"]
    assert (counts.calls, counts.failures, counts.seconds) == (2, 1, 2.0)


@pytest.mark.parametrize("seconds", [0.0, 0.00004, 0.0003, 0.0123, 0.8, 12.0, 700.0])
def test_a_quantile_is_within_a_class_of_times(seconds: float) -> None:
    activity, _ = record()
    for _ in range(50):
        one(activity, "hit", seconds)
    half = quantile(activity.steps(60)[0].from_cache, 0.5)
    assert half is not None
    low = 0.0 if seconds < BOUNDS[0] else seconds / 1.27
    assert low <= half <= max(BOUNDS[0], seconds * 1.27)


def test_quantiles_of_a_mixture() -> None:
    activity, _ = record()
    for number in range(1000):
        one(activity, "miss", 5.0 if number % 50 == 0 else 0.1)
    times = activity.steps(60)[0].upstream
    half, nearly_all = quantile(times, 0.5), quantile(times, 0.99)
    assert half == pytest.approx(0.1, rel=0.27)
    assert nearly_all == pytest.approx(5.0, rel=0.27)
    assert quantile({}, 0.5) is None


def test_times_beyond_the_last_class_count() -> None:
    activity, _ = record()
    one(activity, "miss", 10_000.0)
    assert quantile(activity.steps(60)[0].upstream, 0.5) == BOUNDS[-1]


def test_a_record_under_hostile_names_stays_small() -> None:
    activity, _ = record()
    before = sys.getsizeof(activity.rows)
    for number in range(20_000):
        one(activity, model=f"m{number}", tenant=f"t{number}", prompt=f"p{number}")
    assert len(activity.rows) <= 5000
    assert before < sys.getsizeof(activity.rows) < 2_000_000
