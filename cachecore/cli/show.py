"""`cachecore show KEY URL`: everything about one answer; its content only with `--reveal`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cachecore.cli import outcome
from cachecore.cli.one_entry import content_of, one_of
from cachecore.cli.store import Json, Namespace, Prefix, Url, opened
from cachecore.contract.errors import CacheError

Key = Annotated[str, typer.Argument(help="The key, or its first 8 digits or more, as Cache-Status shows it.")]


def show(
    key: Key,
    url: Url = None,
    prefix: Prefix = None,
    namespace: Namespace = "",
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the content too; it may hold prompts.")] = False,
    as_json: Json = False,
) -> None:
    """Show one answer: state, times, tags and whether their stamps are current. Content only with --reveal.

    Exits with 0, with 1 if there is none under that key, with 3 if the store does not answer.
    """
    facts: dict[str, Any] = {}
    ended = outcome.run(_look(facts, key, url, prefix, namespace, reveal))
    outcome.conclude(ended, facts, lambda: _show(facts), as_json=as_json)


async def _look(
    facts: dict[str, Any], key: str, url: str | None, prefix: str | None, namespace: str, reveal: bool
) -> int:
    async with opened(url, prefix) as store:
        found = await one_of(store, key, namespace)
        if found is None:
            facts["key"] = key
            facts["state"] = "absent"
            facts["other_prefixes"] = await store.other_prefixes(beside=True)
            return outcome.NO
        (valid,) = await store.valid([found])
        facts.update(found.described(await store.now(), valid))
        if found.entry is not None:
            names = [name for name, _ in store.stamps_of(found)]
            current = dict(zip(names, await store.values(names), strict=True))
            tags = [tag for tag, _ in found.entry.stamps]
            facts["stamps"] = {
                tag: "current" if current[name] == stamp else "missing" if current[name] is None else "changed"
                for tag, (name, stamp) in zip(tags, store.stamps_of(found), strict=True)
            }
            if reveal and facts["state"] not in ("deleted", "computing"):
                try:
                    facts["content"] = content_of(found.entry)
                except (CacheError, ValueError) as error:
                    facts["content_problem"] = str(error)
        return outcome.OK


def _show(facts: dict[str, Any]) -> None:
    console = outcome.printer()
    for name, value in facts.items():
        if name in ("content", "other_prefixes"):
            continue
        if name in ("age", "compute_time"):
            value = outcome.span_of(value)
        elif isinstance(value, dict | list):
            value = json.dumps(value, ensure_ascii=False, default=str)
        console.print(f"{name}: {outcome.shown(str(value))}")
    outcome.print_others(console, facts.get("other_prefixes", ()))
    if "content" in facts:
        console.print(json.dumps(facts["content"], ensure_ascii=False, indent=2, default=outcome.readable))
