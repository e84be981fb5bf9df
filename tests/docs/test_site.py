"""The site is built without a warning, and is read without a network."""

from __future__ import annotations

import importlib
import json
import os
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
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
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
    pages = [path.stem for path in (site / "reference").glob("cachecore*.html") if path.stem != "cachecore_frameworks"]
    assert {"cachecore", "cachecore_llm", "cachecore_postgres"} <= set(pages)
    for page in pages:
        text = (site / "reference" / f"{page}.html").read_text(encoding="utf-8")
        for name in set(importlib.import_module(page).__all__) - {"__version__"}:
            assert f'id="{page}.{name}"' in text, f"{page}.{name}"


def test_names_of_further_modules_have_their_docstrings(site: Path) -> None:
    names = re.findall(r"^- `([\w.]+\.\w+)`: ", (DOCS / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    text = (site / "reference" / "further-modules.html").read_text(encoding="utf-8")
    assert len(names) > 20
    assert not [name for name in names if f'id="{name}"' not in text]


def test_every_option_of_every_command_has_its_line(site: Path) -> None:
    """The page is made of the commands; what `--help` prints is on it, and no other package's command is missing."""
    text = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    for name in ("analyse", "config show", "copy", "doctor", "invalidate", "proxy", "warm"):
        printed = subprocess.run(
            [sys.executable, "-m", "cachecore.cli", *name.split(), "--help"],
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout
        section = text.partition(f"<code>{name}</code>")[2].partition("<h2")[0]
        options = set(re.findall(r"(?<=\s)--[a-z][a-z-]*", printed)) - {"--help"}
        assert options
        assert not [option for option in options if option not in section], name


def test_each_adapter_of_a_framework_has_its_reference(site: Path) -> None:
    text = (site / "reference" / "cachecore_frameworks.html").read_text(encoding="utf-8")
    for path in (ROOT / "integrations/frameworks/cachecore_frameworks").glob("[!_]*.py"):
        assert f'id="cachecore_frameworks.{path.stem}"' in text, path.stem


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
        if path.stem != "frameworks":  # those of `make hits` are on the page of the frameworks
            assert f"<code>{result['command']}</code>" in text
    pictures = re.findall(r'<img[^>]+src="?(performance/[^"\s>]+)', text)
    assert len(pictures) == (DOCS / "performance.md").read_text(encoding="utf-8").count("![") > 0
    assert all((site / picture).is_file() for picture in pictures)


def test_search_works_from_the_disk(site: Path) -> None:
    assert (site / "search" / "search_index.js").is_file()
