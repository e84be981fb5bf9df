"""How many of the held pairs the laws let pass."""

from __future__ import annotations

from tests.llm.similar.held import held


def test_the_set_is_what_it_says() -> None:
    pairs = held()
    assert sum(pair.same for pair in pairs) == 100
    assert sum(not pair.same for pair in pairs) == 100
    assert len({(pair.a, pair.b) for pair in pairs}) == 200
    assert len({pair.topic for pair in pairs}) == 6


def test_paraphrases_pass_and_traps_do_not() -> None:
    """At least a quarter of the paraphrases; of the traps no more than one in fifty."""
    pairs = held()
    assert sum(pair.passes for pair in pairs if pair.same) >= 25
    assert sum(pair.passes for pair in pairs if not pair.same) <= 2
