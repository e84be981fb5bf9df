"""The suite finds what it is there to find: each known bug of others, put back by a patch, is noticed."""

from __future__ import annotations

from operator import attrgetter

import pytest

from cachecore.testing.simulation.run import Broken, simulate
from tests.simulation import bugs_alone
from tests.simulation.bugs import BUGS, Bug

SEEDS = 80
STEPS = 1000


def test_there_are_enough_of_them() -> None:
    assert len(BUGS) >= 30
    assert {bug.name for bug in BUGS if bug.check} >= {bugs_alone.dead_link_trusted.__name__}
    assert len({bug.name for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=attrgetter("name"))
def test_bug_is_noticed(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """What notices it passes without the patch: the histories in `test_seeds`, the checks of their own here."""
    if bug.check is not None:
        bug.check()
        bug.patch(monkeypatch)
        with pytest.raises(AssertionError):
            bug.check()
        return
    bug.patch(monkeypatch)
    for seed in range(SEEDS):
        try:
            simulate(seed, STEPS)
        except Broken:
            return
    pytest.fail(f"nobody noticed: {bug.whose}")


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_long_histories_are_right_without_them(first: int) -> None:
    for seed in range(first, first + 10):
        simulate(seed, STEPS)
