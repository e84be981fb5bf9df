"""How many of the held pairs the laws let pass."""

from __future__ import annotations

import pytest

from tests.llm.similar.held import held


def test_the_set_is_what_it_says() -> None:
    pairs = held()
    for written, count in (("before", 100), ("after", 60)):
        assert sum(pair.same for pair in pairs if pair.written == written) == count
        assert sum(not pair.same for pair in pairs if pair.written == written) == count
    assert len({(pair.a, pair.b) for pair in pairs}) == 320
    assert len({pair.topic for pair in pairs}) == 7


@pytest.mark.parametrize("written", ["before", "after"])
def test_paraphrases_pass_and_traps_do_not(written: str) -> None:
    """At least two in five of the paraphrases; of the traps no more than one in a hundred."""
    pairs = [pair for pair in held() if pair.written == written]
    true = [pair.passes for pair in pairs if pair.same]
    assert sum(true) >= len(true) * 0.4
    assert sum(pair.passes for pair in pairs if not pair.same) <= 1
