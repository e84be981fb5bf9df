"""The pages of the guide: every example runs as it stands and prints what the page says; every page is in the index."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachecore_llm import CacheConfig, Controls
from cachecore_llm.testing.provider import LocalProvider

DOCS = Path(__file__).parents[2] / "docs"
INDEX = DOCS / "llm.md"
PAGES = sorted((DOCS / "llm").glob("*.md"))
SHOWING = [page for page in (INDEX, *PAGES) if page.stem != "hit-rate"]
"""The pages with examples; the figures of the other one are held by the test of the demo."""
EXAMPLE = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalProvider]:
    """Where the SDKs of the examples find their provider; and an empty folder to run in."""
    with LocalProvider() as running:
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, "sk-example")
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        monkeypatch.chdir(tmp_path)
        yield running


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.stem)
def test_examples_do_what_the_page_says(page: Path, provider: LocalProvider) -> None:
    """In this process, one after the other, each with names of its own. An example without output prints nothing."""
    examples = EXAMPLE.findall(page.read_text(encoding="utf-8"))
    assert examples, "a page shows how it is done"
    for code, expected in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{page.name}: {code[:40]!r}", "exec"), {"__name__": "__main__"})
        assert printed.getvalue() == expected


def test_pages_are_linked_and_links_lead_somewhere() -> None:
    """From the index to every page; and from every page to files that are there."""
    assert {f"llm/{page.name}" for page in PAGES} <= set(re.findall(r"\]\(([^)#]+)", INDEX.read_text(encoding="utf-8")))
    for page in [INDEX, *PAGES]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).is_file(), f"{page.name}: {link}"


def test_pages_are_short() -> None:
    for page in [INDEX, *PAGES]:
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 120, page.name


def test_every_control_and_every_lifetime_is_listed() -> None:
    listed = (DOCS / "llm" / "controls.md").read_text(encoding="utf-8")
    lifetimes = ("ttl_seconds", "stale_if_error", "stale_while_revalidate", "fallback_ttl", "live_ttl", "max_retention")
    for name in (*Controls.__dataclass_fields__, *lifetimes):
        assert f"`{name}" in listed, name
    retention = CacheConfig().lifetimes.retention
    assert retention is not None
    assert f"**{retention / 3600:.0f} hours**" in listed
