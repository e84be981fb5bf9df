"""The suite finds what it is there to find: each known bug of others, put back by a patch, is noticed."""

from __future__ import annotations

from operator import attrgetter

import pytest

from cachecore.testing.simulation.run import Broken, simulate
from tests.simulation import bugs_alone, bugs_of_outages, bugs_of_streams
from tests.simulation.bugs import BUGS, Bug

SEEDS = 200
STEPS = 1000
NOTICED_BY = {
    "stamps_read_after_the_factory": 85,
    "late_joiner_served": 5,
    "refresh_joins": 4,
    "absence_is_evidence": 126,
    "entry_of_another_key_accepted": 123,
    "ttl_in_a_second_step": 12,
    "hanging_factory_holds_the_key": 18,
    "pending_dropped": 34,
    "overflow_dropped": 58,
    "not_sent_again_after_a_failover": 99,
    "pending_not_heeded": 172,
    "background_work_left_over": 1,
    "cancellation_reaches_the_flight": 2,
    "cancellation_swallowed": 2,
    "handed_out_by_reference": 0,
    "invalidation_forgets_only_memory": 7,
    "joiners_share_the_object": 0,
    "joins_in_spite_of_tags": 1,
    "key_without_namespace": 0,
    "missing_stamp_matches": 13,
    "no_deadline": 4,
    "no_tombstone": 1,
    "sliding_ttl": 0,
    "store_errors_reach_the_caller": 1,
    "swap_replaced_by_set": 6,
    "half_a_stream_stored": 4,
    "abandoned_half_stored": 16,
    "streams_are_not_shared": 16,
    "stream_stays_joinable": 13,
    "first_reader_owns_the_stream": 13,
    "late_reader_misses_the_beginning": 16,
    "lag_is_silent": 37,
    "chunks_by_reference": 1,
    "stale_after_the_first_chunk": 4,
    "cut_is_an_end": 4,
    "dropped_chunks_are_stored_over": 1,
    "writers_clock_decides": 0,
}
"""Bug to the seed that noticed it last, which is tried first. A wrong one here costs time alone."""


def test_there_are_enough_of_them() -> None:
    assert len(BUGS) >= 30
    alone = {bugs_alone.dead_link_trusted.__name__, bugs_of_streams.abandoned_stream_runs_on.__name__}
    assert {bug.name for bug in BUGS} >= {bugs_of_outages.pending_dropped.__name__}
    assert {bug.name for bug in BUGS if bug.check} >= alone
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
    first = NOTICED_BY.get(bug.name, 0)
    for seed in (first, *range(first), *range(first + 1, SEEDS)):
        try:
            simulate(seed, STEPS)
        except Broken:
            return
    pytest.fail(f"nobody noticed: {bug.whose}")


@pytest.mark.parametrize("seed", sorted(set(NOTICED_BY.values())))
def test_histories_that_notice_are_right_without_them(seed: int) -> None:
    simulate(seed, STEPS)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_long_histories_are_right_without_them(first: int) -> None:
    for seed in range(first, first + 10):
        simulate(seed, STEPS)


def test_table_of_seeds_names_bugs_that_there_are() -> None:
    assert NOTICED_BY.keys() <= {bug.name for bug in BUGS if bug.check is None}
    assert max(NOTICED_BY.values()) < SEEDS
