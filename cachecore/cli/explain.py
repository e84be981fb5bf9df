"""`cachecore explain A.json B.json`: why two requests have different keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cachecore.contract.errors import UnkeyableError
from cachecore.keys.explain import explain as _explain


def explain(
    a: Annotated[Path, typer.Argument(help="A request as JSON.", metavar="A.json")],
    b: Annotated[Path, typer.Argument(help="The request to compare it with.", metavar="B.json")],
    text: Annotated[bool, typer.Option("--text", help="Show the values that differ; they may be prompts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which fields make two requests miss each other's answers.

    Exits with 0 if they share a key, 1 if they differ, 2 if one cannot be read.
    """
    first, second = _read(a), _read(b)
    try:
        explanation = _explain(first, second, text=text)
    except UnkeyableError as error:
        _give_up(str(error))
    if as_json:
        typer.echo(json.dumps(explanation.as_dict(), ensure_ascii=False, indent=2))
    else:
        typer.echo(str(explanation))
    raise typer.Exit(0 if explanation.same else 1)


def _give_up(reason: str) -> NoReturn:
    typer.echo(reason, err=True)
    raise typer.Exit(2)


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_no_twins)
    except OSError as error:
        _give_up(f"{path}: {error.strerror}")
    except (ValueError, RecursionError) as error:
        _give_up(f"{path} is not JSON: {error}")
