"""`cachecore ls URL`: the answers of a store, one by one, without their content."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from cachecore.cli import outcome
from cachecore.cli.store import STATES, Json, Namespace, Prefix, Url, opened
from cachecore.keys import user_tag


def ls(
    url: Url = None,
    prefix: Prefix = None,
    namespace: Namespace = "",
    tag: Annotated[str | None, typer.Option(help="Only answers that carry this tag.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only those: {', '.join(STATES)}.")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many to list at most.")] = 100,
    as_json: Json = False,
) -> None:
    """List the answers of a store: key, state, age, what is left of its life, size. No content.

    Exits with 0, with 1 if there are none, with 3 if the store does not answer.
    """
    if state is not None and state not in STATES:
        outcome.refuse(f"--state {state}: there are {', '.join(STATES)}", as_json=as_json)
    rows: list[dict[str, Any]] = []
    others: list[str] = []
    ended = outcome.run(_list(rows, others, url, prefix, namespace, tag, state, most))
    facts = {"answers": rows, "other_prefixes": others}
    outcome.conclude(ended, facts, lambda: _show(rows, others, most, ended), as_json=as_json)


async def _list(
    rows: list[dict[str, Any]],
    others: list[str],
    url: str | None,
    prefix: str | None,
    namespace: str,
    tag: str | None,
    state: str | None,
    most: int,
) -> int:
    wanted = None if tag is None else user_tag(tag)
    async with opened(url, prefix) as store:
        now = await store.now()
        async for found in store.stored(namespace):
            for one, valid in zip(found, await store.valid(found), strict=True):
                if wanted is not None and (one.entry is None or wanted not in dict(one.entry.stamps)):
                    continue
                row = one.described(now, valid)
                if state is None or row["state"] == state:
                    rows.append(row)
                    if len(rows) == most:
                        return outcome.OK
        if not rows:
            others += await store.other_prefixes()
    return outcome.OK if rows else outcome.NO


def _show(rows: list[dict[str, Any]], others: list[str], most: int, ended: outcome.Ended) -> None:
    console = outcome.printer()
    table = Table("state", "age", "fresh for", "bytes", "key", box=None)
    table.columns[3].justify = "right"
    for row in rows:
        known = "age" in row
        left = None if not known or row["fresh_until"] is None else row["fresh_until"] - row["created"] - row["age"]
        table.add_row(
            row["state"],
            outcome.span_of(row["age"]) if known else "",
            outcome.span_of(left) if known else row["reason"],
            f"{row['bytes']:,}",
            row["key"],
        )
    if rows:
        outcome.print_table(console, table)
    elif ended.status == outcome.NO:  # of a store that is away, it is not known
        console.print("no answers")
        outcome.print_others(console, others)
    if len(rows) == most:
        console.print(f"the first {most:,}; --most lists more")
