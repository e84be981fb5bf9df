"""Real customer questions through the cache: cold, warm, and with every provider down. No server, no key, no network.

Run it with `make demo`. What is simulated says so on the screen.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from cachecore_llm import AllProvidersFailedError, LLMResponse, LLMService, ResponseCache, SimulatedProvider
from cachecore_llm.replay.command import Settings, open_cache, replay_through, sqlite_url
from cachecore_llm.replay.log import LogReader
from cachecore_llm.workload import zipf_mix

QUESTIONS = Path(__file__).parent / "questions" / "banking77.csv"
SYSTEM_PROMPT = "You answer questions of a bank's customers. Be brief and correct."
REQUESTS, ONE_OFF, EXPONENT, UNSEEN = 2_000, 0.4, 0.8, 300
SPEED, CONCURRENCY = 8.0, 50


class ProviderThatIsDown:
    """The provider of the log, during an outage: its answers are found because its identity is the same."""

    name = "down"
    identity: Mapping[str, Any] = {}

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        raise ConnectionError("the provider is down")


async def main() -> None:
    console = Console(soft_wrap=True, highlight=False)
    folder = state_folder()
    for old in folder.glob("answers.sqlite*"):
        old.unlink()
    log, unseen = write_log(folder / "log.jsonl")
    url = sqlite_url(folder / "answers.sqlite")
    settings = Settings(backend=url, concurrency=CONCURRENCY, speed=SPEED)
    provider = SimulatedProvider(speed=SPEED)

    console.rule("What is replayed")
    console.print(
        f"{REQUESTS:,} requests made of real customer questions (BANKING77 by PolyAI, CC BY 4.0).\n"
        f"The repetition is OURS, because open data sets have none: {ONE_OFF:.0%} of the requests are questions that "
        f"nobody asks twice,\nthe others are drawn by popularity (the question of rank r in proportion to "
        f"r^-{EXPONENT}), spelled as their customers did.\n"
        f"{provider.description[0].upper()}{provider.description[1:]}.\n"
        f"The log and the answers are in {folder}; the answers of earlier demos are gone."
    )

    console.rule("1. An empty cache")
    async with open_cache(url, settings) as cache:
        (await replay_through(cache, provider, LogReader(log), settings, console)).show(console)

    console.rule("2. The same log again, from the file on disk")
    async with open_cache(url, settings) as cache:
        (await replay_through(cache, provider, LogReader(log), settings, console)).show(console)

        console.rule(f"3. Every provider is down, and {UNSEEN} customers ask anew")
        await outage(cache, unseen, console)
    console.print(f"\nReplay it yourself: cachecore replay {log} --speed {SPEED:g}")


async def outage(cache: ResponseCache, questions: list[str], console: Console) -> None:
    """Ask questions that have no answer of their own, and show which get that of a similar one."""
    service = LLMService(ProviderThatIsDown(), cache)
    similar: list[tuple[str, LLMResponse]] = []
    for question in questions:
        try:
            similar.append((question, await service.generate(SYSTEM_PROMPT, question)))
        except AllProvidersFailedError:
            continue
    console.print(
        f"Nobody has asked in these words before. {len(similar)} of them get the answer to a similar question, marked "
        f"as such; {len(questions) - len(similar)} get the error, because nothing alike enough was ever answered."
    )
    for question, answer in sorted(similar, key=lambda pair: pair[1].similarity or 0)[:: max(1, len(similar) // 4)][:4]:
        console.print(f"  {answer.similarity:.2f}  {question}\n        {answer.matched_message}", markup=False)


def write_log(path: Path) -> tuple[Path, list[str]]:
    """Write the log of the demo; return its path and questions that are not in it."""
    with QUESTIONS.open(encoding="utf-8", newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    known, unseen = questions[:-UNSEEN], questions[-UNSEEN:]
    mix = zipf_mix(known, requests=REQUESTS, one_off=ONE_OFF, exponent=EXPONENT, chance=random.Random(77))
    with path.open("w", encoding="utf-8") as file:
        for question in mix:
            file.write(json.dumps({"system_prompt": SYSTEM_PROMPT, "user_message": question}) + "\n")
    return path, unseen


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
