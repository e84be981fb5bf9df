"""The `cachecore` command. Its subcommands are entry points, so that a plugin brings its own.

An entry point of the group `cachecore.commands` names a `typer.Typer` (a command with subcommands) or a function that
typer can call. One that does not load stays in the list, says so, and stands in nobody's way.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import typer

GROUP: Final = "cachecore.commands"

_BUILT_IN: Final = (
    EntryPoint("doctor", "cachecore.cli.doctor:doctor", GROUP),
    EntryPoint("explain", "cachecore.cli.explain:explain", GROUP),
)


def main() -> None:
    """Run the command line of this process and exit with its status."""
    if importlib.util.find_spec("typer") is None:
        sys.stderr.write("the cachecore command needs its extra: pip install 'cachecore-framework[cli]'\n")
        sys.exit(2)
    app()()


def app() -> typer.Typer:
    """Return the command line with every subcommand that is installed."""
    import typer

    made = typer.Typer(
        name="cachecore",
        help="Look into caches of LLM responses.",
        no_args_is_help=True,
        # A traceback with local variables would print prompts.
        pretty_exceptions_show_locals=False,
    )

    @made.callback()
    def _root() -> None:
        # With a callback a single subcommand keeps its name on the command line.
        pass

    built_in = {command.name for command in _BUILT_IN}
    found = [point for point in entry_points(group=GROUP) if point.name not in built_in]
    for point in (*_BUILT_IN, *sorted(found, key=lambda point: point.name)):
        _add(made, point)
    return made


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
