"""Errors and refusals dressed as text are told from real answers, in eight languages, and rarely too many.

A wrong refusal costs money: the same question is paid for again and again.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore_llm.policy.phrases import LANGUAGES, MAX_PAGE, dressed_text
from tests.llm.policy.judged import texts, why

WRONG_REFUSALS = 0.002
"""The part of good answers that may be turned away."""

BAD = texts("bad_answers.txt")
GOOD = texts("good_answers.txt")


@pytest.mark.parametrize(("heading", "text"), BAD)
def test_errors_and_refusals_are_not_stored(heading: str, text: str) -> None:
    assert why(text) == heading.split()[1]


def test_every_language_has_its_texts() -> None:
    codes = {heading.split()[0] for heading, _ in BAD}
    assert codes == {"en", "de", "fr", "es", "pt", "it", "ja", "zh"}
    assert len(codes) == len(LANGUAGES)


def test_ordinary_answers_are_stored() -> None:
    """Answers about errors, with apologies, of one word; poems, code, lists, JSON, stories, in many languages."""
    assert len(GOOD) >= 500
    turned_away = [text for _, text in GOOD if why(text) is not None]
    assert len(turned_away) <= WRONG_REFUSALS * len(GOOD), turned_away


def test_sentences_of_customers_are_stored(shared_data: Path) -> None:
    """33,703 questions of customers, taken for answers: many complain of errors, in the first person."""
    data = shared_data / "faq"
    with gzip.open(data / "banking77_train.csv.gz") as packed:
        questions = [row[0] for row in csv.reader(io.TextIOWrapper(packed, "utf-8"))][1:]
    with gzip.open(data / "clinc150.jsonl.gz") as packed:
        questions += [json.loads(line)["text"] for line in packed]
    assert len(questions) == 33_703
    turned_away = [text for text in questions if why(text) is not None]
    assert len(turned_away) <= WRONG_REFUSALS * len(questions), turned_away


def test_long_text_that_begins_as_an_error_is_about_errors() -> None:
    assert why("Error: model overloaded") == "error_text"
    assert why("Error: " + "is a word that this long text begins with. " * 60) is None
    assert why("I can't help with that. " + "Here is more. " * 60) is None


@given(st.text(max_size=MAX_PAGE) | st.text("aäi'’ .,:!?errosycnt\n*抱歉申し", max_size=MAX_PAGE))
def test_any_text_is_judged(text: str) -> None:
    assert dressed_text(text) in (None, "refused", "error_text")


@pytest.mark.parametrize(
    "text",
    [
        *("sorry, " * 90, "i " * 300, "the " * 170, "internal " * 70, "error " * 110, "currently " * 60, "。" * 600),
        *(
            "not " * 170,
            "bei " * 170,
            "no puedo " * 70,
            "we are experiencing " + "high " * 120,
            "<html>" + "<h1>" * 900,
        ),
        *("a." * 300, "[error " * 90, "i can't help with that, but " * 20, "申し訳" * 200, "我无法" * 200, "の" * 600),
        " " * 3900 + "x",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """Processor time, not of a busy machine: the slowest of these takes under 1 ms."""
    began = time.thread_time()
    for _ in range(5):
        dressed_text(text)
    assert time.thread_time() - began < 0.1
