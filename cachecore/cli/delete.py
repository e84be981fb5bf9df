"""`cachecore delete URL KEY…`: delete single answers by their keys, for every process."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cachecore.cli import outcome
from cachecore.cli.one_entry import keys_of
from cachecore.cli.store import Json, Namespace, Prefix, Store, Stored, opened

_PAGE = 64


def delete(
    url: Annotated[str, typer.Argument(help="The store; - for the one configured.", metavar="URL")],
    keys: Annotated[list[str], typer.Argument(help="Keys, or their first 8 digits or more.", metavar="KEY...")],
    prefix: Prefix = None,
    namespace: Namespace = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: Json = False,
) -> None:
    """Delete answers by their keys, also while they are being computed; say first which, and ask.

    Exits with 0, with 1 if a key means no answer, with 3 if the store did not acknowledge, with 4 if declined.
    """
    place = None if url == "-" else url
    facts: dict[str, Any] = {"keys": [], "absent": [], "deleted": 0}
    ended = outcome.run(_find(facts, place, prefix, namespace, keys))
    if ended.status != outcome.OK:
        outcome.conclude(ended, facts, lambda: None, as_json=as_json)
    if facts["keys"]:
        if not yes:
            for key in facts["keys"]:
                typer.echo(key, err=True)
        answer = outcome.asked(f"Delete {len(facts['keys'])} answers?", yes=yes)
        if answer.status != outcome.OK:
            outcome.conclude(answer, facts, lambda: None, as_json=as_json)
        ended = outcome.run(_delete(facts, place, prefix, as_json))
    else:
        ended = outcome.Ended(outcome.NO)
    outcome.conclude(ended, facts, lambda: _show(facts), as_json=as_json)


async def _find(facts: dict[str, Any], url: str | None, prefix: str | None, namespace: str, keys: list[str]) -> None:
    async with opened(url, prefix) as store:
        for name, meant in (await keys_of(store, keys, namespace)).items():
            if meant:
                facts["keys"] += meant
            else:
                facts["absent"].append(name)
        if not facts["keys"]:
            facts["other_prefixes"] = await store.other_prefixes(beside=True)


async def _delete(facts: dict[str, Any], url: str | None, prefix: str | None, quiet: bool) -> int:
    async with opened(url, prefix) as store, store.invalidating() as cache:
        with outcome.progress("deleting", len(facts["keys"]), quiet=quiet) as advance:
            for start in range(0, len(facts["keys"]), _PAGE):
                page = facts["keys"][start : start + _PAGE]
                there = await _served(store, page)
                await cache.delete_keys(page)
                facts["deleted"] += there
                advance(start + _PAGE)
    return outcome.OK if facts["deleted"] == len(facts["keys"]) and not facts["absent"] else outcome.NO


async def _served(store: Store, keys: list[str]) -> int:
    """Return how many of `keys` have an answer that may be served.

    The cache that deletes cannot tell: an answer of another serializer, such as every one of an `LLMService`, is none
    to it.
    """
    values = zip(keys, await store.values(keys), strict=True)
    found = [Stored(key, data) for key, data in values if data is not None]
    now = await store.now()
    states = [one.state(now, valid) for one, valid in zip(found, await store.valid(found), strict=True)]
    return sum(state in ("fresh", "stale") for state in states)


def _show(facts: dict[str, Any]) -> None:
    console = outcome.printer()
    console.print(f"{facts['deleted']:,} answers deleted")
    for name in facts["absent"]:
        console.print(f"there is no answer under {name}")
    outcome.print_others(console, facts.get("other_prefixes", ()))
