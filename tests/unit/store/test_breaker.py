"""When the breaker opens, when it lets one call through, and what it does not believe."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cachecore.contract.options import StoreOptions
from cachecore.store.breaker import Breaker, State

OPTIONS = StoreOptions(breaker_failures=3, breaker_backoff=1.0, breaker_backoff_max=8.0)


class Highest(random.Random):
    """Chance that always draws the longest back-off."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.fixture
def states() -> list[State]:
    return []


@pytest.fixture
def breaker(states: list[State]) -> Breaker:
    return Breaker(OPTIONS, Highest(), lambda state, _: states.append(state))


def admitted(breaker: Breaker) -> int:
    ticket = breaker.admit()
    assert ticket is not None
    return ticket


def state_of(breaker: Breaker) -> State:
    return breaker.state


def probed(breaker: Breaker, now: float) -> int:
    ticket = breaker.probe(now)
    assert ticket is not None
    return ticket


def opened(breaker: Breaker, now: float = 0.0) -> None:
    for _ in range(OPTIONS.breaker_failures):
        breaker.failed(admitted(breaker), now)
    assert state_of(breaker) == "open"


def test_opens_after_failures_in_a_row(breaker: Breaker, states: list[State]) -> None:
    breaker.failed(admitted(breaker), 0.0)
    breaker.failed(admitted(breaker), 0.0)
    assert state_of(breaker) == "closed"
    breaker.failed(admitted(breaker), 0.0)
    assert breaker.admit() is None
    assert states == ["open"]


def test_success_ends_the_row(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.failed(admitted(breaker), 0.0)
        breaker.failed(admitted(breaker), 0.0)
        breaker.succeeded(admitted(breaker))
    assert state_of(breaker) == "closed"


def test_what_is_undecided_neither_counts_nor_ends_the_row(breaker: Breaker) -> None:
    """A full store answers and is not sick; its answers do not prove the others' failures wrong."""
    for _ in range(3):
        breaker.undecided(admitted(breaker), 0.0)
    assert state_of(breaker) == "closed"
    breaker.failed(admitted(breaker), 0.0)
    breaker.failed(admitted(breaker), 0.0)
    breaker.undecided(admitted(breaker), 0.0)
    breaker.failed(admitted(breaker), 0.0)
    assert state_of(breaker) == "open"


def test_closed_breaker_needs_no_probe(breaker: Breaker) -> None:
    assert breaker.probe(1e9) is None


def test_one_probe_when_the_back_off_is_over(breaker: Breaker, states: list[State]) -> None:
    opened(breaker, now=10.0)
    assert breaker.probe(10.99) is None
    ticket = probed(breaker, 11.0)
    assert breaker.probe(11.5) is None
    assert breaker.admit() is None
    breaker.succeeded(ticket)
    assert breaker.admit() is not None
    assert states == ["open", "half_open", "closed"]


def test_back_off_doubles_up_to_its_cap_and_starts_again_after_a_success(breaker: Breaker) -> None:
    opened(breaker)
    now, waits = 0.0, []
    for _ in range(6):
        wait = next(wait for wait in (1, 2, 4, 8, 16) if breaker.probe(now + wait) is not None)
        now += wait
        waits.append(wait)
        # The probe just taken is the current one: its generation is that of the ticket after the last.
        breaker.failed(breaker._generation, now)
    assert waits == [1, 2, 4, 8, 8, 8]
    breaker.succeeded(probed(breaker, now + 8))
    opened(breaker, now)
    assert breaker.probe(now + 1) is not None


def test_back_off_is_jittered_and_never_longer_than_its_cap() -> None:
    waits = set()
    for seed in range(50):
        breaker = Breaker(
            StoreOptions(breaker_backoff=8.0, breaker_backoff_max=8.0), random.Random(seed), lambda state, reason: None
        )
        opened(breaker)
        assert breaker.probe(5.99) is None
        waits.add(next(now for now in range(600, 801) if breaker.probe(now / 100) is not None))
    assert len(waits) > 20


def test_calls_of_an_earlier_generation_change_nothing(breaker: Breaker) -> None:
    """What was asked before the store fell ill, or before it got well, says nothing about it now."""
    before = admitted(breaker)
    opened(breaker)
    breaker.succeeded(before)
    assert state_of(breaker) == "open"
    ticket = probed(breaker, 1.0)
    for _ in range(5):
        breaker.failed(before, 1.0)
        breaker.succeeded(before)
        breaker.undecided(before, 1.0)
    assert state_of(breaker) == "half_open"
    assert breaker.probe(1.5) is None
    breaker.succeeded(ticket)
    for _ in range(5):
        breaker.failed(before, 2.0)
        breaker.failed(ticket, 2.0)
    assert state_of(breaker) == "closed"


def test_probe_that_decides_nothing_is_followed_by_another_at_once(breaker: Breaker) -> None:
    opened(breaker)
    breaker.undecided(probed(breaker, 1.0), 1.1)
    assert state_of(breaker) == "half_open"
    assert breaker.probe(1.1) is not None
    assert breaker.probe(1.1) is None


def test_probe_that_is_never_heard_of_is_replaced(breaker: Breaker) -> None:
    """The loop that made it may be gone."""
    opened(breaker)
    lost = probed(breaker, 1.0)
    assert breaker.probe(8.9) is None
    ticket = probed(breaker, 9.0)
    breaker.failed(lost, 9.0)
    assert state_of(breaker) == "half_open"
    breaker.succeeded(ticket)
    assert state_of(breaker) == "closed"


def test_hint_allows_a_probe_at_once_but_not_a_second_one(breaker: Breaker) -> None:
    breaker.hint(0.0)
    assert state_of(breaker) == "closed"
    opened(breaker)
    breaker.hint(0.1)
    assert breaker.probe(0.1) is not None
    breaker.hint(0.1)
    assert breaker.probe(0.1) is None


def test_many_threads_get_one_probe(breaker: Breaker) -> None:
    opened(breaker)
    barrier, tickets = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        tickets.append(breaker.probe(2.0))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([ticket for ticket in tickets if ticket is not None]) == 1


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order, the breaker holds what it promises."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[State] = []
        self.breaker = Breaker(OPTIONS, random.Random(1), lambda state, _: self.states.append(state))
        self.now = 0.0
        self.calls: list[tuple[int, bool]] = []  # ticket, is a probe
        self.opened_at = 0.0

    @rule(seconds=st.floats(0.01, 5.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        was = self.breaker.state
        ticket = self.breaker.admit()
        assert (ticket is not None) == (was == "closed")
        if ticket is not None:
            self.calls.append((ticket, False))
        else:
            probe = self.breaker.probe(self.now)
            if probe is not None:
                assert self.breaker.state == "half_open"
                assert was == "half_open" or self.now >= self.opened_at + 0.75
                self.calls.append((probe, True))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "undecided"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        ticket, probe = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before, stale = self.breaker.state, ticket != self.breaker._generation
        if outcome == "succeeded":
            self.breaker.succeeded(ticket)
        elif outcome == "failed":
            self.breaker.failed(ticket, self.now)
        else:
            self.breaker.undecided(ticket, self.now)
        after = self.breaker.state
        if stale or outcome == "undecided":
            assert after == before
        elif probe:
            assert after == ("closed" if outcome == "succeeded" else "open")
        if before != "open" and after == "open":
            self.opened_at = self.now

    @invariant()
    def states_follow_the_picture(self) -> None:
        allowed = {"closed": {"open"}, "open": {"half_open"}, "half_open": {"open", "closed"}}
        for earlier, later in zip(["closed", *self.states], self.states, strict=False):
            assert later in allowed[earlier]


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
