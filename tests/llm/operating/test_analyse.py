"""`cachecore analyse`: its rates are those of a replay, and it names the change that pays most."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections import OrderedDict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cachecore import cli
from cachecore_llm.operating.fingerprints import without_ids, without_times
from cachecore_llm.operating.reuse import hits_with_ttl, reuse_bytes
from cachecore_llm.workload import repeated_part, zipf_mix
from tests.llm.replay_logs import LOGS, chat

REQUESTS = 800


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(cli.app(), list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["ended"], told["problem"]) == ("ok", None)
    return told


def test_json_tells_why_there_is_no_analysis(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("{}\n")
    for command, *more in (["analyse"], ["replay", "--backend", "memory://"], ["warm", "memory://"]):
        done = CliRunner().invoke(cli.app(), [command, str(log), *more, "--format", "nonsense", "--json"])
        told = json.loads(done.stdout)
        assert (done.exit_code, told["ended"]) == (2, "usage")
        assert "there is no format 'nonsense'" in told["problem"]


def test_a_page_that_cannot_be_written_is_told_of_before_the_log_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        pytest.fail("the log was read")

    monkeypatch.setattr("cachecore_llm.operating.analyse.LogReader", read)
    page = tmp_path / "missing" / "page.html"
    log = written(tmp_path / "log.jsonl", [chat("Why?")])
    done = CliRunner().invoke(cli.app(), ["analyse", str(log), "--html", str(page), "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ended"]) == (2, "usage")
    assert str(page) in told["problem"]


def test_the_page_of_an_earlier_run_stays_where_the_log_cannot_be_read(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [chat("Why?")])
    old, new = tmp_path / "old.html", tmp_path / "new.html"
    old.write_text("findings")
    for page in (old, new):
        assert CliRunner().invoke(cli.app(), ["analyse", str(log), "--html", str(page), "--format", "x"]).exit_code == 2
    assert (old.read_text(), new.exists()) == ("findings", False)


@pytest.fixture
def questions() -> list[str]:
    every = [f"What is number {n} of the list?" for n in range(REQUESTS)]
    return zipf_mix(every, requests=REQUESTS, one_off=0.5, exponent=1.0, chance=random.Random(7), popular=200)


def written(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def replayed(path: Path) -> float:
    """Return the hit rate of the log, replayed for real."""
    options = ["--json", "--speed", 1e6, "--concurrency", 1, "--backend", "memory://"]
    return float(run("replay", path, *options)["hit_rate"])


def with_clock(question: str, n: int) -> dict[str, Any]:
    record = chat(question)
    clock = f"{9 + n // 3600}:{n // 60 % 60:02}:{n % 60:02}"
    record["messages"][0]["content"] = f"Be brief. It is 2026-11-30 {clock}."
    return record


def test_seconds_in_the_system_prompt(tmp_path: Path, questions: list[str]) -> None:
    """It says so, and what the rate would be: within half a point of what a replay without them gives."""
    with_seconds = written(tmp_path / "a.jsonl", [with_clock(one, n) for n, one in enumerate(questions)])
    without = written(tmp_path / "b.jsonl", [chat(one) for one in questions])
    found = run("analyse", with_seconds, "--json")
    assert found["exact_hit_rate"] == pytest.approx(replayed(with_seconds), abs=0.005)
    assert found["exact_hit_rate"] < 0.005
    best = found["pays_most"]
    assert (best["name"], best["fields"]) == ("times", ["system prompt"])
    assert best["do"] == "take dates and clock times out of the system prompt"
    assert best["hit_rate"] == pytest.approx(replayed(without), abs=0.005)
    assert best["hit_rate"] > 0.2
    shown = CliRunner().invoke(cli.app(), ["analyse", str(with_seconds)]).stdout
    assert "take dates and clock times out of the system prompt" in shown
    assert f"0.0% -> {best['hit_rate']:.1%}" in shown


@pytest.mark.parametrize("form", ["openai", "responses", "anthropic", "litellm", "text"])
def test_the_exact_rate_is_that_of_a_replay(tmp_path: Path, questions: list[str], form: str) -> None:
    file, write, _ = LOGS[form]
    path = tmp_path / file
    path.write_text(write(questions[:400]))
    assert run("analyse", path, "--json")["exact_hit_rate"] == pytest.approx(replayed(path), abs=0.005)


def test_a_field_that_varies(tmp_path: Path, questions: list[str]) -> None:
    """A seed of each request's own: left out, the rate is that of the log without it."""
    seeded = [{**chat(one), "seed": n} for n, one in enumerate(questions)]
    found = run("analyse", written(tmp_path / "a.jsonl", seeded), "--json")
    plain = run("analyse", written(tmp_path / "b.jsonl", [chat(one) for one in questions]), "--json")
    assert found["exact_hit_rate"] == 0
    assert found["pays_most"]["name"] == "seed"
    assert found["pays_most"]["hit_rate"] == plain["exact_hit_rate"] > 0.2
    assert {one["name"] for one in found["without_field"]} >= {"seed", "temperature", "model", "messages"}
    assert plain["pays_most"] is None


def test_ids_and_order(tmp_path: Path, questions: list[str]) -> None:
    """Random ids in the prompt, and tools in another order each time, are found as what they are."""
    chance = random.Random(1)
    records = []
    for one in questions:
        record = chat(one)
        record["messages"][0]["content"] += f" Session: {chance.getrandbits(128):032x}"
        tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in "abcdef"]
        chance.shuffle(tools)
        records.append({**record, "tools": tools})
    found = run("analyse", written(tmp_path / "a.jsonl", records), "--json")
    touched = {one["name"]: one["fields"] for one in found["changes"]}
    assert touched["ids"] == ["system prompt"]
    assert "tools" in touched["order"]
    plain = run("analyse", written(tmp_path / "b.jsonl", [chat(one) for one in questions]), "--json")
    assert found["best_hit_rate"] == pytest.approx(plain["exact_hit_rate"], abs=0.005)
    best = found["pays_most"]  # either of them alone gains nothing
    assert (best["name"], best["hit_rate"]) == ("all", found["best_hit_rate"])
    assert "take random ids out of the system prompt, bring lists in the" in best["do"]


def test_ttl_and_memory_and_money(tmp_path: Path, questions: list[str]) -> None:
    """The curves rise to the exact rate; what is saved is what the repeated requests had cost."""
    path = tmp_path / "log.jsonl"
    path.write_text(LOGS["litellm"][1](questions))
    found = run("analyse", path, "--json", "--price-in", 1, "--price-out", 10)
    for curve in ("by_ttl", "by_memory"):
        rates = [point["hit_rate"] for point in found[curve]]
        assert rates == sorted(rates)
        assert rates[-1] == found["exact_hit_rate"]
    hits = round(found["exact_hit_rate"] * REQUESTS)
    assert found["by_ttl"][-1]["tokens_saved"] == 25 * hits
    assert found["by_ttl"][-1]["dollars_saved"] == pytest.approx(hits * (20 * 1 + 5 * 10) / 1e6)
    assert found["by_ttl"][0]["hit_rate"] < found["exact_hit_rate"], "one request a second, and a ttl of a minute"


def test_a_log_with_the_newest_first(tmp_path: Path, questions: list[str]) -> None:
    """As many exports are sorted: the curves are those of the order in which the requests were asked."""
    lines = LOGS["litellm"][1](questions).splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_text("".join(lines))
    (tmp_path / "b.jsonl").write_text("".join(reversed(lines)))
    rising, falling = (run("analyse", tmp_path / name, "--json") for name in ("a.jsonl", "b.jsonl"))
    for curve in ("by_ttl", "by_memory", "without_field"):
        assert rising[curve] == falling[curve]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5)), max_size=60), st.integers(1, 25))
def test_reuse_bytes_are_those_of_a_store_by_last_use(asked: list[tuple[int, int]], room: int) -> None:
    """Against a simulation of the store itself, for any size of it."""
    size_of = dict(asked)
    keys = [key for key, _ in asked]
    sizes = [size_of[key] for key in keys]
    needed = reuse_bytes(keys, sizes)
    kept: OrderedDict[int, int] = OrderedDict()
    for key, size, need in zip(keys, sizes, needed, strict=True):
        assert (key in kept) == (need <= room) or size > room
        kept[key] = size
        kept.move_to_end(key)
        while sum(kept.values()) > room:
            kept.popitem(last=False)


def test_a_ttl_counts_from_the_answer_not_from_its_last_use() -> None:
    assert list(hits_with_ttl([1, 1, 1, 1], [0.0, 6.0, 12.0, 13.0], 10.0)) == [0, 1, 0, 1]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name in ("src", "href") or name.startswith("on")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(tmp_path: Path, questions: list[str]) -> None:
    """Well-formed, with pictures, without a script or an address, and what comes from the log is escaped."""
    records = [{**chat(one), "<script>x": n} for n, one in enumerate(questions)]
    path = written(tmp_path / "log.jsonl", records)
    run("analyse", path, "--json", "--html", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    parser = _Page()
    parser.feed(text)
    assert parser.open == []
    assert parser.tags.count("svg") == 3
    assert "script" not in parser.tags
    assert "http" not in text
    assert "leave &lt;script&gt;x out of the key" in text


def test_a_log_without_a_request(tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", [{"nothing": 1}])
    done = CliRunner().invoke(cli.app(), ["analyse", str(path), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["unread"] == {"a record of no known form": 1}


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-30", "2026-11-30T09:15:02Z", "2026-11-30 09:15:02.123+01:00", "09:15", "9:15:02 AM", "30.11.2026",
        "Mon, 30 Nov 2026 09:15:02 GMT", "November 30, 2026", "1764493200", "1764493200123",
    ],
)  # fmt: skip
def test_times_are_seen(text: str) -> None:
    assert without_times(f"It is {text} now") == "It is ⌚ now"


@pytest.mark.parametrize("text", ["3.5 miles", "chapter 12", "version 1.2.3", "10:1 odds", "room 2026", "phone 555123"])
def test_other_numbers_are_no_times(text: str) -> None:
    assert without_times(text) == text


def test_ids_are_seen_and_words_are_not() -> None:
    for text in ("0f8fad5b-d9cd-469f-a165-70867728950e", "req_8Hx2kQ9z", "d41d8cd98f00b204e9800998ecf8427e"):
        assert without_ids(f"id: {text}.") == "id: #."
    for text in ("acknowledgement", "user id", "effacedeffaced", "12345678", "run-time"):
        assert without_ids(text) == text


def test_real_questions_of_customers(tmp_path: Path, shared_data: Path) -> None:
    """Questions that customers of a bank typed, in a declared mix, under a prompt with the seconds: 0 % and why."""
    with gzip.open(shared_data / "faq" / "banking77_train.csv.gz", "rt", encoding="utf-8", newline="") as file:
        known = list(dict.fromkeys(row["text"] for row in csv.DictReader(file)))
    mix = zipf_mix(known, requests=5000, one_off=0.5, exponent=1.0, chance=random.Random(7), popular=1000)
    path = written(tmp_path / "log.jsonl", [with_clock(one, n) for n, one in enumerate(mix)])
    found = run("analyse", path, "--json")
    assert found["exact_hit_rate"] == 0
    assert (found["pays_most"]["name"], found["pays_most"]["fields"]) == ("times", ["system prompt"])
    assert found["pays_most"]["hit_rate"] == pytest.approx(repeated_part(mix), abs=0.005)
    assert found["best_hit_rate"] >= found["pays_most"]["hit_rate"]
