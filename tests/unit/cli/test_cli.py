"""The command line: its own commands, those of plugins, and what it says when something is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cachecore import cli

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Where is my card?"}], "n": 1}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Two requests that differ in their text."""
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(json.dumps(REQUEST))
    b.write_text(json.dumps({**REQUEST, "messages": [{"role": "user", "content": "where is my card?"}]}))
    return str(a), str(b)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app(), list(arguments))


def test_explain_names_the_field(files: tuple[str, str]) -> None:
    """The path, the kind and the usual cause; not the text."""
    done = run("explain", *files)
    assert done.exit_code == 1
    assert "messages[0].content: value: str of 17" in done.output
    assert "differ by case only" in done.output
    assert "card" not in done.output


def test_explain_shows_the_text_when_asked(files: tuple[str, str]) -> None:
    """`--text` shows what differs."""
    assert "'Where is my card?' and 'where is my card?'" in run("explain", *files, "--text").output


def test_explain_speaks_json(files: tuple[str, str]) -> None:
    """`--json` gives a program the same."""
    done = run("explain", *files, "--json")
    told = json.loads(done.output)
    assert told["same"] is False
    assert [found["path"] for found in told["differences"]] == ["messages[0].content"]


def test_explain_of_one_request(files: tuple[str, str]) -> None:
    """Two requests that share a key exit with 0."""
    done = run("explain", files[0], files[0])
    assert (done.exit_code, done.output) == (0, "the requests are the same\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ('{"a": 1, "a": 2}', "a field is there twice"),
        ("[" * 100_000, "is not JSON"),
        (json.dumps([[[]]] * 2).replace("[]", "[" * 260 + "]" * 260), "nested deeper than 255"),
    ],
)
def test_explain_of_what_is_no_request(files: tuple[str, str], tmp_path: Path, text: str, reason: str) -> None:
    """A file that cannot be read as a request is said to be one; no traceback."""
    odd = tmp_path / "odd.json"
    odd.write_text(text)
    done = run("explain", files[0], str(odd))
    assert done.exit_code == 2
    assert reason in done.output
    assert run("explain", files[0], str(tmp_path / "none.json")).exit_code == 2


def test_a_broken_plugin_stands_in_nobodys_way(monkeypatch: pytest.MonkeyPatch, files: tuple[str, str]) -> None:
    """A command that does not load says why when it is called; the others work; built-in names are not taken over."""
    points = [
        EntryPoint("broken", "no_such_package.module:app", cli.GROUP),
        EntryPoint("missing", "cachecore.cli.explain:no_such_name", cli.GROUP),
        EntryPoint("explain", "no_such_package.module:app", cli.GROUP),
        EntryPoint("again", "cachecore.cli.explain:explain", cli.GROUP),
        EntryPoint("group", "tests.unit.cli.test_cli:GROUP_OF_COMMANDS", cli.GROUP),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda group: points if group == cli.GROUP else [])
    for name, reason in (("broken", "no_such_package"), ("missing", "no_such_name")):
        done = run(name)
        assert done.exit_code == 1
        assert f"the command {name} " in done.output
        assert reason in done.output
    assert run("explain", files[0], files[0]).exit_code == 0
    assert run("again", files[0], files[0]).exit_code == 0
    assert run("group", "hello").output == "hello\n"
    listed = run("--help").output
    assert all(point.name in listed for point in points)


GROUP_OF_COMMANDS = typer.Typer()


@GROUP_OF_COMMANDS.callback()
def _group() -> None:
    """Hold one command."""


@GROUP_OF_COMMANDS.command()
def hello() -> None:
    typer.echo("hello")


def test_without_the_extra_it_says_what_to_install() -> None:
    """The script is there after a plain installation, so it must be of use."""
    code = "import sys; sys.modules['typer'] = None; import cachecore.cli; cachecore.cli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'cachecore-framework[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_command_runs(files: tuple[str, str]) -> None:
    """`cachecore explain` works as a program of its own."""
    code = "import sys; from cachecore.cli import main; sys.argv = ['cachecore', *sys.argv[1:]]; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "explain", files[0], files[0]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "the requests are the same\n")
