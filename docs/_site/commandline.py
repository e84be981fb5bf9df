"""The reference of the command line: each command with its arguments and options, as the commands declare them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

import cachecore.cli


def page() -> str:
    """Return the page of all commands that are installed, in Markdown."""
    root = typer.main.get_command(cachecore.cli.app())
    lines = [
        "# The command line",
        "",
        "Every command with its arguments and options, made from the commands themselves; `cachecore COMMAND --help`",
        "prints the same. [The commands of `cachecore`](../commands.md) says what they have in common.",
        "",
    ]
    for name, command in _commands("", root):
        lines += [f"## `{name}`", "", _text(command.help), ""]
        rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        lines += ["| argument or option | default | meaning |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)


def _commands(before: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(f"{before}{name} ", command)
        else:
            yield f"{before}{name}", command


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
    else:
        name = ", ".join([*parameter.opts, *parameter.secondary_opts])
    default = parameter.default
    if parameter.required:
        shown = "required"
    elif default is None or default == "" or callable(default) or isinstance(default, bool):
        shown = "on" if default is True else ""
    else:
        shown = f"`{getattr(default, 'value', default)}`"
    if parameter.multiple:
        shown = "may be repeated"
    return f"| `{name}` | {shown} | {_text(getattr(parameter, 'help', None)).replace('|', chr(92) + '|')} |"


def _text(text: str | None) -> str:
    return re.sub(r"\s*\n(?!\n)\s*", " ", inspect.cleandoc(text or "").split("\f")[0]).strip()
