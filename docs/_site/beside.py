"""Pages made of files that lie outside `docs/`: the README, the changelog, and examples that a page links to.

A page of the repository links to files by their paths, so that the links work where the repository is read. The site
has no such files; each gets a page of its own, and the links are rewritten to it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
LINK: Final = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE: Final = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
NAMED: Final = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
PICTURES: Final = (".svg", ".png")
LANGUAGES: Final = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".json": "json"}


def page_name(path: str) -> str:
    """Return the page of the repository's file `path`, relative to `docs/`. Pictures stay as they are."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in NAMED:
        return NAMED[path]
    return f"beside/{path}" if path.endswith((".md", *PICTURES)) else f"beside/{path}.md"


def _is_outside(link: str) -> bool:
    return "://" in link or link.startswith(("#", "mailto:"))


def linked(text: str, path: str) -> set[str]:
    """Return the repository paths of the files outside `docs/` that the page at `path` links to.

    Links inside code are no links.
    """
    found = set()
    for part in FENCE.split(text)[::2]:
        for _, link, _ in LINK.findall(part):
            if not _is_outside(link):
                found.add(_resolved(path, link.partition("#")[0]))
    return {one for one in found if not one.startswith("docs/")}


def rewritten(text: str, path: str) -> str:
    """Return the Markdown of the page at `path` with its links made relative to its place in the site."""
    here = posixpath.dirname(page_name(path))

    def replace(match: re.Match[str]) -> str:
        before, link, after = match.groups()
        if _is_outside(link):
            return match.group()
        target, mark, anchor = link.partition("#")
        page = page_name(_resolved(path, target))
        return f"{before}{posixpath.relpath(page, here or '.')}{mark}{anchor}{after}"

    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(replace, part) for part in parts[::2]]
    return "".join(parts)


def content(path: str) -> str:
    """Return the Markdown of the page for the file or folder at `path`.

    Raises:
        FileNotFoundError: a page links to `path` and there is no such file.
    """
    file = ROOT / path
    if file.suffix == ".md":
        return file.read_text(encoding="utf-8")
    files = sorted(one for one in file.iterdir() if one.is_file()) if file.is_dir() else [file]
    shown = [f"# `{path}`"]
    for one in files:
        text = one.read_text(encoding="utf-8").rstrip()
        heading = f"## `{one.name}`\n\n" if file.is_dir() else ""
        shown.append(f"{heading}````{LANGUAGES.get(one.suffix, 'text')}\n{text}\n````")
    return "\n\n".join(shown) + "\n"


def _resolved(path: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link)) if link else path
