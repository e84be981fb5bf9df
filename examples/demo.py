"""Real customer questions through the cache: cold, warm, typed otherwise, streamed, for an agent, and in an outage.

Run it with `make demo`. No server, no key, no network. The screen says which parts are simulated or declared.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cachecore_llm import (
    AllProvidersFailedError,
    CacheConfig,
    Ledger,
    LLMResponse,
    LLMService,
    Prices,
    Rates,
    ResponseCache,
    SimulatedProvider,
)
from cachecore_llm.key import RULES, normalised_text
from cachecore_llm.replay.command import Settings, open_cache, replay_through, sqlite_url
from cachecore_llm.replay.log import LogReader
from cachecore_llm.replay.report import Report
from cachecore_llm.replay.run import CountedProvider
from cachecore_llm.workload import repeated_part, respelled, zipf_mix

QUESTIONS = Path(__file__).parent / "questions" / "banking77.csv"
SYSTEM_PROMPT = "You answer questions of a bank's customers. Be brief and correct."
REQUESTS, POPULAR, ONE_OFF, EXPONENT, UNSEEN = 2_500, 1_200, 0.4, 0.8, 300
RESPELLED = (0.0, 0.1, 0.3, 0.5)
SPELLINGS = ("Is my card lost?", "Is my  card lost ?", "is my card lost?")
SPEED, CONCURRENCY = 10.0, 50
RATES = Rates(input=0.40, output=1.60)
SHARES, EXPONENTS = (0.2, 0.3, 0.4, 0.5, 0.6), (0.6, 0.8, 1.0, 1.2)
ANSWERS = Path("answers.sqlite")
CARD: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find_card",
        "description": "Where a customer's card is.",
        "parameters": {"type": "object", "properties": {"customer": {"type": "string"}}, "required": ["customer"]},
    },
}


class Provider(SimulatedProvider):
    """The simulated provider, which can be down."""

    down = False

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Answer, or fail as a provider does that is down."""
        if self.down:
            raise ConnectionError("the provider is down")
        return await super().generate(system_prompt, user_message, context, **params)


class Demo(NamedTuple):
    """The things that all parts of the demo share."""

    console: Console
    provider: Provider
    folder: Path
    known: list[str]
    """Questions that may be in the log."""
    unseen: list[str]
    """Questions that are not."""
    ledger: Ledger


async def main() -> None:
    demo = _prepared()
    console, settings, log = demo.console, _settings(demo.folder), demo.folder / "log.jsonl"
    _declare(demo, write_log(log, mixed(demo.known)))
    url = settings.backend or ""

    console.rule("1. An empty cache")
    async with open_cache(url, settings, demo.ledger) as cache:
        cold = await replay_through(cache, demo.provider, LogReader(log), settings, console)
    cold.show(console)

    console.rule("2. The same log again, from the file on disk")
    async with open_cache(url, settings, demo.ledger) as cache:
        (await replay_through(cache, demo.provider, LogReader(log), settings, console)).show(console)

        console.rule("3. Another mix, another hit rate")
        show_curve(demo, cold)
        console.rule("4. The same questions, typed otherwise")
        await show_spelling(demo, cache)
        console.rule("5. An agent's turn with a tool")
        await show_agent(demo, cache)
        console.rule("6. A stream that three callers share")
        await show_stream(demo)
        console.rule(f"7. The provider is down, and {UNSEEN} customers ask anew")
        await show_outage(demo, cache)
    console.rule("What it saved")
    show_savings(demo, cold)
    console.print(f"\nReplay it yourself: {replay_command(log, url)}", markup=False)
    console.print(
        f"[bold]Hit rate: [green]{cold.tally.hit_rate:.1%}[/green][/bold] of {cold.tally.requests:,} requests with an "
        f"empty cache, in the mix declared above"
    )


def _prepared() -> Demo:
    """Read the questions, and make room: the answers of earlier demos go."""
    folder = state_folder()
    for old in folder.glob(f"{ANSWERS}*"):
        old.unlink()
    with QUESTIONS.open(encoding="utf-8", newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    return Demo(
        console=Console(soft_wrap=True, highlight=False),
        provider=Provider(speed=SPEED),
        folder=folder,
        known=questions[:-UNSEEN],
        unseen=questions[-UNSEEN:],
        ledger=Ledger(Prices({"simulated": RATES})),
    )


def _settings(folder: Path) -> Settings:
    return Settings(backend=sqlite_url(folder / ANSWERS), concurrency=CONCURRENCY, speed=SPEED)


def mixed(questions: Sequence[str], *, one_off: float = ONE_OFF, exponent: float = EXPONENT) -> list[str]:
    """Return the questions of the log in their order; the same ones each time."""
    chance = random.Random(77)
    return zipf_mix(questions, requests=REQUESTS, one_off=one_off, exponent=exponent, chance=chance, popular=POPULAR)


def write_log(path: Path, questions: Sequence[str]) -> list[str]:
    """Write a log that `cachecore replay` reads; return the questions."""
    with path.open("w", encoding="utf-8") as file:
        for question in questions:
            file.write(json.dumps({"system_prompt": SYSTEM_PROMPT, "user_message": question}) + "\n")
    return list(questions)


def _declare(demo: Demo, log: Sequence[str]) -> None:
    """Describe the log, and say which part of it is ours."""
    described = demo.provider.description
    demo.console.rule("What is replayed")
    demo.console.print(
        f"{REQUESTS:,} requests made of real customer questions (BANKING77 by PolyAI, CC BY 4.0), as spelled there.\n"
        f"The repetition is OURS, because open data sets have none: [bold]{ONE_OFF:.0%} of the requests are questions "
        f"that nobody asks twice,\nthe others come from {POPULAR:,} questions by popularity: that of rank r in "
        f"proportion to r^-{EXPONENT}[/].\n{repeated_part(log):.1%} of the requests repeat an earlier one, letter for "
        f"letter: no exact cache can answer more.\n{described[0].upper()}{described[1:]}.\n"
        f"Prices are stated, not those of a real model: US$ {RATES.input:.2f} for a million tokens in, "
        f"{RATES.output:.2f} out.\nThe log and the answers are in {escape(str(demo.folder))}; the answers of earlier "
        "demos are gone."
    )


def show_curve(demo: Demo, cold: Report) -> None:
    """Show the hit rate against the two numbers of the mix, and how it grows with the log."""
    console = demo.console
    console.print(
        f"Repeats among {REQUESTS:,} requests, counted in such logs: a cache that keeps all answers has them.\n"
        "The share of questions asked once goes down the table, the exponent across; the mix of this demo is bold."
    )
    table = Table(show_edge=False)
    table.add_column("asked once")
    for exponent in EXPONENTS:
        table.add_column(f"r^-{exponent}", justify="right")
    for one_off in SHARES:
        rates = [repeated_part(mixed(demo.known, one_off=one_off, exponent=exponent)) for exponent in EXPONENTS]
        cells = [
            f"[bold green]{rate:.1%}[/]" if (one_off, exponent) == (ONE_OFF, EXPONENT) else f"{rate:.1%}"
            for exponent, rate in zip(EXPONENTS, rates, strict=True)
        ]
        table.add_row(f"{one_off:.0%}", *cells)
    console.print(table)
    log = mixed(demo.known)
    grown = ", ".join(f"{repeated_part(log[:length]):.1%} of {length:,}" for length in (500, 1_000, 2_000, REQUESTS))
    waited = cold.tally.answers["joined"]
    console.print(
        f"It grows with the log: {grown}.\nPart 1 had {cold.tally.hits:,} hits. {waited} more requests repeat one that "
        f"was still under way: they waited for its answer, paid nothing, and are not counted as hits."
    )


async def show_spelling(demo: Demo, cache: ResponseCache) -> None:
    """Show the hits that other spellings cost, and those that normalisation brings back."""
    console, log = demo.console, mixed(demo.known)
    console.print(
        "Repeats among the same requests if a part of them got a space too many or another mark at the end: ours "
        "again, and counted."
    )
    table = Table(show_edge=False)
    for column in ("typed otherwise", "every letter counts (the default)", "normalise=True"):
        table.add_column(column, justify="right")
    for share in RESPELLED:
        typed = respelled(log, share=share, chance=random.Random(78))
        keyed = [normalised_text(text, frozenset(RULES)) for text in typed]
        table.add_row(f"{share:.0%}", f"{repeated_part(typed):.1%}", f"[green]{repeated_part(keyed):.1%}[/]")
    console.print(table)
    async with ResponseCache("memory://", CacheConfig(normalise=True)) as normalising:
        for name, used in (("as is the default", cache), ("normalise=True", normalising)):
            service, before = LLMService(demo.provider, used), demo.provider.calls
            answers = [await service.generate(SYSTEM_PROMPT, spelling) for spelling in SPELLINGS]
            pairs = zip(SPELLINGS, answers, strict=True)
            statuses = ", ".join(f"{text!r} [cyan]{answer.cache_status}[/]" for text, answer in pairs)
            console.print(f"  {name}: {statuses}; provider calls: [bold]{demo.provider.calls - before}[/]")
    console.print("Letter case always counts, and the provider reads the customer's own words.")


async def show_stream(demo: Demo) -> None:
    """Let three callers ask for one stream, each when the one before has got two pieces."""
    provider = Provider(speed=2)
    started = [asyncio.Event() for _ in range(4)]
    started[0].set()

    async def caller(service: LLMService, number: int) -> tuple[str, int, str]:
        await started[number].wait()
        pieces: list[str] = []
        async with service.stream(SYSTEM_PROMPT, "Tell me all about your cards.") as stream:
            async for piece in stream:
                pieces.append(piece)
                if len(pieces) == 2:
                    started[number + 1].set()
            return stream.cache_status or "", len(pieces), "".join(pieces)

    async with ResponseCache("memory://", ledger=demo.ledger) as cache:
        service = LLMService(provider, cache)
        answers = await asyncio.gather(*(caller(service, number) for number in range(3)))
    for number, (status, pieces, text) in enumerate(answers, 1):
        came = "asked first" if number == 1 else f"came when caller {number - 1} had two pieces"
        demo.console.print(f"  caller {number} [cyan]{status:6}[/] {came}: {pieces} pieces, {escape(repr(text))}")
    demo.console.print(f"  provider calls: [bold]{provider.calls}[/]")


async def show_agent(demo: Demo, cache: ResponseCache) -> None:
    """Let an agent work through one task twice: a turn that calls a tool, and one that reads its result."""
    service = LLMService(demo.provider, cache)
    for run in ("first", "second"):
        messages: list[dict[str, Any]] = [{"role": "user", "content": "Where is the card of customer 7?"}]
        before = demo.provider.calls
        turn = await service.chat(messages, tools=[CARD])
        asked = turn.tool_calls[0]
        messages += [
            (turn.body or {})["choices"][0]["message"],
            {"role": "tool", "tool_call_id": asked.id, "content": '{"card": "in the post"}'},
        ]
        last = await service.chat(messages, tools=[CARD])
        demo.console.print(
            f"  {run} run: [cyan]{turn.cache_status:4}[/] {asked.name}({asked.arguments}), then "
            f"[cyan]{last.cache_status:4}[/] {escape(repr(last.content))}; provider calls: "
            f"[bold]{demo.provider.calls - before}[/]"
        )
    demo.console.print("Tools, their schemas and every result are in the key: another result is another request.")


async def show_outage(demo: Demo, cache: ResponseCache) -> None:
    """Ask questions that have no answer of their own, and show which get that of a similar one."""
    demo.provider.down = True
    service = LLMService(CountedProvider(demo.provider), cache)
    known = await service.generate(SYSTEM_PROMPT, mixed(demo.known)[0])
    similar: list[tuple[str, LLMResponse]] = []
    for question in demo.unseen:
        try:
            similar.append((question, await service.generate(SYSTEM_PROMPT, question)))
        except AllProvidersFailedError:
            continue
    demo.console.print(
        f"Known questions are answered as ever ([cyan]{known.cache_status}[/]). Nobody has asked in these words: "
        f"[bold]{len(similar)}[/] of them get the answer to a similar question,\nmarked as such; "
        f"{len(demo.unseen) - len(similar)} get the error, because nothing alike enough was ever answered."
    )
    for question, answer in sorted(similar, key=lambda pair: pair[1].similarity or 0)[:: max(1, len(similar) // 4)][:4]:
        demo.console.print(f"  {answer.similarity:.2f}  {question}\n        {answer.matched_message}", markup=False)


def show_savings(demo: Demo, cold: Report) -> None:
    """Show spending and savings, with the empty cache and altogether."""
    total = demo.ledger.total()
    for name, saved, spent in (
        ("with the empty cache", cold.saved, None),
        ("in the whole demo", total.saved, total.spent),
    ):
        paid = "" if spent is None else f"; paid: US$ {spent.dollars:.4f} for {spent.calls:,} calls"
        demo.console.print(
            f"  {name}: [green]{saved.calls:,} calls, {saved.input_tokens + saved.output_tokens:,} tokens, "
            f"US$ {saved.dollars:.4f}[/] at the stated prices{paid}"
        )
    demo.console.print(
        f"  Hits of part 1 spared their customers [green]{cold.tally.saved_seconds:,.0f} s[/] of waiting for a model "
        "as slow as the one simulated."
    )


def replay_command(log: Path, url: str) -> str:
    """Return the command that replays the log from the answers on disk, as a shell takes it."""
    beside = Path(sys.executable).with_name("cachecore")
    program = str(beside) if beside.is_file() else shutil.which("cachecore") or "cachecore"
    return shlex.join([program, "replay", str(log), "--backend", url, "--speed", f"{SPEED:g}"])


def state_folder() -> Path:
    """Return a folder for the demo's files: the user's cache folder, or a temporary one where that is read-only."""
    root = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(root) if root else Path.home() / ".cache") / "cachecore" / "demo"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="cachecore-demo-"))
    return folder.absolute()


if __name__ == "__main__":
    asyncio.run(main())
