"""Many histories, each from its seed: no promise may be broken in any of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cachecore.testing.simulation.run import Broken, simulate
from cachecore.testing.simulation.store import SimulatedStore
from tests.conftest import Record
from tests.faults.reliability import scaled

SEEDS = 300
SOAK_SEEDS = 10_000
AT_ONCE = 50


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_seed_keeps_the_promises(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        simulate(seed)


@pytest.mark.soak
def test_d6_every_seed_keeps_the_promises_in_the_long_run(record: Record) -> None:
    """None of the broken ones keeps the others from being tried."""
    seeds = range(SEEDS, SEEDS + scaled(SOAK_SEEDS))
    broken: list[Broken] = []
    steps = 0
    for seed in seeds:
        try:
            steps += simulate(seed).steps
        except Broken as found:
            broken.append(found)
    named = f" (seeds {', '.join(str(found.seed) for found in broken[:5])})" if broken else ""
    record("D6", f"{len(broken)} broken{named}", met=not broken, size=f"{len(seeds):,} seeds, {steps:,} steps")
    if broken:
        raise broken[0]


COMPRISED = frozenset({
    "get hit", "get miss", "get_or_set got", "get_or_set FactoryFailed", "get_or_set TimeoutError", "lookup hit",
    "lookup miss", "lookup computed", "lookup stale", "peek hit", "refresh computed", "set stored", "set pending",
    "set_since stored", "set_since not", "set_many stored", "delete deleted", "delete pending",
    "delete_many deleted", "expire True", "expire False", "invalidate_tags done", "invalidate_tags pending",
    "invalidate_prefix done", "invalidate_all done", "get_or_set_many 2", "get_many 2", "bypassed computed",
    "stream computed", "stream hit", "stream left", "stream FactoryFailed", "stale", "rescued", "joined",
})  # fmt: skip


def test_histories_comprise_every_call_and_every_kind_of_outcome() -> None:
    """What never happens in the simulation is not tested by it."""
    never = set(COMPRISED)
    answers = messages = faults = 0
    for seed in range(SEEDS):  # rescues are rare: one history in fifty
        report = simulate(seed)
        assert report.steps >= 200
        never.difference_update(outcome for outcome, count in report.outcomes.items() if count)
        answers, messages, faults = answers + report.answers, messages + report.messages, faults + report.faults
        if not never and answers > 1000 and messages > 5000 and faults > 300:
            return
    pytest.fail(f"never: {sorted(never)}; {answers} answers, {messages} messages, {faults} faults")


CALM_STREAMS = frozenset(
    {"stream computed", "stream hit", "stream left", "stream FactoryFailed", "stream stale", "joined"}
)


def test_histories_without_faults_comprise_streams() -> None:
    """There the rules are stricter: nothing but what the oracle was told of parts a stream from its later readers."""
    never = set(CALM_STREAMS)
    for seed in range(16, SEEDS, 24):  # every eighth is without faults, every third has streams
        report = simulate(seed)
        assert report.faults == 0
        assert any(outcome.startswith("stream") for outcome in report.outcomes), seed
        never.difference_update(outcome for outcome, count in report.outcomes.items() if count)
    assert not never


def test_one_seed_is_one_history() -> None:
    """Also in another process, whose strings hash differently."""
    seeds = (3, 8, 21)
    here = [simulate(seed, digest=True).digest for seed in seeds]
    assert [simulate(seed, digest=True).digest for seed in seeds] == here
    assert len(set(here)) == len(seeds)
    code = (
        "from cachecore.testing.simulation.run import simulate\n"
        f"for seed in {seeds}: print(simulate(seed, digest=True).digest)"
    )
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        assert ran.stdout.split() == here


def test_failure_names_its_seed_and_is_seen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that keeps the stamps it was told to delete is found out, and the same seed finds it out again."""
    put = SimulatedStore._put

    def forgetful(store: SimulatedStore, key: str, value: bytes | None, ttl: float | None) -> None:
        if value is not None or ":s:t" not in key:
            put(store, key, value, ttl)

    monkeypatch.setattr(SimulatedStore, "_put", forgetful)

    def first_failure() -> Broken:
        for seed in range(100):
            try:
                simulate(seed)
            except Broken as broken:
                return broken
        pytest.fail("a store that forgets to delete was not noticed")

    broken = first_failure()
    assert f"python -m cachecore.testing.simulation.run {broken.seed}" in str(broken)
    with pytest.raises(Broken) as again:
        simulate(broken.seed)
    assert str(again.value) == str(broken)
