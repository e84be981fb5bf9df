"""`cachecore copy URL URL`: the answers of one store put into another, while both are in use."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cachecore.cli import outcome
from cachecore.cli.store import Json, Namespace, Prefix, Store, opened
from cachecore.cli.transfer import Importer, left_out, reasons
from cachecore.contract.errors import OptionsError


def copy(
    source: Annotated[str, typer.Argument(help="The store to read.", metavar="URL")],
    target: Annotated[str, typer.Argument(help="The store to write.", metavar="URL")],
    prefix: Prefix = None,
    namespace: Namespace = "",
    restamp: Annotated[
        bool, typer.Option("--restamp", help="Copy answers too whose tags have other stamps in the target.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older answers of the target.")] = False,
    as_json: Json = False,
) -> None:
    """Copy all answers that may be served; they keep expiry and tags. Run again, it copies what is new.

    What is invalidated at the source meanwhile is made invalid in the target at the end. Exits with 0, with 1 if
    answers were left out, or if there are none and other prefixes have some, with 3 if a store stopped answering.
    """
    facts: dict[str, Any] = {"answers": 0, "left_out": 0, "outcomes": {}, "tags_invalidated_meanwhile": 0}
    facts["other_prefixes"] = []
    ended = outcome.run(_copy(facts, source, target, prefix, namespace, restamp, overwrite, as_json))
    outcome.conclude(ended, facts, lambda: _show(facts), as_json=as_json)


async def _copy(
    facts: dict[str, Any],
    source: str,
    target: str,
    prefix: str | None,
    namespace: str,
    restamp: bool,
    overwrite: bool,
    quiet: bool,
) -> int:
    if source == target:
        raise OptionsError("both URLs are the same: give the store to read, then the store to write")
    async with opened(source, prefix) as read, opened(target, prefix, make=True) as written:
        importer = Importer(written, shards=read.shards, restamp=restamp, overwrite=overwrite)
        facts["outcomes"] = importer.counts
        copied: dict[str, bytes] = {}
        try:
            with outcome.progress("copying", None, quiet=quiet) as advance:
                async for found in read.stored(namespace):
                    now = await read.now()
                    fit = []
                    for one, valid in zip(found, await read.valid(found), strict=True):
                        if one.state(now, valid) in ("fresh", "stale"):
                            fit.append((one.key, one.data))
                            copied.update(read.stamps_of(one))
                        else:
                            facts["left_out"] += 1
                    facts["answers"] += len(fit)
                    await importer.put(fit)
                    advance(facts["answers"])
        finally:
            facts["tags_invalidated_meanwhile"] = await _void(read, importer, copied)
        if not facts["answers"] + facts["left_out"]:
            facts["other_prefixes"] = await read.other_prefixes()
    return outcome.NO if left_out(importer.counts) or facts["other_prefixes"] else outcome.OK


async def _void(read: Store, importer: Importer, copied: dict[str, bytes]) -> int:
    """Make invalid in the target what was invalidated at the source since it was read there."""
    current = await read.stamps_now(copied)
    return await importer.void([name for name, stamp in copied.items() if current.get(name) != stamp])


def _show(facts: dict[str, Any]) -> None:
    console = outcome.printer()
    console.print(f"{facts['outcomes'].get('stored', 0):,} of {facts['answers']:,} answers stored")
    outcome.print_others(console, facts["other_prefixes"])
    for line in reasons(facts["outcomes"]):
        console.print(line)
    if facts["left_out"]:
        console.print(f"{facts['left_out']:,} left out: expired, invalid, deleted, or being computed")
    if facts["tags_invalidated_meanwhile"]:
        console.print(f"{facts['tags_invalidated_meanwhile']:,} tags were invalidated meanwhile, and are so in both")
