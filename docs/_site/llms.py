"""The site for programs that read text: `llms.txt` lists the pages, `llms-full.txt` holds them all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Text(NamedTuple):
    """One page: where it lies in the site, the section it is in, its title, and its Markdown."""

    url: str
    section: str
    title: str
    markdown: str


def index(name: str, description: str, pages: Sequence[Text]) -> str:
    """Return the list of `pages` by section, each with its first sentence."""
    lines = [f"# {name}", "", f"> {description}", ""]
    section = None
    for page in pages:
        if page.section != section:
            section = page.section
            lines += ["", f"## {section}", ""]
        lines.append(f"- [{page.title}]({page.url}): {first_sentence(page.markdown)}")
    return "\n".join(lines) + "\n"


def full(pages: Sequence[Text]) -> str:
    """Return all `pages`, each under its address, less those that are made of docstrings alone."""
    written = [page for page in pages if not re.search(r"^::: ", page.markdown, re.MULTILINE)]
    return "\n\n".join(f"<!-- {page.url} -->\n\n{page.markdown.strip()}" for page in written) + "\n"


def first_sentence(markdown: str) -> str:
    """Return the first sentence of the first paragraph, without links; empty if the page has none."""
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    for paragraph in re.split(r"\n\s*\n", text):
        words = " ".join(paragraph.split())
        if words and not words.startswith(("#", "|", "-", "<", "!", ">", ":::")):
            return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.split(r"(?<=[.:?!]) ", words)[0]).rstrip(":")
    return ""
