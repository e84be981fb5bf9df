"""`cachecore config show`: each setting of a cache in this folder, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from cachecore.api import configuration
from cachecore.api.settings import SETTINGS
from cachecore.cli import outcome
from cachecore.cli.store import Json
from cachecore.contract.errors import CacheError
from cachecore.contract.options import MemoryOptions, Policy, StoreOptions
from cachecore.contract.redaction import HIDDEN, redact_url

_DEFAULT: Final = "default"
_NONE: Final = "not set"
_DEFAULTS: Final[Mapping[str, Any]] = {
    "namespace": "",
    "prefix": "cc",
    "tags": (),
    "hasher": "sha256",
    "serializer": "msgpack",
    **{
        field.name: field.default
        for options in (Policy, StoreOptions, MemoryOptions)
        for field in fields(options)
        if field.default is not MISSING
    },
}

app = typer.Typer(help="What a cache in this folder is configured with.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """What a cache in this folder is configured with."""


@app.command()
def show(
    source: Annotated[
        Path | None, typer.Option("--file", help="A file of settings, or its folder; this folder if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show each setting, its value and what decides it: a variable, a file, the default. Secrets are not shown.

    Exits with 0, with 2 if a setting is wrong.
    """
    try:
        found = configuration.origins(source)
        configuration.load(source)  # what is wrong as a whole, such as a hasher without its secret
    except CacheError as error:
        outcome.refuse(str(error), as_json=as_json)
    rows = {name: _row(name, found) for name in sorted(SETTINGS)}
    outcome.conclude(outcome.Ended(outcome.OK), {"settings": rows}, lambda: _show(rows), as_json=as_json)


def _row(name: str, found: Mapping[str, tuple[object, str]]) -> dict[str, Any]:
    if name in found:
        value, place = found[name]
        return {"value": _plain(name, value), "from": place}
    if name in _DEFAULTS:
        return {"value": _DEFAULTS[name], "from": _DEFAULT}
    return {"value": None, "from": _NONE}


def _plain(name: str, value: Any) -> Any:
    """Return a setting as it may be shown: options of a hasher or serializer may be secrets."""
    if name == "backend":
        return redact_url(str(value))
    if isinstance(value, dict):
        return {option: one if option == "name" else HIDDEN for option, one in value.items()}
    return value


def _show(rows: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table("setting", "value", "from", box=None)
    for name, row in rows.items():
        value = "" if row["value"] is None and row["from"] == _NONE else str(row["value"])
        table.add_row(name, outcome.shown(value), row["from"])
    outcome.print_table(outcome.printer(), table)
