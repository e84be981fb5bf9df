"""The site is built without a warning, and is read without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file()
    assert "Three ways in" in (site / "index.html").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures are the site's own."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe)[^>]+src=\"?([^\"\s>]+)", text)
        fetched += re.findall(r"<link[^>]+rel=\"?(?:stylesheet|preload|preconnect|icon)[^>]+href=\"?([^\"\s>]+)", text)
        assert fetched
        assert not [one for one in fetched if one.startswith(("http:", "https:", "//"))], page
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_public_names_have_reference_pages(site: Path) -> None:
    import cachecore

    text = (site / "reference" / "cachecore.html").read_text(encoding="utf-8")
    for name in set(cachecore.__all__) - {"__version__"}:
        assert f'id="cachecore.{name}"' in text, name


def test_assistants_find_every_page_as_text(site: Path) -> None:
    listed, full = ((site / name).read_text(encoding="utf-8") for name in ("llms.txt", "llms-full.txt"))
    for page in DOCS.rglob("*.md"):
        url = str(page.relative_to(DOCS).with_suffix(".html"))
        assert f"]({url}): " in listed, url
        assert f"<!-- {url} -->" in full
    assert "@cache.cached" in full


def test_figures_and_pictures_of_the_benchmarks_are_shown(site: Path) -> None:
    text = (site / "performance.html").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert f"<code>{result['command']}</code>" in text
    pictures = re.findall(r'<img[^>]+src="?(performance/[^"\s>]+)', text)
    assert pictures
    assert all((site / picture).is_file() for picture in pictures)


def test_search_works_from_the_disk(site: Path) -> None:
    assert (site / "search" / "search_index.js").is_file()
