"""`cachecore export FILE URL`: all answers that may be served, in one archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cachecore.cli import outcome
from cachecore.cli.archive import ArchiveWriter
from cachecore.cli.store import Json, Namespace, Prefix, Store, Url, opened


def export(
    file: Annotated[Path, typer.Argument(help="The archive to write; it must not be there yet.", dir_okay=False)],
    url: Url = None,
    prefix: Prefix = None,
    namespace: Namespace = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what an interrupted run has left.")] = False,
    as_json: Json = False,
) -> None:
    """Write all answers that may be served, with their tags and the end of their life, into one archive.

    Exits with 0, with 1 if there are none and other prefixes have some, or if the disk is full, with 3 if the store
    stopped answering, with 130 if interrupted: in the last three cases --resume goes on.
    """
    facts: dict[str, Any] = {"file": str(file), "answers": 0, "left_out": 0, "other_prefixes": []}
    ended = outcome.run(_export(facts, file, url, prefix, namespace, resume, as_json))
    outcome.conclude(ended, facts, lambda: _show(facts, ended), as_json=as_json)


async def _export(
    facts: dict[str, Any], file: Path, url: str | None, prefix: str | None, namespace: str, resume: bool, quiet: bool
) -> int | outcome.Ended:
    async with opened(url, prefix) as store:
        now = await store.now()
        writer = ArchiveWriter(file, prefix=store.prefix, shards=store.shards, created=now, resume=resume)
        try:
            with writer, outcome.progress("exporting", None, quiet=quiet) as advance:
                await _write(facts, writer, store, namespace, now, advance)
        except OSError as error:  # the disk is full, mostly
            return outcome.Ended(outcome.NO, f"{writer.part}: {error.strerror}")
        if not facts["answers"] + facts["left_out"]:
            facts["other_prefixes"] = await store.other_prefixes()
    return outcome.NO if facts["other_prefixes"] else outcome.OK


async def _write(
    facts: dict[str, Any],
    writer: ArchiveWriter,
    store: Store,
    namespace: str,
    now: float,
    advance: Callable[[float], None],
) -> None:
    names: set[str] = set()
    facts["answers"] = writer.answers
    async for found in store.stored(namespace):
        for one, valid in zip(found, await store.valid(found), strict=True):
            if one.state(now, valid) not in ("fresh", "stale"):
                facts["left_out"] += 1
                continue
            names.update(name for name, _ in store.stamps_of(one))
            if not writer.has(one.key):
                writer.add(one.key, one.data)
        writer.flush()  # else some would be counted that are in no file
        facts["answers"] = writer.answers
        advance(writer.answers)
    writer.finish(await store.stamps_now(names))


def _show(facts: dict[str, Any], ended: outcome.Ended) -> None:
    console = outcome.printer()
    if ended.problem is None:
        console.print(f"{facts['answers']:,} answers written to {facts['file']}")
    else:
        console.print(f"{facts['answers']:,} answers written; export --resume goes on with them")
    outcome.print_others(console, facts["other_prefixes"])
    if facts["left_out"]:
        console.print(f"{facts['left_out']:,} left out: expired, invalid, deleted, or being computed")
