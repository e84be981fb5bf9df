"""`cachecore replay FILE`: the command line around a replay."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cachecore.cli import outcome
from cachecore.contract import redact_url
from cachecore.contract.clock import SystemClock
from cachecore.contract.errors import CacheError
from cachecore_llm.config import CacheConfig
from cachecore_llm.cost.ledger import Ledger
from cachecore_llm.replay.log import LogReader
from cachecore_llm.replay.report import Report
from cachecore_llm.replay.run import CountedProvider, Tally, replay_log
from cachecore_llm.replay.shapes import FORMATS
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.service import LLMService
from cachecore_llm.upstream import FallbackOrchestrator, Provider
from cachecore_llm.upstream.simulated import SimulatedProvider

_DEFAULT_FILE: Final = "replay.sqlite"
_BACKEND_TIMEOUT: Final = 2.0


class ProviderChoice(str, Enum):  # noqa: UP042 - what typer shows of a StrEnum is the same, but not on Python 3.11
    """Who answers what the cache cannot."""

    SIMULATED = "simulated"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a log is replayed."""

    backend: str | None = None
    """A URL; None is a SQLite file in the user's cache folder."""
    provider: ProviderChoice = ProviderChoice.SIMULATED
    model: str | None = None
    concurrency: int = 32
    speed: float = 1.0
    flaws: float = 0.0
    seed: int = 0
    ttl: float = 86_400.0
    timeout: float = 60.0
    params: tuple[str, ...] = ()
    normalise: bool = False
    form: str | None = None
    """The form of the log's records; None: each is recognised."""


def replay(
    file: Annotated[
        Path, typer.Argument(help="A log of requests: JSON lines, JSON, CSV or text.", exists=True, dir_okay=False)
    ],
    backend: Annotated[
        str | None,
        typer.Option(help="Where answers are kept, a URL. A SQLite file if not given, so a second run finds them all."),
    ] = None,
    provider: Annotated[
        ProviderChoice, typer.Option(help="Who answers what the cache cannot; 'simulated' needs no key.")
    ] = ProviderChoice.SIMULATED,
    model: Annotated[str | None, typer.Option(help="With --provider openai: the model to ask.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=10_000, help="Requests under way at once.")] = 32,
    speed: Annotated[
        float, typer.Option(min=0.001, help="With --provider simulated: by how much its waiting is shortened.")
    ] = 1.0,
    flaws: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="With --provider simulated: the part of the questions it answers badly or not."
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="With --provider simulated: of everything that is drawn.")] = 0,
    ttl: Annotated[float, typer.Option(min=0.001, help="Seconds for which an answer is fresh.")] = 86_400.0,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds the provider may take.")] = 60.0,
    param: Annotated[
        list[str] | None, typer.Option(help="A field of the log that is a parameter of the request; repeatable.")
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Take questions that were only typed otherwise for one.")
    ] = False,
    form: Annotated[
        str | None, typer.Option("--format", help=f"The form of all records: {', '.join(FORMATS)}; else recognised.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Send a log of requests through the cache and show what it saves.

    Logs of OpenAI, Anthropic, LiteLLM, Langfuse, Helicone, OpenTelemetry; or lines with system_prompt and user_message.
    """
    params = tuple(param or ())
    settings = Settings(
        backend, provider, model, concurrency, speed, flaws, seed, ttl, timeout, params, normalise, form
    )
    console = Console(stderr=True, quiet=as_json)
    kept: list[Report] = []
    problem = None
    try:
        asyncio.run(run_replay(file, settings, console, keep=kept.append))
    except (CacheError, ImportError) as error:
        outcome.refuse(str(error), as_json=as_json)
    except KeyboardInterrupt:
        problem = "interrupted: run it again, and what was answered is there"
    if not kept:  # Ctrl-C came before the first request
        outcome.conclude(outcome.Ended(outcome.INTERRUPTED, problem), {}, lambda: None, as_json=as_json)
    (report,) = kept
    status = outcome.OK if report.tally.requests and report.answered else outcome.NO
    ended = outcome.Ended(status if problem is None else outcome.INTERRUPTED, problem)
    outcome.conclude(ended, report.as_json(), lambda: report.show(Console()), as_json=as_json)


async def run_replay(
    file: Path, settings: Settings, console: Console, *, keep: Callable[[Report], None] | None = None
) -> Report:
    """Replay `file` and return what happened; progress is shown on `console`, `keep` as in `replay_through`.

    Raises:
        OptionsError: the log or a setting is wrong as a whole; single bad lines are in the report.
        PluginNotFound: the backend is not installed.
    """
    url = settings.backend or default_backend()
    async with AsyncExitStack() as stack:
        provider = await open_provider(settings, stack)
        cache = await stack.enter_async_context(open_cache(url, settings))
        console.print(f"answers are kept in {redact_url(url)}", markup=False, highlight=False, soft_wrap=True)
        if isinstance(provider, SimulatedProvider):
            console.print(provider.description, markup=False, highlight=False, soft_wrap=True)
        reader = LogReader(file, params=settings.params, form=settings.form)
        return await replay_through(cache, provider, reader, settings, console, keep=keep)


def open_cache(url: str, settings: Settings, ledger: Ledger | None = None) -> ResponseCache:
    """Return the cache of a replay at `url`, which counts in `ledger`."""
    # Nobody waits for a replay as they do for a service, and what it could not store in time the next run would miss.
    in_flight = max(1024, 4 * settings.concurrency)
    config = CacheConfig(ttl_seconds=settings.ttl, normalise=settings.normalise)
    return ResponseCache(url, config, ledger=ledger, backend_timeout=_BACKEND_TIMEOUT, max_in_flight=in_flight)


async def replay_through(
    cache: ResponseCache,
    provider: Provider,
    reader: LogReader,
    settings: Settings,
    console: Console,
    *,
    keep: Callable[[Report], None] | None = None,
) -> Report:
    """Replay a log through `cache` and `provider`, which stay the caller's, and return what happened.

    `keep` gets the report too, also of a part, where the replay is cancelled.
    """
    clock = SystemClock()
    tally = Tally()
    asked = CountedProvider(provider)
    service = LLMService(FallbackOrchestrator([asked], timeout=settings.timeout), cache)
    before, saved_before = cache.metrics, cache.ledger.total().saved
    started = clock.monotonic()

    def report() -> Report:
        return Report(
            log=reader.path.name,
            backend=redact_url(settings.backend or default_backend()),
            provider=provider.name,
            simulated=isinstance(provider, SimulatedProvider),
            speed=settings.speed if isinstance(provider, SimulatedProvider) else 1.0,
            concurrency=settings.concurrency,
            seconds=clock.monotonic() - started,
            provider_calls=asked.calls,
            ignored_fields=dict(reader.ignored),
            forms=dict(reader.forms),
            tally=tally,
            not_stored=cache.metrics.unstored_since(before),
            saved=cache.ledger.total().saved.minus(saved_before),
        )

    try:
        with _progress(console, reader, tally) as advance:
            await replay_log(
                reader,
                service,
                provider=asked,
                concurrency=settings.concurrency,
                clock=clock,
                tally=tally,
                progress=advance,
            )
    finally:
        if keep is not None:
            keep(report())
    return report()


def default_backend() -> str:
    """Return the URL of a SQLite file in the user's cache folder, which is made if it is not there."""
    root = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(root) if root else Path.home() / ".cache") / "cachecore"
    folder.mkdir(parents=True, exist_ok=True)
    return sqlite_url(folder / _DEFAULT_FILE)


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file; what a URL gives a meaning is quoted."""
    return f"sqlite:///{quote(str(path.absolute()))}"


async def open_provider(settings: Settings, stack: AsyncExitStack) -> Provider:
    """Return the provider that `settings` name, open until `stack` ends. Raises typer.BadParameter."""
    if settings.provider is ProviderChoice.SIMULATED:
        return SimulatedProvider(speed=settings.speed, flawed=settings.flaws, seed=settings.seed)
    if settings.model is None:
        raise typer.BadParameter("--provider openai needs --model")
    from cachecore_llm.upstream.openai import OpenAIProvider, SDKError

    try:
        made = OpenAIProvider(settings.model)
    except SDKError as error:  # such as no key in the environment
        raise typer.BadParameter(str(error)) from error
    return await stack.enter_async_context(made)


@contextmanager
def _progress(console: Console, reader: LogReader, tally: Tally) -> Iterator[Callable[[], None]]:
    """Show how far the log has been read and what the cache did: live on a terminal, nothing elsewhere."""
    bar = Progress(
        TextColumn("replaying"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[requests]:,} requests, {task.fields[rate]:.1%} hits, {task.fields[speed]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=max(1, reader.size), requests=0, rate=0.0, speed=0.0)
    began = time.monotonic()

    def advance() -> None:
        speed = tally.requests / max(0.001, time.monotonic() - began)
        bar.update(task, completed=reader.position, requests=tally.requests, rate=tally.hit_rate, speed=speed)

    with bar:
        yield advance
        advance()
