"""Hooks of mkdocs: pages for files outside `docs/`, reference pages of packages, scripts without a network."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import beside
import commandline
import llms
from mkdocs.structure.files import File

PACKAGES = re.compile(r"^reference/(cachecore.*)\.md$")
COMMANDS = "reference/command-line.md"
FURTHER = "reference/further-modules.md"

ASSETS = ("mermaid.min.js", "iframe-worker.js")
"""Diagrams; and the search on pages that are opened from the disk."""
_read: dict[str, llms.Text] = {}
SHIM = "https://unpkg.com/iframe-worker/shim"


def on_config(config: Any) -> Any:
    """Draw diagrams where the library is at hand; elsewhere they are shown as the text they are."""
    if "mermaid.min.js" in _assets():
        import pymdownx.superfences

        fence = {"name": "mermaid", "class": "mermaid", "format": pymdownx.superfences.fence_code_format}
        config["mdx_configs"].setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
        config["extra_javascript"].append("assets/mermaid.min.js")
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that `docs/` does not hold, and the scripts."""
    for page, text in _made(files, config).items():
        if isinstance(text, Path):
            files.append(File.generated(config, page, abs_src_path=str(text)))
        else:
            files.append(File.generated(config, page, content=text))
    for name, path in _assets().items():
        files.append(File.generated(config, f"assets/{name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite the links of a page of `docs/`; those of the others are rewritten when they are made."""
    if page.file.generated_by is None:
        markdown = beside.rewritten(markdown, f"docs/{page.file.src_uri}")
    if not page.file.src_uri.startswith("beside/"):
        _read[page.file.src_uri] = llms.Text(page.file.dest_uri, _section(page), page.title or "", markdown)
    return markdown


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Keep the page from fetching a script."""
    return _own_script(output, "../" * page.file.dest_uri.count("/"))


def on_post_template(output: str, template_name: str, config: Any) -> str:
    """Keep the page of an unknown address from fetching a script."""
    return _own_script(output, "")


def _own_script(output: str, root: str) -> str:
    """Take the one script that the theme would fetch from another host from here, or leave it out."""
    if "iframe-worker.js" in _assets():
        return output.replace(SHIM, f"{root}assets/iframe-worker.js")
    return re.sub(rf'<script src="?{SHIM}"?></script>', "", output)


def on_post_build(config: Any) -> None:
    """Write the pages as text, in the order of the navigation."""
    order = {name: place for place, name in enumerate(_leaves(config["nav"]))}
    pages = sorted(_read.values(), key=lambda page: order.get(page.url.replace(".html", ".md"), len(order)))
    site = Path(config["site_dir"])
    (site / "llms.txt").write_text(llms.index(config["site_name"], config["site_description"], pages), encoding="utf-8")
    (site / "llms-full.txt").write_text(llms.full(pages), encoding="utf-8")


def _section(page: Any) -> str:
    return page.ancestors[-1].title if page.ancestors else "Start"


def _assets() -> dict[str, Path]:
    """Return the scripts at hand: files of the folder that `DOCS_ASSETS` names."""
    folder = Path(os.environ.get("DOCS_ASSETS", "/nonexistent"))
    return {name: folder / name for name in ASSETS if (folder / name).is_file()}


def _made(files: Any, config: Any) -> dict[str, str | Path]:
    todo = set(beside.NAMED)
    for file in files.documentation_pages():
        todo |= beside.linked(file.content_string, f"docs/{file.src_uri}")
    made: dict[str, str | Path] = {}
    done: set[str] = set()
    while todo:
        path = todo.pop()
        done.add(path)
        if path.endswith(beside.PICTURES):
            made[beside.page_name(path)] = beside.ROOT / path
            continue
        text = beside.content(path)
        if path.endswith(".md"):
            todo |= beside.linked(text, path) - done
            text = beside.rewritten(text, path)
        made[beside.page_name(path)] = text
    for name in _leaves(config["nav"]):
        if match := PACKAGES.match(name):
            first = f"# `{match[1]}`\n\nThe public names of `{match[1]}`, with arguments, units and errors.\n\n"
            made[name] = first + "\n".join(f"::: {module}\n" for module in _modules(match[1]))
        elif name == COMMANDS:
            made[name] = commandline.page()
        elif name == FURTHER:
            made[name] = _further()
    return made


def _further() -> str:
    """Return the page of the public names outside the packages' own `__all__`, which `docs/reference.md` lists."""
    text = (beside.ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    names = re.findall(r"^- `([\w.]+\.\w+)`", text, re.MULTILINE)
    first = "# Further modules\n\nPublic names that are imported from a module inside a package.\n\n"
    return first + "\n".join(f"::: {name}\n" for name in names)


def _modules(package: str) -> list[str]:
    """Return the modules of a reference page: a package itself, or its public modules where it holds no names."""
    if package != "cachecore_frameworks":
        return [package]
    folder = beside.ROOT / "integrations" / "frameworks" / package
    return [f"{package}.{path.stem}" for path in sorted(folder.glob("[!_]*.py"))]


def _leaves(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [leaf for part in parts for leaf in _leaves(part)]
