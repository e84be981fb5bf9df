"""`cachecore import FILE URL`: the answers of an archive, put into a store of any kind."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from cachecore.cli import outcome
from cachecore.cli.archive import Content, read
from cachecore.cli.store import Json, Url, opened
from cachecore.cli.transfer import Importer, left_out, reasons
from cachecore.contract.errors import OptionsError

_PAGE = 64


def import_(
    file: Annotated[Path, typer.Argument(help="The archive, made by export.", exists=True, dir_okay=False)],
    url: Url = None,
    restamp: Annotated[
        bool,
        typer.Option(
            "--restamp", help="Take answers too whose tags have other stamps here: nothing was invalidated since."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older answers that are there.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Check the archive and say what would be stored.")] = False,
    as_json: Json = False,
) -> None:
    """Put the answers of an archive into a store; they keep expiry and tags. Run again after a break, it goes on.

    Exits with 0, with 1 if answers were left out that are not expired, with 2 if the archive is damaged.
    """
    facts: dict[str, Any] = {"file": str(file), "answers": 0, "dry": dry, "outcomes": {}}
    ended = outcome.run(_import(facts, file, url, restamp, overwrite, dry, as_json))
    outcome.conclude(ended, facts, lambda: _show(facts), as_json=as_json)


async def _import(
    facts: dict[str, Any], file: Path, url: str | None, restamp: bool, overwrite: bool, dry: bool, quiet: bool
) -> int:
    content = Content("", 0, 0.0)
    with outcome.progress("checking", None, quiet=quiet) as advance:
        for number, _ in enumerate(read(file, content), 1):
            if number % 1024 == 0:
                advance(number)
    facts["answers"] = content.answers
    if not content.prefix:
        raise OptionsError(f"{file} names no prefix")
    async with opened(url, content.prefix, make=not dry) as store:
        importer = Importer(
            store, shards=content.shards, stamps=content.stamps, restamp=restamp, overwrite=overwrite, dry=dry
        )
        facts["outcomes"] = importer.counts
        with outcome.progress("importing", content.answers, quiet=quiet) as advance:
            records = read(file, Content("", 0, 0.0))
            while page := list(islice(records, _PAGE)):
                await importer.put(page)
                advance(importer.counts.total())
    return outcome.NO if left_out(importer.counts) else outcome.OK


def _show(facts: dict[str, Any]) -> None:
    console = outcome.printer()
    would = "would be stored" if facts["dry"] else "stored"
    console.print(f"{facts['outcomes'].get('stored', 0):,} of {facts['answers']:,} answers {would}")
    for line in reasons(facts["outcomes"]):
        console.print(line)
