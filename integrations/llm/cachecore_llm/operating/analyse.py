"""`cachecore analyse LOG`: how often a cache would answer, what stands in its way, and the change that pays most."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cachecore.cli import outcome
from cachecore.contract import plugins
from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.protocols import Serializer
from cachecore_llm.operating.analysis import MOST, Analysis, Findings, Point
from cachecore_llm.operating.fingerprints import Fingerprinter
from cachecore_llm.operating.keyed import call_of, keyed
from cachecore_llm.operating.page import Shown, duration, page, size
from cachecore_llm.operating.recorder import Recording, is_recording
from cachecore_llm.operating.similar_misses import SimilarMisses, error_by_pairs
from cachecore_llm.replay.log import LogReader
from cachecore_llm.replay.shapes import FORMATS, Facts
from cachecore_llm.request import LLMRequest
from cachecore_llm.similar.measured import PUBLIC
from cachecore_llm.wire import Call


def analyse(
    file: Annotated[Path, typer.Argument(help="A log, as for replay, or a recording.", exists=True, dir_okay=False)],
    html: Annotated[Path | None, typer.Option(help="Write the findings as one HTML page, too.", dir_okay=False)] = None,
    form: Annotated[
        str | None, typer.Option("--format", help=f"The form of all records: {', '.join(FORMATS)}; else recognised.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="A field of the log that is a parameter of the request; repeatable.")
    ] = None,
    price_in: Annotated[float | None, typer.Option(min=0, help="US$ of a million tokens of input.")] = None,
    price_out: Annotated[float | None, typer.Option(min=0, help="US$ of a million tokens of output.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Requests that are read at most.")] = MOST,
    key_env: Annotated[str | None, typer.Option(help="The variable with an encrypted recording's key, in hex.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Judged pairs as for calibrate: the error of similar answers.", exists=True, dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show the exact hit rate of a log, the rate with each field left out, by ttl and memory, and with similar answers.

    Asks no provider. Exits with 0, with 1 if the log holds no request, with 2 if it cannot be read, with 130 if
    interrupted: then the findings are those of the part that was read.
    """
    problems: Counter[str] = Counter()
    prices = (price_in, price_out)
    try:
        if html is not None:
            _check_writable(html)
        similar = SimilarMisses(PUBLIC if pairs is None else error_by_pairs(pairs))
        with outcome.until_interrupted() as interrupted:
            if is_recording(file):
                found = _recorded(file, _serializer(key_env), problems, prices, most, similar, interrupted)
            else:
                reader = LogReader(file, params=param or (), form=form)
                found = _logged(reader, problems, prices, most, similar, interrupted, quiet=as_json)
        if html is not None:
            html.write_text(page(f"What a cache would do for {file.name}", found), encoding="utf-8")
    except (CacheError, OSError) as error:
        outcome.refuse(str(error), as_json=as_json)
    ended = outcome.Ended(outcome.OK if found.requests else outcome.NO)
    if interrupted():
        ended = outcome.Ended(outcome.INTERRUPTED, f"interrupted: the rest of {file.name} was not read")
    if html is not None:
        typer.echo(f"written: {html}", err=True)
    facts = {"log": file.name, **found.as_json(), "unread": dict(problems)}
    outcome.conclude(ended, facts, lambda: _show(file.name, found, problems), as_json=as_json)


def _check_writable(path: Path) -> None:
    """Raise OSError if `path` cannot be written: an hour of reading is too late to say so. It stays as it was."""
    new = not path.exists()
    path.open("ab").close()
    if new:
        path.unlink()


def _serializer(key_env: str | None) -> Serializer | None:
    if key_env is None:
        return None
    try:
        key = bytes.fromhex(os.environ[key_env])
    except (KeyError, ValueError):
        raise OptionsError(f"--key-env {key_env}: that variable must hold the key in hexadecimal digits") from None
    return plugins.serializer("encrypted", keys={"recorder": key})


def _logged(
    reader: LogReader,
    problems: Counter[str],
    prices: tuple[float | None, float | None],
    most: int,
    similar: SimilarMisses,
    interrupted: Callable[[], bool],
    *,
    quiet: bool,
) -> Findings:
    analysis = Analysis(dollars_in=prices[0], dollars_out=prices[1])
    printer = Fingerprinter()
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("reading"),
        BarColumn(),
        TextColumn("{task.fields[requests]:,} requests, {task.fields[speed]:,.0f}/s, left:"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )
    task = bar.add_task("", total=max(1, reader.size), requests=0, speed=0.0)
    began = time.monotonic()
    with bar:
        for line in reader:
            if line.request is None:
                problems[(line.problem or "").partition(": ")[0]] += 1
                continue
            _take(line.request, line.facts, analysis, similar, printer)
            if analysis.requests % 256 == 0:
                speed = analysis.requests / max(0.001, time.monotonic() - began)
                bar.update(task, completed=reader.position, requests=analysis.requests, speed=speed)
            if analysis.requests >= most or interrupted():
                break
    return analysis.findings(similar.found(analysis.everything))


def _take(
    given: LLMRequest | Call, facts: Facts, analysis: Analysis, similar: SimilarMisses, printer: Fingerprinter
) -> None:
    request = keyed(given)
    if isinstance(request, str):
        analysis.bypass(request)
        return
    key = analysis.add(
        printer.prints(request), at=facts.at, tokens_in=facts.input_tokens, tokens_out=facts.output_tokens
    )
    similar.add(call_of(given), request, key)


def _recorded(
    path: Path,
    serializer: Serializer | None,
    problems: Counter[str],
    prices: tuple[float | None, float | None],
    most: int,
    similar: SimilarMisses,
    interrupted: Callable[[], bool],
) -> Findings:
    recording = Recording(path, serializer)
    printer = Fingerprinter()
    analysis: Analysis | None = None
    for one in recording:
        if analysis is None:
            analysis = Analysis(dollars_in=prices[0], dollars_out=prices[1], sample=recording.sample)
        if one.problem is not None:
            problems[one.problem.partition(": ")[0]] += 1
        elif one.bypass is not None:
            analysis.bypass(one.bypass)
        elif one.prints is not None:
            analysis.add(one.prints, at=one.at)
            similar.untold()
        elif one.call is not None:
            given: Any = one.call
            body, tenant, prompt = given["body"], given["tenant"], given["prompt"]
            call = Call(protocol=given["protocol"], endpoint="log", body=body, tenant=tenant, prompt=prompt)
            _take(call, Facts(at=one.at), analysis, similar, printer)
        if analysis.requests >= most or interrupted():
            break
    analysis = analysis or Analysis()
    return analysis.findings(similar.found(analysis.everything, part=recording.sample))


def _show(name: str, found: Findings, problems: Counter[str]) -> None:
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    console.print(f"{name}: {found.requests:,} requests")
    console.print(f"  exact hit rate      {found.exact:.1%}")
    console.print(f"  best possible rate  {found.best:.1%}, if what varies without meaning is left out")
    if found.pays_most is not None:
        best = found.pays_most
        console.print(f"  pays most           {best.words}: {found.exact:.1%} -> {best.rate:.1%}")
    table = Table("without", "hit rate", "gain", "in", box=None)
    for one in (*found.changes, *found.without):
        where = ", ".join(one.fields) if one in found.changes else ""
        table.add_row(one.name, f"{one.rate:.1%}", f"{one.gain * 100:+.1f} points", where)
    similar = found.similar
    if similar is not None and similar.known:
        rate, gain = found.exact + similar.gain, f"{similar.gain * 100:+.1f} points"
        table.add_row("with similar answers", f"{rate:.1%}", gain, similar.error_words)
    console.print(table)
    if similar is not None:
        console.print(f"similar answers: {similar.words}")
    for title, points, shown in (("ttl", found.ttls, duration), ("memory", found.sizes, size)):
        if points:
            console.print(_table(title, points, shown))
    for why, number in sorted(found.bypassed.items()):
        console.print(f"{number:,} never come from a cache: {why}")
    for why, number in problems.most_common():
        console.print(f"{number:,} lines not read: {why}")


def _table(title: str, points: list[Point], shown: Shown) -> Table:
    table = Table(title, "hit rate", "tokens saved", "US$ saved", box=None)
    for one in points:
        dollars = "" if one.dollars_saved is None else f"{one.dollars_saved:,.2f}"
        table.add_row(shown(one.at), f"{one.rate:.1%}", f"{one.tokens_saved:,}" if one.tokens_saved else "", dollars)
    return table
