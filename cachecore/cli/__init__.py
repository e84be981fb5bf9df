"""The `cachecore` command. Its subcommands are entry points, so that a plugin brings its own.

An entry point of the group `cachecore.commands` names a `typer.Typer` (a command with subcommands) or a function that
typer can call. One that does not load stays in the list, says so, and stands in nobody's way.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    import typer

GROUP: Final = "cachecore.commands"

_BUILT_IN: Final = tuple(
    EntryPoint(name, f"cachecore.cli.{module}", GROUP)
    for name, module in (
        ("config", "config:app"),
        ("copy", "copy:copy"),
        ("delete", "delete:delete"),
        ("doctor", "doctor:doctor"),
        ("explain", "explain:explain"),
        ("export", "export:export"),
        ("get", "get:get"),
        ("import", "import_:import_"),
        ("invalidate", "invalidate:joined"),
        ("ls", "ls:ls"),
        ("show", "show:show"),
        ("stats", "stats:stats"),
    )
)

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """Run the command line of this process and exit with its status."""
    if importlib.util.find_spec("typer") is None:
        sys.stderr.write("the cachecore command needs its extra: pip install 'cachecore-framework[cli]'\n")
        sys.exit(2)
    asked = sys.argv[1] if len(sys.argv) > 1 and "_CACHECORE_COMPLETE" not in os.environ else None
    try:
        app(only=asked)()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _unsaid(error)


def app(only: str | None = None) -> typer.Typer:
    """Return the command line with every subcommand that is installed.

    With `only` the name of one, that one alone: importing all of them takes a second.
    """
    import typer

    made = typer.Typer(
        name="cachecore",
        help="Look into caches of LLM responses, move them, make answers invalid.",
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
        invoke_without_command=True,
        # A traceback with local variables would print prompts.
        pretty_exceptions_show_locals=False,
    )

    @made.callback()
    def _root(
        version: bool = typer.Option(False, "--version", help="Print the versions of cachecore and its plugins."),
    ) -> None:
        if version:
            for name, number in versions().items():
                typer.echo(f"{name} {number}")
            raise typer.Exit

    built_in = {command.name for command in _BUILT_IN}
    found = [point for point in entry_points(group=GROUP) if point.name not in built_in]
    points = (*_BUILT_IN, *sorted(found, key=lambda point: point.name))
    for point in [one for one in points if one.name == only] or points:
        _add(made, point)
    return made


def _unsaid(error: OSError) -> NoReturn:
    """End with 1, because what a command prints goes to a device that is full."""
    with contextlib.suppress(OSError):  # it may be the full one
        sys.stderr.write(f"the output cannot be written: {error.strerror}\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)  # else Python tries again when it ends, and prints that it cannot
    sys.exit(1)


def versions() -> dict[str, str]:
    """Return the versions of the distributions that make up this installation, and of Python."""
    groups = (GROUP, "cachecore.backends", "cachecore.hashers", "cachecore.serializers", "cachecore.eviction")
    found = {
        point.dist.name: point.dist.version for group in groups for point in entry_points(group=group) if point.dist
    }
    return {**dict(sorted(found.items())), "Python": sys.version.split()[0]}


def _add(made: typer.Typer, point: EntryPoint) -> None:
    import typer

    try:
        command: Any = point.load()
    except Exception as error:  # noqa: BLE001 - any error of a plugin's import is reported, by its own command
        command = _broken(point, error)
    if isinstance(command, typer.Typer):
        made.add_typer(command, name=point.name)
    else:
        made.command(name=point.name)(command)


def _broken(point: EntryPoint, error: Exception) -> Any:
    reason = f"{type(error).__name__}: {error}"

    def fail() -> None:
        import typer

        typer.echo(f"the command {point.name} ({point.value}) cannot be loaded: {reason}", err=True)
        raise typer.Exit(1)

    fail.__doc__ = f"(does not load: {type(error).__name__})"
    return fail
