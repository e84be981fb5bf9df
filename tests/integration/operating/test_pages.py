"""The pages about commands: what they show happens, and what they list is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.main
from typer.testing import CliRunner

from cachecore.cli import app, outcome

DOCS = Path(__file__).parents[3] / "docs"
PAGES = ["operating", "commands", "runbooks"]
BLOCK = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)
STORE = "redis://localhost:6379/0"


def steps(text: str) -> list[tuple[str, str]]:
    """Return each command of a block, and what the page says that it prints."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def says(expected: str, printed: str) -> bool:
    """Whether `printed` is as a page shows it, where `…` stands for anything, line breaks too."""
    pattern = ".*".join(re.escape(part) for part in _plain(expected).split("…"))
    return re.fullmatch(pattern, _plain(printed), re.DOTALL) is not None


def _plain(text: str) -> str:
    """Return `text` without the room around its lines: tables are as wide as their content."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_happens(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    """Examples run in their order, in one folder, against a real server where they name one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("CACHECORE_BACKEND", "CACHECORE_PREFIX"):  # what a page sets is gone afterwards
        monkeypatch.setenv(name, "")
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8").replace(STORE, redis_url)
    assert len(text.splitlines()) <= 150
    for kind, block in BLOCK.findall(text):
        if kind == "python":
            exec(compile(block, page, "exec"), {"__name__": "__main__"})
            continue
        for command, expected in steps(block):
            program, *arguments = shlex.split(command, comments=True)
            assert program == "cachecore"
            done = CliRunner().invoke(app(), arguments)
            assert says(expected, done.output), f"{command}\n{done.output}"


def test_every_command_is_listed() -> None:
    group = typer.main.get_command(app())
    listed = re.findall(r"^\| `(\w+)[ `]", (DOCS / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(group.commands)  # type: ignore[attr-defined]  # a group has commands


def test_statuses_are_those_of_the_code() -> None:
    table = re.findall(r"^\| (\d+) \| (\w+) \|", (DOCS / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(status): word for status, word in table} == outcome.WORDS


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_only_shown_have_their_options(page: str) -> None:
    """Indented lines are not run, because they need a provider or a log; their options are there all the same."""
    group = typer.main.get_command(app())
    for line in re.findall(r"^    cachecore (.*)$", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.MULTILINE):
        name, *rest = shlex.split(line, comments=True)
        command = group.commands[name]  # type: ignore[attr-defined]  # as above
        known = {option for one in command.params for option in one.opts}
        assert {word for word in rest if word.startswith("--")} <= known, line


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)", (DOCS / f"{page}.md").read_text(encoding="utf-8")):
            assert urlsplit(link).scheme or (DOCS / link).exists(), f"{page}: {link}"
