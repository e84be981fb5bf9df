"""Pages, docstrings and comments are plain: few words that stand for a person or a thing without a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, name, pages
from tests.docs.prose import Measure, measured, named, of_code, of_markdown

PACKAGES = [
    ROOT / "cachecore",
    *(path for group in ("backends", "integrations") for path in ROOT.glob(f"{group}/*/cachecore_*") if path.is_dir()),
]


@pytest.mark.parametrize("page", pages(), ids=name)
def test_a_page_is_plain(page: Path) -> None:
    lines = of_markdown(page.read_text(encoding="utf-8"))
    measure = measured(lines)
    assert measure.is_plain, "\n".join([str(measure), *named(lines)])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_docstrings_and_comments_are_plain(package: Path) -> None:
    lines = [line for path in sorted(package.rglob("*.py")) for line in of_code(path.read_text(encoding="utf-8"))]
    measure = measured(lines)
    assert measure.words > 100
    assert measure.is_plain, measure


def test_words_are_counted_where_they_are_prose() -> None:
    assert measured(of_markdown("Who `what`\n```text\nwhat\n```\n[what](whose.md) <!-- nobody -->")) == Measure(2, 1, 1)
    assert measured(of_code('"""What nobody knows."""\nwhat = 1  # whatever')) == Measure(4, 2, 1)
    assert not Measure(1000, 2, 0).is_plain
    assert not Measure(1000, 0, 4).is_plain
    assert Measure(100, 1, 2).is_plain
