"""What is to be invalidated stays within bounds by naming less more broadly, and never by naming less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore.invalidation.outbox.backlog import (
    Backlog,
    Groups,
    Invalidation,
    Recent,
    as_lines,
    entries,
    from_line,
    stamps,
)

ROOT = ("s:n",)
FAQ: Groups = (("s:n/faq",), ROOT)
FAQ_V3: Groups = (("s:n/faq/v3",), *FAQ)


def names(backlog: Backlog) -> set[str]:
    return {item.name for item in backlog}


def test_entries_become_their_namespace_and_namespaces_the_root() -> None:
    backlog = Backlog(2, entries(["e1", "e2"], FAQ_V3))
    assert names(backlog) == {"e1", "e2"}
    backlog.add(entries(["e3"], FAQ_V3))
    assert names(backlog) == {"s:n/faq/v3"}
    backlog.add(stamps(["s:n/other"], (("s:n/other",), ROOT)))
    assert names(backlog) == {"s:n/faq/v3", "s:n/other"}
    backlog.add(stamps(["s:n/more"], (("s:n/more",), ROOT)))
    assert names(backlog) == {"s:n/faq", "s:n/other", "s:n/more"} or names(backlog) == {"s:n"}


def test_root_stays_whatever_collapses_later() -> None:
    """It is never replaced by something below it."""
    backlog = Backlog(1, stamps(ROOT, (ROOT,)))
    for number in range(5):
        backlog.add(entries([f"e{number}"], FAQ_V3))
        backlog.add(stamps([f"s:t/{number}"], FAQ_V3))
        assert "s:n" in names(backlog)


def test_tag_becomes_the_root_since_its_entries_may_lie_anywhere() -> None:
    backlog = Backlog(1, stamps(["s:t/doc"], FAQ_V3))
    backlog.add(stamps(["s:t/other"], FAQ_V3))
    assert names(backlog) == {"s:n"}


def test_copies_of_a_stamp_collapse_together() -> None:
    """Where stamps have a copy per slot, all copies of what is above are needed."""
    root = ("s:{0}n", "s:{1}n")
    parents: Groups = (("s:{0}n/a", "s:{1}n/a"), root)
    backlog = Backlog(3, stamps(parents[0], parents))
    backlog.add(entries(["e1", "e2"], parents))
    assert names(backlog) >= set(parents[0]) or names(backlog) == set(root)
    backlog.add(stamps(["s:{0}t/x", "s:{1}t/x"], parents))
    assert names(backlog) == set(root)


def test_only_the_very_item_is_removed() -> None:
    """What was added again under the same name is another invalidation."""
    (first,) = entries(["e"], FAQ)
    (second,) = entries(["e"], FAQ)
    backlog = Backlog(10, [first])
    backlog.add([second])
    backlog.remove([first])
    assert list(backlog) == [second]
    backlog.remove([second])
    assert not backlog


keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
depths = st.sampled_from([(ROOT,), FAQ, FAQ_V3])
items = st.one_of(
    st.builds(lambda key, parents: entries([f"e:{len(parents)}:{key}"], parents)[0], keys, depths),
    st.builds(lambda key, parents: stamps(["s:t" + key], parents)[0], keys, depths),
    depths.map(lambda parents: stamps(parents[0], parents)[0]),
)


@given(st.lists(items, max_size=30), st.integers(1, 8))
def test_nothing_is_ever_dropped(added: list[Invalidation], most: int) -> None:
    """For each item there is itself or something above it; and there are no more than the bound, or just the root."""
    backlog = Backlog(most)
    for item in added:
        backlog.add([item])
    left = names(backlog)
    for item in added:
        assert item.name in left or any(left.issuperset(group) for group in item.above)
    assert len(left) <= most or left == set(ROOT)


@given(st.lists(items, max_size=10))
def test_lines_mean_what_they_were_made_of(made: list[Invalidation]) -> None:
    import json

    read = [item for line in as_lines(made) for item in from_line(json.loads(json.dumps(line)))]
    assert sorted((item.name, item.is_stamp, item.above) for item in read) == sorted(
        (item.name, item.is_stamp, item.above) for item in made
    )


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"above": 1},
        {"above": [["a b"]]},
        {"above": [], "stamps": [1]},
        {"above": [], "entries": "e"},
        {"above": [1]},
    ],
    ids=str,
)
def test_line_of_something_else_is_refused(line: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="pending invalidations"):
        from_line(line)


def test_recent_is_remembered_for_its_time_and_at_most_twice_that() -> None:
    recent = Recent(10, 5.0)
    (first,) = entries(["first"], FAQ)
    (second,) = entries(["second"], FAQ)
    recent.add([first], 100.0)
    assert recent.items(104.9) == [first]
    recent.add([second], 105.1)
    assert recent.items(105.1) == [first, second]
    assert recent.items(110.2) == [second]
    assert recent.items(115.3) == []
    recent.add([first], 200.0)
    assert recent.items(300.0) == []
