"""`cachecore calibrate`: exact intervals, and no threshold that the pairs do not support."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cachecore import OptionsError, cli
from cachecore_llm.similar.calibration import Judged, calibrate
from cachecore_llm.similar.intervals import lower_bound, needed, upper_bound
from tests.llm.similar.forbidden import FORBIDDEN
from tests.llm.similar.invented import TRUE


@pytest.mark.parametrize(
    ("seen", "of", "low", "high"),
    # Two-sided 95 % intervals, as R's binom.test gives them.
    [(0, 10, 0.0, 0.3084971), (1, 10, 0.002528579, 0.4450161), (5, 10, 0.1870860, 0.8129140), (10, 10, 0.6915029, 1.0)],
)
def test_intervals_are_clopper_and_pearsons(seen: int, of: int, low: float, high: float) -> None:
    assert lower_bound(seen, of, 0.975) == pytest.approx(low, abs=1e-6)
    assert upper_bound(seen, of, 0.975) == pytest.approx(high, abs=1e-6)


@given(st.integers(0, 200), st.integers(1, 200), st.floats(0.5, 0.999))
def test_bounds_hold_the_rate_between_them(seen: int, of: int, confidence: float) -> None:
    seen = min(seen, of)
    low, high = lower_bound(seen, of, confidence), upper_bound(seen, of, confidence)
    assert 0 <= low <= seen / of <= high <= 1
    assert upper_bound(seen, of * 2, confidence) <= high + 1e-12


@given(st.floats(0.001, 0.5), st.floats(0.5, 0.999))
def test_needed_is_the_smallest_sample_that_bounds_the_rate(rate: float, confidence: float) -> None:
    size = needed(rate, confidence)
    assert upper_bound(0, size, confidence) <= rate + 1e-9
    assert size == 1 or upper_bound(0, size - 1, confidence) > rate - 1e-9


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="from 0 to 3 cases"):
        upper_bound(4, 3, 0.95)
    with pytest.raises(ValueError, match="confidence must be over 0"):
        upper_bound(1, 3, 1.0)
    with pytest.raises(OptionsError, match="error must be over 0"):
        calibrate([Judged(1.0, True, True)], error=0)
    with pytest.raises(OptionsError, match="at least one pair"):
        calibrate([])


def test_the_lowest_threshold_that_the_sample_supports_is_chosen() -> None:
    sample = [Judged(0.9, True, True)] * 1000 + [Judged(0.7, True, False)] * 100 + [Judged(0.9, False, False)] * 500
    found = calibrate(sample)
    assert found.chosen is not None
    assert found.chosen.threshold == 0.75
    assert found.chosen.bound <= 0.01
    assert found.chosen.recall == 1.0
    assert calibrate(sample, laws=False).chosen is None


def test_a_small_sample_supports_nothing() -> None:
    """A hundred pairs without a wrong one do not show an error of 1 %."""
    found = calibrate([Judged(1.0, True, True)] * 100)
    assert found.chosen is None
    assert found.needed > 300
    assert calibrate([Judged(1.0, True, True)] * found.needed).chosen is not None


def test_a_claim_fails_as_rarely_as_it_says() -> None:
    """Samples of a source that is wrong in 2 % are taken for one of at most 2 % in at most 5 % of the trials."""
    chance = random.Random(5)
    misled = 0
    for _ in range(100):
        sample = [Judged(chance.uniform(0.6, 1), True, chance.random() >= 0.0201) for _ in range(600)]
        misled += calibrate(sample, error=0.02).chosen is not None
    assert misled <= 100 * 0.05 + 3 * (100 * 0.05 * 0.95) ** 0.5


def pairs_file(path: Path, count: int) -> Path:
    chance = random.Random(7)
    makers = [(make, 1) for make in TRUE.values()] + [(make, 0) for make in FORBIDDEN.values()]
    rows = [(*make(chance), same) for _ in range(count) for make, same in makers]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("question1", "question2", "is_duplicate"), *rows])
    return path


def test_the_command(tmp_path: Path) -> None:
    path = pairs_file(tmp_path / "pairs.csv", 100)
    run = CliRunner().invoke(cli.app(), ["calibrate", str(path)])
    assert run.exit_code == 0, run.output
    assert "similar_threshold = 0.60" in run.output
    told = json.loads(CliRunner().invoke(cli.app(), ["calibrate", str(path), "--json"]).stdout)
    assert told["chosen"]["wrong"] == 0
    assert told["pairs"] == 100 * (len(TRUE) + len(FORBIDDEN))
    unbound = CliRunner().invoke(cli.app(), ["calibrate", str(path), "--no-laws"])
    assert unbound.exit_code == 1
    assert "No threshold" in unbound.output


def test_the_command_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("question1,question2,same\na,b,1\n")
    run = CliRunner().invoke(cli.app(), ["calibrate", str(path)])
    assert (run.exit_code, "no column 'is_duplicate'" in run.output) == (2, True)
    path.write_text("question1,question2,is_duplicate\na,b,1\na,b,perhaps\n")
    run = CliRunner().invoke(cli.app(), ["calibrate", str(path)])
    assert (run.exit_code, "line 3" in run.output) == (2, True)
    path.write_text(f"question1,question2,is_duplicate\n{'x' * 140_000},b,1\n")
    run = CliRunner().invoke(cli.app(), ["calibrate", str(path)])
    assert (run.exit_code, "cannot be read as CSV" in run.output) == (2, True)
    path.write_text("question1,question2,is_duplicate\na,b,1\n", encoding="utf-16")
    run = CliRunner().invoke(cli.app(), ["calibrate", str(path)])
    assert (run.exit_code, "is not in UTF-8" in run.output) == (2, True)
    few = pairs_file(path, 2)
    run = CliRunner().invoke(cli.app(), ["calibrate", str(few)])
    assert (run.exit_code, "would." in run.output) == (1, True)
