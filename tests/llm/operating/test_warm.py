"""`cachecore warm`: the questions that a log repeats are asked once, and an application's own calls hit."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from cachecore import cli
from cachecore_llm import LLMService, SimulatedProvider
from tests.llm.replay_logs import chat

QUESTIONS = ["a?"] * 5 + ["b?"] * 3 + ["c?"] * 2 + ["d?", "e?"]


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app(), ["warm", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


def test_what_is_repeated_is_asked_once(tmp_path: Path) -> None:
    log, url = tmp_path / "log.jsonl", f"sqlite:///{tmp_path}/answers.sqlite"
    log.write_text("".join(json.dumps(chat(one)) + "\n" for one in QUESTIONS))
    options = ["--provider", "simulated", "--json"]
    status, out = run(log, url, *options)
    assert (status, json.loads(out)["ended"]) == (4, "declined"), "nothing is asked before somebody has agreed"
    status, out = run(log, url, *options, "--yes", "--most", 2)
    told: dict[str, Any] = json.loads(out)
    assert (status, told["questions"], told["requests_covered"], told["asked"]) == (0, 2, 8, 2)
    assert (told["ended"], told["problem"]) == ("ok", None)
    status, out = run(log, url, *options, "--yes")
    told = json.loads(out)
    assert (status, told["questions"], told["there_already"], told["asked"]) == (0, 3, 2, 1)

    async def asked() -> list[str]:
        async with LLMService(SimulatedProvider(speed=1000.0), url) as service:
            found: list[str] = []
            for one in ("a?", "c?", "d?"):
                record = chat(one)
                answer = await service.chat(record["messages"], model=record["model"], temperature=0)
                found.append(answer.cache_status)
            return found

    assert asyncio.run(asked()) == ["hit", "hit", "miss"]


def test_a_log_without_requests(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"nothing": 1}\n')
    assert run(log, "memory://", "--provider", "simulated", "--yes")[0] == 2
