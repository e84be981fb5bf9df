"""`cachecore analyse`, similar answers: as many as a replay gives, at an error that was measured somewhere."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import random
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cachecore import cli
from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm import CacheConfig, LLMResponse, LLMService, ResponseCache
from cachecore_llm.operating import Recorder
from cachecore_llm.operating.keyed import keyed
from cachecore_llm.operating.similar_misses import SimilarFound, SimilarMisses
from cachecore_llm.similar.measured import PUBLIC, MeasuredError
from cachecore_llm.wire import Call
from cachecore_llm.workload import zipf_mix
from tests.llm.replay_logs import chat

ROOT = Path(__file__).parents[3]
KNOWN, LIKE = "How do I order a card?", "How can I order the card?"


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(cli.app(), list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def written(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def real() -> list[str]:
    """Questions that customers of a bank typed, in a declared mix."""
    with (ROOT / "examples" / "questions" / "banking77.csv").open(encoding="utf-8", newline="") as file:
        known = [row["text"] for row in csv.DictReader(file)]
    return zipf_mix(known, requests=1_000, one_off=0.4, exponent=1.0, chance=random.Random(1))


def found_in(questions: list[str], similar: SimilarMisses) -> SimilarFound:
    for question in questions:
        call = Call(protocol="openai.chat", endpoint="log", body=chat(question))
        request = keyed(call)
        assert isinstance(request, dict)
        similar.add(call, request, hash(question))
    return similar.found(len(questions))


class AtOnce:
    """A provider that answers every question with its own text."""

    name = "at once"

    async def generate(self, system_prompt: str, user_message: Any, context: Any = None, **params: Any) -> LLMResponse:
        return LLMResponse(content=f"To {user_message!r}: in the app.", model="m", finish_reason="stop")


async def replayed(questions: list[str]) -> Counter[str]:
    """Return how the questions are answered by a service that gives similar answers first."""
    cache = ResponseCache(MemoryBackend(), CacheConfig(similar_first=True))
    told: Counter[str] = Counter()
    async with LLMService(AtOnce(), cache) as service:
        for question in questions:
            told[(await service.generate("Be brief.", question, model="gpt-5-mini")).cache_status] += 1
    return told


def test_as_many_as_a_real_replay_with_similar_answers_first(tmp_path: Path, real: list[str]) -> None:
    """Within half a point, on real questions; and no more of them were drawn than all."""
    found = run("analyse", written(tmp_path / "log.jsonl", [chat(one) for one in real]), "--json")
    similar = found["similar_answers"]
    told = asyncio.run(replayed(real))
    assert told["similar"] > 0
    answered = (told["hit"] + told["similar"]) / len(real)
    assert found["exact_hit_rate"] + similar["gain"] == pytest.approx(answered, abs=0.005)
    assert similar["gain"] > 0
    assert similar["looked_up"] == similar["comparable"] == similar["misses"]
    assert not similar["sampled"]
    assert similar["wrong_at_most"] == pytest.approx(similar["gain"] * similar["error"]["at_most"])


def test_the_public_error_is_the_one_that_was_measured_and_is_stated() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / "similar_laws.json").read_text(encoding="utf-8"))
    (table,) = (one for one in measured["tables"] if one["title"] == "pairs that pass, by threshold")
    threshold = f"{CacheConfig().similar_threshold:.2f}"
    rows = [table["rows"][f"{name}, {threshold}"] for name in ("BANKING77", "CLINC150", "Korean")]
    assert sum(row["of these under the laws"] for row in rows) == PUBLIC.wrong
    assert sum(row["pass under the laws"] + row["of these under the laws"] for row in rows) == PUBLIC.served
    stated = (ROOT / "docs" / "explanation" / "similar.md").read_text(encoding="utf-8")
    assert f"| BANKING77, {threshold} | " in stated
    assert f"| CLINC150, {threshold} | " in stated


@pytest.mark.parametrize(("served", "wrong"), [(92, 1), (40, 0), (30, 5)])
def test_the_interval_is_exact(served: int, wrong: int) -> None:
    """At its ends what was seen, or more to that side, has a chance of 2.5 % (none below, if none was wrong)."""
    error = MeasuredError("", served, wrong)

    def at_most(seen: int, rate: float) -> float:
        return sum(math.comb(served, k) * rate**k * (1 - rate) ** (served - k) for k in range(seen + 1))

    assert at_most(wrong, error.at_most) == pytest.approx(0.025)
    if wrong:
        assert 1 - at_most(wrong - 1, error.at_least) == pytest.approx(0.025)
    else:
        assert error.at_least == pytest.approx(0.0, abs=1e-9)


def asked(question: str, **more: Any) -> dict[str, Any]:
    return {**chat(question), **more}


_TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


@pytest.mark.parametrize(
    ("more", "comparable"),
    [
        ({}, 2),
        ({"tools": _TOOLS}, 0),
        ({"response_format": {"type": "json_object"}}, 0),
        ({"n": 2}, 0),
    ],
    ids=["text", "tools", "response format", "two answers"],
)
def test_only_where_a_request_may_have_a_similar_answer(tmp_path: Path, more: dict[str, Any], comparable: int) -> None:
    found = run("analyse", written(tmp_path / "a.jsonl", [asked(KNOWN, **more), asked(LIKE, **more)]), "--json")
    similar = found["similar_answers"]
    assert (similar["misses"], similar["comparable"], similar["answered"]) == (2, comparable, comparable // 2)
    assert similar["gain"] == comparable / 4


def test_nothing_else_may_differ(tmp_path: Path) -> None:
    """Neither the system prompt, nor a parameter, nor the law that the words are the same; nor a turn before it."""
    other_prompt = asked(LIKE)
    other_prompt["messages"][0]["content"] = "Be verbose."
    turns = asked(LIKE)
    turns["messages"][1:1] = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    records = [asked(KNOWN), other_prompt, asked(LIKE, temperature=1), asked("How do I cancel a card?"), turns]
    similar = run("analyse", written(tmp_path / "a.jsonl", records), "--json")["similar_answers"]
    assert (similar["misses"], similar["comparable"], similar["answered"]) == (5, 4, 0)


def test_a_large_log_is_sampled_and_says_so(real: list[str]) -> None:
    """The estimate lies within three standard errors of the whole count."""
    whole = found_in(real, SimilarMisses())
    part = found_in(real, SimilarMisses(looked_up=100))
    assert whole.looked_up == whole.comparable
    assert whole.within == 0
    assert part.looked_up < whole.looked_up
    assert abs(part.answered - whole.answered) <= part.within / 1.96 * 3
    assert part.words.startswith(f"about {part.answered:,} of {whole.misses:,} misses")
    assert f"{part.looked_up:,} drawn, ± " in part.words
    assert "drawn" not in whole.words


def test_none_in_a_sample_is_not_none_in_the_log() -> None:
    """The interval is wide enough for those that were not drawn: three times what each of them stands for, or more."""
    found = found_in([f"What is number {n} of the list?" for n in range(300)], SimilarMisses(looked_up=10))
    assert found.answered == 0
    assert found.looked_up < found.comparable == 300
    assert found.within >= 3 * found.comparable / found.looked_up


def test_slow_searches_are_fewer(real: list[str]) -> None:
    """Where each search takes a second, three are made at each rate: the time grows with the log's logarithm."""
    ticks = count()
    found = found_in(real, SimilarMisses(seconds=3.0, clock=lambda: float(next(ticks))))
    rates = math.log2(found.comparable / 3 + 1)
    assert 3 * (rates - 2) <= found.looked_up <= 3 * (rates + 3)


async def record(recorder: Recorder, *questions: str) -> None:
    async with LLMService(AtOnce(), ResponseCache(MemoryBackend())) as service:
        service.cache.flow.recorder = recorder
        for question in questions:
            await service.generate("Be brief.", question, model="m")


async def test_a_recording_of_digests_cannot_tell(tmp_path: Path) -> None:
    path = tmp_path / "digests.jsonl"
    await record(Recorder(path, sample=1), KNOWN, LIKE, LIKE)
    similar = await asyncio.to_thread(run, "analyse", path, "--json", "--html", tmp_path / "page.html")
    told = similar["similar_answers"]
    assert (told["known"], told["answered"], told["gain"], told["unknown_requests"]) == (False, None, None, 3)
    assert "does not hold the questions" in told["why_unknown"]
    shown = CliRunner().invoke(cli.app(), ["analyse", str(path)]).stdout
    assert "similar answers: not known, a recording of digests does not hold the questions" in shown
    assert "with similar answers" not in shown
    page = (tmp_path / "page.html").read_text()
    assert "not known, a recording of digests" in page
    assert "with similar answers" not in page


async def test_a_recording_of_requests_tells(tmp_path: Path) -> None:
    """Of a sample of the questions the rate is too low, and the words say so."""
    path = tmp_path / "plain.jsonl"
    await record(Recorder(path, sample=1, keep="plain"), KNOWN, LIKE, LIKE)
    told = (await asyncio.to_thread(run, "analyse", path, "--json"))["similar_answers"]
    assert (told["known"], told["misses"], told["answered"]) == (True, 2, 1)
    assert told["gain"] == pytest.approx(1 / 3)
    path.write_text(path.read_text().replace('"sample": 1', '"sample": 0.25', 1))
    shown = CliRunner().invoke(cli.app(), ["analyse", str(path)]).stdout
    assert "too low, as the recording holds 25.0% of the questions" in shown


def test_the_error_of_the_applications_own_pairs(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [chat(KNOWN), chat(LIKE)])
    pairs = tmp_path / "pairs.csv"
    rows = "".join(f"How do I order card {n}?,How can I order the card {n}?,{int(n != 3)}\n" for n in range(20))
    pairs.write_text(f"question1,question2,is_duplicate\n{rows}How do I pay?,How do I leave?,0\n")
    error = run("analyse", log, "--json", "--pairs", pairs)["similar_answers"]["error"]
    assert (error["source"], error["served"], error["wrong"]) == ("21 pairs of pairs.csv", 20, 1)
    assert (error["rate"], error["confidence"]) == (0.05, 0.95)
    assert error["at_least"] == pytest.approx(0.00126, abs=5e-5)
    assert error["at_most"] == pytest.approx(0.2487, abs=5e-4)
    html = tmp_path / "page.html"
    shown = CliRunner().invoke(cli.app(), ["analyse", str(log), "--pairs", str(pairs), "--html", str(html)]).stdout
    row = next(line.split() for line in shown.splitlines() if "with similar answers" in line)
    assert row == ["with", "similar", "answers", "50.0%", "+50.0", "points", "error", "5.0%,", "0.1%", "to", "24.9%"]
    assert "<td>50.0%</td><td>+50.0 points</td><td>error 5.0%, 0.1% to 24.9%</td>" in html.read_text()


def test_pairs_that_show_no_error(tmp_path: Path) -> None:
    """Of which none would be served, the error is unknown, and no rate is claimed."""
    log = written(tmp_path / "log.jsonl", [chat(KNOWN), chat(LIKE)])
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("question1,question2,is_duplicate\nHow do I pay?,How do I leave?,0\n")
    similar = run("analyse", log, "--json", "--pairs", pairs)["similar_answers"]
    assert (similar["error"]["rate"], similar["error"]["at_most"]) == (None, 1.0)
    shown = CliRunner().invoke(cli.app(), ["analyse", str(log), "--pairs", str(pairs)]).stdout
    assert "error unknown: none of the 1 pairs of pairs.csv would be served" in shown
    assert "wrong at most" not in shown


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"question1,question2,is_duplicate\na,b,perhaps\n", "line 2 of "),
        (b"a,b,c\n", "has no column 'question1'"),
        (b"question1,question2,is_duplicate\n\xff,b,1\n", "is not in UTF-8"),
        (b"question1,question2,is_duplicate\n", "at least one pair"),
    ],
    ids=["no verdict", "no column", "no UTF-8", "empty"],
)
def test_pairs_that_cannot_be_read(tmp_path: Path, data: bytes, why: str) -> None:
    log = written(tmp_path / "log.jsonl", [chat(KNOWN)])
    (tmp_path / "pairs.csv").write_bytes(data)
    done = CliRunner().invoke(cli.app(), ["analyse", str(log), "--pairs", str(tmp_path / "pairs.csv")])
    assert done.exit_code == 2
    assert why in done.output
