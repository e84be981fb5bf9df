"""`cachecore warm LOG URL`: the questions that a log repeats most, asked once, so that their answers are there."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cachecore.cli import outcome
from cachecore.cli.store import Url, address
from cachecore.contract.errors import CacheError, OptionsError
from cachecore_llm.operating.fingerprints import Fingerprinter
from cachecore_llm.operating.keyed import keyed
from cachecore_llm.replay.command import ProviderChoice, Settings, open_cache, open_provider, replay_through
from cachecore_llm.replay.log import Line, LogReader
from cachecore_llm.replay.report import Report
from cachecore_llm.replay.shapes import FORMATS


def warm(
    log: Annotated[Path, typer.Argument(help="A log of requests, as for replay.", exists=True, dir_okay=False)],
    url: Url = None,
    most: Annotated[int, typer.Option(min=1, help="Questions to ask at most, the most repeated first.")] = 1000,
    least: Annotated[int, typer.Option(min=1, help="Only questions that the log has at least so often.")] = 2,
    provider: Annotated[ProviderChoice, typer.Option(help="Who answers.")] = ProviderChoice.OPENAI,
    model: Annotated[str | None, typer.Option(help="With --provider openai: the model to ask.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Questions under way at once.")] = 4,
    ttl: Annotated[float, typer.Option(min=0.001, help="Seconds for which an answer is fresh.")] = 86_400.0,
    form: Annotated[str | None, typer.Option("--format", help=f"The form of records: {', '.join(FORMATS)}.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Ask a provider the questions that a log repeats most, and store the answers; those that are there cost nothing.

    Answers are keyed as an LLMService with that provider keys them. Exits with 0, 1 if a question got no answer, 2 if
    the command line or the log is wrong, 4 if declined.
    """
    settings = Settings(url, provider, model, concurrency, speed=1000.0, ttl=ttl, form=form)
    try:
        place = address(url)
        counts = _counted(LogReader(log, form=form))
        chosen = {
            key for key, number in heapq.nlargest(most, counts.items(), key=lambda one: one[1]) if number >= least
        }
        covered = sum(counts[key] for key in chosen)
        said = f"{len(chosen):,} of {len(counts):,} questions, which are {covered:,} of {counts.total():,} requests"
        facts: dict[str, Any] = {"questions": len(chosen), "requests_covered": covered, "requests": counts.total()}
        answer = outcome.asked(f"Ask {provider.value} {said}?", yes=yes)
        if answer.status != outcome.OK:
            outcome.conclude(answer, facts, lambda: None, as_json=as_json)
        report = asyncio.run(_warm(place, log, chosen, settings, Console(stderr=True, quiet=as_json)))
    except (CacheError, ImportError) as error:
        outcome.refuse(str(error), as_json=as_json)
    except KeyboardInterrupt:
        ended = outcome.Ended(outcome.INTERRUPTED, "interrupted: run it again, and what was answered costs nothing")
        outcome.conclude(ended, {}, lambda: None, as_json=as_json)
    facts["there_already"], facts["asked"] = report.tally.hits, report.provider_calls
    facts["failed"], facts["rejected"] = dict(report.tally.failures), report.not_stored
    ended = outcome.Ended(outcome.NO if report.tally.failures or report.not_stored else outcome.OK)
    outcome.conclude(ended, facts, lambda: _show(said, facts), as_json=as_json)


def _show(said: str, facts: dict[str, Any]) -> None:
    typer.echo(f"{said}: {facts['there_already']:,} were there, {facts['asked']:,} were asked")
    for why, number in {**facts["failed"], **facts["rejected"]}.items():
        typer.echo(f"{number:,} have no answer: {why}")


def _counted(reader: LogReader) -> Counter[int]:
    """Return how often the log has each question, by a digest of its key."""
    printer = Fingerprinter()
    counts: Counter[int] = Counter()
    for line in reader:
        key = _digest(line, printer)
        if key is not None:
            counts[key] += 1
    if not counts:
        raise OptionsError(f"{reader.path.name} holds no request that a cache can answer")
    return counts


def _digest(line: Line, printer: Fingerprinter) -> int | None:
    request = None if line.request is None else keyed(line.request)
    return None if request is None or isinstance(request, str) else printer.digest("request", request)


class _Chosen(LogReader):
    """The first request of each chosen question in a log."""

    def __init__(self, path: Path, form: str | None, chosen: set[int]) -> None:
        super().__init__(path, form=form)
        self._left = set(chosen)

    def __iter__(self) -> Iterator[Line]:
        printer = Fingerprinter()
        for line in super().__iter__():
            key = _digest(line, printer)
            if key in self._left:
                self._left.remove(key)
                yield line


async def _warm(url: str, log: Path, chosen: set[int], settings: Settings, console: Console) -> Report:
    async with AsyncExitStack() as stack:
        provider = await open_provider(settings, stack)
        cache = await stack.enter_async_context(open_cache(url, settings))
        return await replay_through(cache, provider, _Chosen(log, settings.form, chosen), settings, console)
