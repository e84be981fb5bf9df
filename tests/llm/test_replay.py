"""`cachecore replay`, as it is called: what it counts, what it shows, and that a second run asks nobody."""

from __future__ import annotations

import asyncio
import json
import random
from array import array
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from cachecore import OptionsError, cli
from cachecore.testing.clocks import FakeClock
from cachecore_llm import FallbackOrchestrator, LLMRequest, LLMResponse, LLMService, ResponseCache, SimulatedProvider
from cachecore_llm.replay.command import Settings, open_cache, replay_through
from cachecore_llm.replay.log import Line, LogReader
from cachecore_llm.replay.run import CountedProvider, Tally, percentile, replay_log
from cachecore_llm.workload import zipf_mix

Replay = Callable[..., Result]
CACHE_FOLDER = "caché #1 100%?x=y"  # every character that means something in a URL


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / CACHE_FOLDER))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(cli.app(), ["replay", *map(str, arguments)])

    return run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Sixty requests: thirty different questions, each twice; and two lines that are none."""
    path = tmp_path / "log.jsonl"
    questions = [f"What is question number {number}?" for number in range(30)] * 2
    lines = [json.dumps({"system_prompt": "s", "user_message": question, "id": 1}) for question in questions]
    path.write_text("\n".join([*lines[:10], "{oops", *lines[10:], "[]"]))
    return path


def numbers(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_counts(replay: Replay, log: Path) -> None:
    found = numbers(replay(log, "--json", "--speed", 1000, "--concurrency", 1, "--backend", "memory://"))
    assert (found["requests"], found["hits"], found["hit_rate"]) == (60, 30, 0.5)
    assert (found["provider_calls"], found["provider_calls_avoided"]) == (30, 30)
    assert (found["shared"], found["stale"], found["similar"], found["failed"]) == (0, 0, 0, {})
    assert found["bad_lines"] == 2
    assert [bad["line"] for bad in found["first_bad_lines"]] == [11, 62]
    assert found["ignored_fields"] == {"id": 60}
    assert (found["simulated"], found["backend"]) == (True, "memory://")
    assert 0 < found["latency"]["hit"]["p50"] <= found["latency"]["hit"]["p99"]


def test_second_run_answers_everything_from_disk(replay: Replay, log: Path, tmp_path: Path) -> None:
    """Nothing but the log is given: the answers are in a file of the user's cache folder."""
    first = numbers(replay(log, "--json", "--speed", 1000))
    second = numbers(replay(log, "--json", "--speed", 1000))
    assert first["provider_calls"] == 30
    assert first["backend"].startswith("sqlite:")
    assert (tmp_path / CACHE_FOLDER / "cachecore" / "replay.sqlite").is_file()
    assert (second["provider_calls"], second["hits"], second["hit_rate"]) == (0, 60, 1.0)
    assert second["latency"]["miss"] == {"p50": None, "p99": None}


def test_runs_on_a_server(replay: Replay, log: Path, redis_url: str) -> None:
    assert numbers(replay(log, "--json", "--speed", 1000, "--backend", redis_url))["provider_calls"] == 30
    assert numbers(replay(log, "--json", "--speed", 1000, "--backend", redis_url))["provider_calls"] == 0


def test_table_says_what_is_simulated_and_what_was_wrong(replay: Replay, log: Path) -> None:
    result = replay(log, "--speed", 1000, "--flaws", 0.5)
    assert result.exit_code == 0
    for said in ("SIMULATED", "answers are kept in sqlite:", "50% of the questions", "shortened 1000 times"):
        assert said in result.stderr
    for said in ("requests", "hit rate", "provider calls avoided", "latency of a hit, p99", "rejected: truncated"):
        assert said in result.stdout
    assert "line 11 skipped: not JSON" in result.stdout
    assert "line 62 skipped: a request is an object, not a list" in result.stdout
    assert "the field 'id' (60 lines)" in result.stdout
    assert "\x1b" not in result.stdout  # no colours where there is no terminal


def test_rejected_answers_are_counted_by_reason(replay: Replay, log: Path) -> None:
    found = numbers(replay(log, "--json", "--speed", 1000, "--flaws", 1, "--backend", "memory://"))
    assert set(found["rejected"]) == {"truncated", "empty", "refused"}
    assert set(found["failed"]) == {"SimulatedFailureError"}
    assert found["hits"] == 0


def test_log_of_nothing_but_bad_lines_fails_in_the_end(replay: Replay, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{\n" * 50)
    result = replay(path, "--json", "--backend", "memory://")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["bad_lines"] == 50


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "nothing://x"], "nothing"),
        (["--provider", "openai"], "--model"),
        (["--concurrency", "0"], "concurrency"),
        (["--backend", "redis://user:hunter2@["], "redis"),
    ],
)
def test_wrong_settings_are_told_without_a_traceback(
    replay: Replay, log: Path, arguments: list[str], said: str
) -> None:
    result = replay(log, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output


def test_password_of_the_backend_is_not_shown(replay: Replay, log: Path) -> None:
    result = replay(log, "--speed", 1000, "--backend", "redis://user:hunter2@127.0.0.1:1/0")
    assert result.exit_code == 0  # a dead store costs computations
    assert "hunter2" not in result.output


async def test_callers_that_share_a_call_are_not_counted_as_hits(tmp_path: Path) -> None:
    """Everybody asks the same at once: one call, no hit, and the rest shared it."""
    path = tmp_path / "log.jsonl"
    path.write_text('{"system_prompt": "s", "user_message": "u"}\n' * 20)
    arrived = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await arrived.wait()

    settings = Settings(backend="memory://", concurrency=20)
    async with open_cache("memory://", settings) as cache:
        provider = SimulatedProvider(sleep=sleep)
        running = asyncio.create_task(
            replay_through(cache, provider, LogReader(path), settings, Console(file=StringIO()))
        )
        while provider.calls == 0:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        arrived.set()
        report = await running
    assert (report.provider_calls, report.tally.hits, report.shared, report.avoided) == (1, 0, 19, 19)


async def test_progress_is_live_on_a_terminal(log: Path) -> None:
    screen = StringIO()
    settings = Settings(backend="memory://", speed=1000, concurrency=1)
    async with open_cache("memory://", settings) as cache:
        await replay_through(
            cache,
            SimulatedProvider(speed=1000),
            LogReader(log),
            settings,
            Console(file=screen, force_terminal=True, width=100),
        )
    assert "replaying" in screen.getvalue()
    assert "60 requests, 50.0% hits" in screen.getvalue()


async def test_unkeyable_request_is_a_bad_line() -> None:
    tally = Tally()
    async with ResponseCache("memory://") as cache:
        service = LLMService(FallbackOrchestrator([CountedProvider(SimulatedProvider(speed=1e6))]), cache)
        lines = [Line(1, LLMRequest("s", "u", object())), Line(2, LLMRequest("s", "u"))]
        await replay_log(lines, service, concurrency=2, clock=FakeClock(), tally=tally)
    assert (tally.requests, tally.bad_lines) == (1, 1)
    assert tally.first_bad_lines[0][0] == 1
    assert "context" in tally.first_bad_lines[0][1]


def test_request_that_no_cache_could_take_is_a_bad_line(replay: Replay, tmp_path: Path) -> None:
    """A label that is none, and parameters beyond what their kind holds, are told by number like any other."""
    path = tmp_path / "log.jsonl"
    asked = '{"system_prompt": "s", "user_message": "u", %s}'
    extras = ['"label": "//"', '"label": "a/b/c/d/e"', '"params": {"temperature": 1%s}' % ("0" * 400), '"label": "faq"']
    path.write_text("\n".join(asked % extra for extra in extras))
    found = numbers(replay(path, "--json", "--speed", 1000, "--backend", "memory://"))
    assert found["requests"] == 2
    assert [bad["line"] for bad in found["first_bad_lines"]] == [1, 2]
    assert "label" in found["first_bad_lines"][0]["problem"]


def test_log_that_is_wrong_as_a_whole_is_told_without_a_traceback(replay: Replay, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("answer,score\na,1\n")
    result = replay(path, "--backend", "memory://")
    assert result.exit_code == 2
    assert "there is no system_prompt" in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


async def test_counted_provider_tells_what_the_inner_one_tells() -> None:
    class Identified(SimulatedProvider):
        identity = {"model": "m"}  # noqa: RUF012 - as a provider may write it

    counted = CountedProvider(Identified(speed=1e6))
    assert (counted.name, counted.identity) == ("simulated", {"model": "m"})
    assert isinstance(await counted.generate("s", "u"), LLMResponse)
    assert counted.calls == 1


async def test_providers_of_other_settings_share_no_answers() -> None:
    """Also those without an `identity`: a simulation with flaws, and one without."""
    asked: list[int] = []
    async with ResponseCache("memory://") as cache:
        for made in (SimulatedProvider(speed=1e6), SimulatedProvider(speed=1e6, seed=1), SimulatedProvider(speed=1e3)):
            counted = CountedProvider(made)
            await LLMService(counted, cache).generate("s", "u")
            asked.append(counted.calls)
    assert asked == [1, 1, 0]


async def test_waiting_for_another_callers_answer_is_no_hit() -> None:
    tally = Tally()
    async with ResponseCache("memory://") as cache:
        service = LLMService(CountedProvider(SimulatedProvider(speed=100)), cache)
        lines = [Line(number, LLMRequest("s", "u")) for number in range(4)]
        await replay_log(lines, service, concurrency=4, clock=FakeClock(), tally=tally)
        assert (tally.hits, dict(tally.answers), tally.saved_seconds) == (0, {"miss": 1, "joined": 3}, 0.0)
        assert (len(tally.hit_latencies), len(tally.miss_latencies)) == (0, 4)
        await replay_log(lines[:2], service, concurrency=1, clock=FakeClock(), tally=tally)
        answer = await service.generate("s", "u")
    assert tally.hits == len(tally.hit_latencies) == 2
    assert tally.saved_seconds == pytest.approx(2 * answer.latency)


def test_says_what_was_saved(replay: Replay, log: Path) -> None:
    """Each of thirty answers once more. The price of a simulation is not known, so there are no dollars."""
    saved = numbers(replay(log, "--json", "--speed", 1000, "--concurrency", 1, "--backend", "memory://"))["saved"]
    assert saved["dollars"] is None
    assert 30 * 30 < saved["output_tokens"] < 30 * 160
    assert saved["input_tokens"] > 0
    assert 10 < saved["seconds"] < 120


def test_questions_that_were_only_typed_otherwise(replay: Replay, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    typed = ["Where is my card?", "Where is  my card", "where is my card?"]
    path.write_text("\n".join(json.dumps({"system_prompt": "s", "user_message": text}) for text in typed))
    asked = (path, "--json", "--speed", 1000, "--concurrency", 1, "--backend", "memory://")
    assert [numbers(replay(*asked, *more))["hits"] for more in ((), ("--normalise",))] == [0, 1]


def test_percentile() -> None:
    """The nearest rank: the smallest value that so many do not exceed."""
    values = array("d", range(1, 101))
    assert [percentile(values, part) for part in (0.5, 0.99, 1.0, 0.0)] == [50, 99, 100, 1]
    assert percentile(array("d", [7]), 0.99) == 7
    assert percentile(array("d"), 0.5) is None


class TestZipfMix:
    QUESTIONS = tuple(f"q{number}" for number in range(1000))

    def test_declared_parts(self) -> None:
        mix = zipf_mix(self.QUESTIONS, requests=1000, one_off=0.4, exponent=1.0, chance=random.Random(1))
        counts = sorted((mix.count(question) for question in set(mix)), reverse=True)
        assert len(mix) == 1000
        assert counts.count(1) >= 400
        assert counts[0] > 4 * counts[9] > 0  # rank 1 is asked about ten times as often as rank 10

    def test_same_chance_same_mix(self) -> None:
        one, other = (
            zipf_mix(self.QUESTIONS, requests=200, one_off=0.3, exponent=0.8, chance=random.Random(5)) for _ in "ab"
        )
        assert one == other

    def test_too_few_questions(self) -> None:
        with pytest.raises(OptionsError, match="asked once"):
            zipf_mix(["a", "b"], requests=10, one_off=0.5, exponent=1.0, chance=random.Random(1))
