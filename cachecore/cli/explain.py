"""`cachecore explain A.json B.json`, or `A.json --store URL`: why two requests have different keys, why one misses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cachecore.cli import outcome
from cachecore.cli.readers import Keyed, RequestReader, installed
from cachecore.cli.store import Json, Prefix, opened
from cachecore.contract.errors import CacheError, OptionsError
from cachecore.keys.explain import Explanation
from cachecore.keys.explain import explain as _explain


def explain(
    a: Annotated[Path, typer.Argument(help="A request as JSON.", metavar="A.json")],
    b: Annotated[Path | None, typer.Argument(help="The request to compare it with.", metavar="[B.json]")] = None,
    store: Annotated[
        str | None, typer.Option(help="Instead of B: a store; the nearest stored request is compared.", metavar="URL")
    ] = None,
    prefix: Prefix = None,
    text: Annotated[bool, typer.Option("--text", help="Show the values that differ; they may be prompts.")] = False,
    as_json: Json = False,
) -> None:
    """Show which fields make two requests miss each other's answers, or one request miss in a store.

    Of requests that an installed plugin knows, what is not keyed is no difference. Exits with 0 if they share a key or
    the store has an answer, 1 if not, 2 if a request cannot be read, 3 if the store does not answer.
    """
    if (b is None) == (store is None):
        outcome.refuse("give a second request, or --store URL", as_json=as_json)
    try:
        first = _read(a)
        if store is not None:
            _of_store(first, store, prefix, as_json=as_json)
        explanation, kind = _compared(first, _read(b) if b is not None else None, text=text)
    except CacheError as error:  # UnkeyableError among them
        outcome.refuse(str(error), as_json=as_json)
    ended = outcome.Ended(outcome.OK if explanation.same else outcome.NO)
    facts = {**explanation.as_dict(), "kind": kind}
    outcome.conclude(ended, facts, lambda: typer.echo(str(explanation)), as_json=as_json)


def _compared(first: Any, second: Any, *, text: bool) -> tuple[Explanation, str | None]:
    """Return what differs, and the kind of the requests if a plugin knows both. Raises CacheError."""
    for reader in installed():
        a, b = reader.keyed(first), reader.keyed(second)
        if a is None or b is None:
            continue
        for one, name in ((a, "the first"), (b, "the second")):
            if one.bypass is not None:
                raise OptionsError(f"{name} request never comes from a cache: {one.bypass}")
        found = _explain(a.value, b.value, text=text)
        renamed = [dataclasses.replace(one, path=reader.path(one.path)) for one in found.differences]
        return Explanation(tuple(renamed)), _kind(a, b)
    return _explain(first, second, text=text), None


def _kind(a: Keyed, b: Keyed) -> str:
    return a.kind if a.kind == b.kind else f"{a.kind} and {b.kind}"


def _of_store(request: Any, url: str, prefix: str | None, *, as_json: bool) -> NoReturn:
    found: dict[str, Any] = {}
    ended = outcome.run(_look(found, request, url, prefix))
    outcome.conclude(ended, found, lambda: _show(found), as_json=as_json)


async def _look(found: dict[str, Any], request: Any, url: str, prefix: str | None) -> int:
    reader = _reader_of(request)
    # Answers of the plugin lie under its prefix in a store of its own, and in a namespace of a `Cache` that it shares.
    places = [(reader.prefix, False), (None, True)] if prefix is None else [(prefix, False), (prefix, True)]
    for named, shared in places:
        async with opened(url, named) as store:
            await store.values([f"{store.start}s:explain"])  # a store that is away is no miss
            found.update(await reader.in_store(request, store.backend, store.prefix, shared=shared))
        if found["status"] != "miss" or found["comparable"]:
            break
    return outcome.OK if found["status"] == "hit" else outcome.NO


def _reader_of(request: Any) -> RequestReader:
    for reader in installed():
        if reader.keyed(request) is not None:
            return reader
    raise OptionsError(
        "no installed plugin knows this request, so it cannot be looked for in a store; requests to models need "
        "cachecore-llm"
    )


def _show(found: Mapping[str, Any]) -> None:
    if not found:
        return
    reason = found.get("reason")
    typer.echo(f"{found['status']}: {reason}" if reason else found["status"])
    nearest = found.get("nearest")
    if nearest is not None:
        typer.echo(f"the nearest of {found['comparable']:,} stored requests, {nearest['key']}, differs in:")
        for one in nearest["differences"]:
            typer.echo(f"  {outcome.shown(one['path'])}: {one['kind']}")
        if not nearest["differences"]:
            typer.echo("  no field that the file tells")
    elif reason == "absent":
        looked = f"none of the {found['looked_at']:,} stored requests that were looked at" if found["looked_at"] else ""
        typer.echo(
            f"{looked or 'no stored request'} is of the same tenant and protocol and holds digests of its fields; "
            "the file may name the tenant"
        )
    for name in found.get("unknown", ()):
        typer.echo(f"the file does not tell {outcome.shown(name)}, which is part of the key")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


def _read(path: Path) -> Any:
    """Return the JSON in a file. Raises OptionsError."""
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_no_twins)
    except OSError as error:
        raise OptionsError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise OptionsError(f"{path} is not JSON: {error}") from None
