"""Every block of every page does what the page says, in an empty folder."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachecore_llm.testing.provider import LocalProvider
from tests.docs.pages import REDIS, matches, name, pages
from tests.docs.reader import Reader, empty_server

pytestmark = pytest.mark.soak  # minutes: `make docs` runs them before it builds the site
ELSEWHERE = {"operating", "commands", "runbooks", "frameworks", "frameworks_web", "frameworks_agents"}
"""Pages with tests of their own: `tests/integration/operating`, `tests/frameworks`, `tests/llm/sdk`."""
PAGES = [
    page
    for page in pages()
    if page.stem not in ELSEWHERE and re.search(r"^```(python|console)", page.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalProvider]:
    with LocalProvider() as running:
        yield running


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_does_what_the_page_says(
    page: Path, provider: LocalProvider, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with_redis = REDIS.search(page.read_text(encoding="utf-8"))
    server = empty_server(request.getfixturevalue("running_servers")) if with_redis else ""
    Reader(page, tmp_path, Path(sys.executable), provider.url, server).read()


def test_an_output_is_compared() -> None:
    assert matches("a\nb … c\n…\nd\n", "a\nb 12 c\n1\n2\nd\n")
    assert matches("", "")
    assert not matches("a\n", "b\n")
    assert not matches("", "a\n")
    assert not matches("a …\n", "a b\nc\n")
