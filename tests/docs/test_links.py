"""Every link inside the repository leads to a file, and to a heading of it; every page is in the site's navigation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, name, pages

CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]


def anchors(page: Path) -> set[str]:
    """Return the names of the headings of a page, as GitHub and mkdocs make them."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        found.add(re.sub(r"[-\s]+", "-", words))
    return found


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}: {sorted(anchors(target))}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"- (?:[^:\n]+: )?(\S+\.md)", NAVIGATION))
    missing = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - listed
    assert not missing, f"add a line to `nav` in mkdocs.yml for each of {sorted(missing)}"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name)
def test_a_page_says_first_what_it_is_about(page: Path) -> None:
    """Its title is followed by a sentence, before any list, table or code; `llms.txt` shows that sentence."""
    first = page.read_text(encoding="utf-8").split("\n\n")[1]
    assert re.match(r"[\w`*\[]", first), first
    assert len(first.split()) > 5, first


def test_pages_have_one_title() -> None:
    """It is the first line, and no second one hides another page behind it."""
    for page in DOCS.rglob("*.md"):
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert text.startswith("# "), name(page)
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, name(page)
