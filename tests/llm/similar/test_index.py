"""The index of questions: it finds all that are alike enough, within its bounds."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachecore_llm.similar.index import SimilarityIndex, cosine, folded, grams

QUESTIONS = Path(__file__).parents[3] / "examples" / "questions" / "banking77.csv"
texts = st.text(alphabet="abc ?", min_size=1, max_size=25)


def test_what_does_not_count() -> None:
    """Letter case, punctuation, runs of space and compatibility forms."""
    assert folded("  How do\tI pay?! ") == folded("how do i pay") == folded("ＨＯＷ do I pay…")


def test_cosine_of_known_sets() -> None:
    assert cosine(grams("abcd"), grams("abcd")) == 1.0
    assert cosine(grams("abcd"), grams("wxyz")) == 0.0
    # " ab", "abc", "bc " and " ab", "abd", "bd ": one of three and three
    assert cosine(grams("abc"), grams("abd")) == pytest.approx(1 / 3)
    assert cosine(grams(""), grams("")) == 0.0


@settings(max_examples=300)
@given(st.lists(texts, max_size=30), texts, st.floats(0.2, 1.0))
def test_search_finds_exactly_what_is_alike_enough(known: list[str], asked: str, threshold: float) -> None:
    """What the search skips to be fast it does not miss."""
    index = SimilarityIndex(threshold=threshold)
    for message in known:
        index.add("p", message)
    expected = {message for message in known if message != asked and cosine(grams(asked), grams(message)) >= threshold}
    found = index.search("p", asked)
    assert {match.message for match in found} == expected
    likenesses = [match.similarity for match in found]
    assert likenesses == sorted(likenesses, reverse=True)
    assert all(math.isclose(m.similarity, cosine(grams(asked), grams(m.message))) for m in found)


@given(st.lists(st.tuples(st.sampled_from(["add", "discard", "search"]), st.sampled_from("pq"), texts), max_size=40))
def test_index_remembers_like_a_plain_list(steps: list[tuple[str, str, str]]) -> None:
    """Adding, forgetting and searching in any order never loses or revives a question."""
    index = SimilarityIndex(threshold=0.5, max_messages=8)
    model: list[tuple[str, str]] = []
    recent: list[str] = []
    for step, partition, message in steps:
        if step == "add":
            index.add(partition, message)
            recent = [*(name for name in recent if name != partition), partition]
            if (partition, message) not in model:
                model.append((partition, message))
            if len(model) > 8:
                oldest = next(name for name in recent if any(pair[0] == name for pair in model))
                model.remove(next(pair for pair in model if pair[0] == oldest))
        elif step == "discard":
            index.discard(partition, message)
            model = [pair for pair in model if pair != (partition, message)]
        else:
            found = {match.message for match in index.search(partition, message)}
            alike = {
                known
                for name, known in model
                if name == partition and known != message and cosine(grams(message), grams(known)) >= 0.5
            }
            assert found == alike
        assert len(index) == len(model)


def test_partitions_do_not_see_each_other() -> None:
    index = SimilarityIndex()
    index.add("a", "How do I reset my password?")
    assert index.search("b", "How can I reset my password?") == []
    assert len(index.search("a", "How can I reset my password?")) == 1


def test_bounds() -> None:
    """Long questions are not matched, and the oldest make room."""
    index = SimilarityIndex(max_messages=3, max_chars=10)
    index.add("p", "x" * 11)
    assert len(index) == 0
    for number in range(5):
        index.add("p", f"number {number}")
    assert len(index) == 3
    assert index.search("p", "number 0") == []
    off = SimilarityIndex(max_messages=0)
    off.add("p", "anything")
    assert len(off) == 0


def test_search_on_real_questions_finds_what_comparing_all_finds() -> None:
    with QUESTIONS.open(encoding="utf-8", newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)][:1200]
    index = SimilarityIndex(threshold=0.8)
    for question in questions[:1000]:
        index.add("p", question)
    found = {(asked, match.message) for asked in questions[1000:] for match in index.search("p", asked)}
    bags = {question: grams(question) for question in questions}
    assert found == {(a, k) for a in questions[1000:] for k in questions[:1000] if cosine(bags[a], bags[k]) >= 0.8}
    assert found
