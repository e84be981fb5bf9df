"""Commands that install name paths of the repository, as no index has its distributions, and extras that exist."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, name, pages

COMMAND = re.compile(r"\bpip install ([^`\n]+)")
WHEEL = re.compile(r"wheels/(\w+)-([\d.]+)-py3-none-any\.whl")
PROJECTS = {
    path.parent: tomllib.loads(path.read_text())["project"]
    for path in [ROOT / "pyproject.toml", *ROOT.glob("*/*/pyproject.toml")]
}


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each `pip install` of a page, without comments behind it."""
    return [shlex.split(found, comments=True) for found in COMMAND.findall(text)]


def problem(argument: str) -> str | None:
    """Return what is wrong with one argument of `pip install`; None for options and other projects."""
    place, _, extras = argument.rstrip("]").partition("[")
    if place.startswith("cachecore"):
        return f"{argument} is on no index: give its path"
    folder = ROOT / place
    if argument.startswith("-") or place == "wheels/*.whl" or not (place == "." or "/" in place):
        return None
    if wheel := WHEEL.fullmatch(place):
        named = (one for one in PROJECTS.values() if (one["name"].replace("-", "_"), one["version"]) == wheel.groups())
        project = next(named, None)
    else:
        project = PROJECTS.get(folder.resolve())
    if project is None:
        return f"{argument} is no path of the repository, and no wheel of it"
    missing = set(filter(None, extras.split(","))) - set(project.get("optional-dependencies", {}))
    return f"{argument} names extras that are not there: {missing}" if missing else None


def left_out(arguments: list[str]) -> set[str]:
    """Return the distributions of ours that a command needs beside those it names: no index has them."""
    named, needed = set[str](), set[str]()
    for place, _, extras in (argument.rstrip("]").partition("[") for argument in arguments):
        if project := PROJECTS.get((ROOT / place).resolve()):
            named.add(project["name"])
            more = (project["optional-dependencies"][extra] for extra in filter(None, extras.split(",")))
            needed.update(re.split(r"[^\w-]", one)[0] for one in itertools.chain(project["dependencies"], *more))
    return {one for one in needed - named if one.startswith("cachecore-")}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_a_page_installs_what_can_be_installed(page: Path) -> None:
    for arguments in commands(page.read_text(encoding="utf-8")):
        for argument in arguments:
            assert problem(argument) is None, f"{name(page)}: {problem(argument)}"
        # One argument alone is an extra of a part that is there.
        assert not left_out(arguments), f"{name(page)}: {arguments} names no path of {left_out(arguments)}"


def test_mistakes_are_found() -> None:
    assert problem("cachecore-llm[openai]") is not None
    assert problem("integrations/llm[opnai]") is not None
    assert problem("integrations/lm") is not None
    assert problem("integrations/llm[openai,testing]") is None
    assert problem("wheels/cachecore_lm-0.1.0-py3-none-any.whl") is not None
    assert problem("wheels/cachecore_llm-0.0.9-py3-none-any.whl") is not None
    assert problem("wheels/cachecore_llm-0.1.0-py3-none-any.whl[opnai]") is not None
    assert problem("wheels/*.whl") is None
    assert problem("fastapi") is None
    assert problem("-e") is None
    assert left_out(["-e", ".", "-e", "integrations/llm[redis]"]) == {"cachecore-sqlite", "cachecore-redis"}
    assert commands("`pip install -e '.[all]' a`  # b") == [["-e", ".[all]", "a"]]
