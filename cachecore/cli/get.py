"""`cachecore get KEY URL --reveal`: the content of one answer, and nothing else."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cachecore.cli import outcome
from cachecore.cli.one_entry import content_of, one_of
from cachecore.cli.store import Json, Namespace, Prefix, Url, opened

Key = Annotated[str, typer.Argument(help="The key, or its first 8 digits or more, as Cache-Status shows it.")]


def get(
    key: Key,
    url: Url = None,
    prefix: Prefix = None,
    namespace: Namespace = "",
    reveal: Annotated[bool, typer.Option("--reveal", help="Print the content; it may hold prompts.")] = False,
    as_json: Json = False,
) -> None:
    """Print the content of one answer as JSON, fresh or stale; only with --reveal. `show` tells all but the content.

    With --json it is the field `content` of the object that says how the command ended.

    Exits with 0, with 1 if there is none that may be served, with 3 if the store does not answer.
    """
    if not reveal:
        outcome.refuse(
            "the content of an answer may hold prompts: say --reveal to see it; `show` tells all else", as_json=as_json
        )
    found: dict[str, Any] = {}
    ended = outcome.run(_read(found, key, url, prefix, namespace))
    outcome.conclude(ended, found, lambda: _show(found), as_json=as_json)


async def _read(found: dict[str, Any], key: str, url: str | None, prefix: str | None, namespace: str) -> int:
    async with opened(url, prefix) as store:
        one = await one_of(store, key, namespace)
        if one is None or one.entry is None:
            found["other_prefixes"] = await store.other_prefixes(beside=True)
            return outcome.NO
        (valid,) = await store.valid([one])
        if one.state(await store.now(), valid) not in ("fresh", "stale"):
            return outcome.NO
        found["content"] = content_of(one.entry)
        return outcome.OK


def _show(found: dict[str, Any]) -> None:
    if "content" in found:
        typer.echo(json.dumps(found["content"], ensure_ascii=False, indent=2, default=outcome.readable))
    else:
        typer.echo("there is no such answer that may be served", err=True)
        outcome.print_others(outcome.printer(stderr=True), found.get("other_prefixes", ()))
