"""The demo as it is run: its figures agree with each other, and the command it prints runs as printed."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cachecore_llm.replay.command import sqlite_url

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "demo.py"
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Shown(NamedTuple):
    """The output of two runs."""

    folder: Path
    piped: str
    terminal: str

    def part(self, title: str) -> str:
        """Return the text below the rule that begins with `title`, up to the next rule."""
        found = re.search(rf"^─+ {re.escape(title)}.*?$(.*?)(?=^─+ |\Z)", self.piped, re.MULTILINE | re.DOTALL)
        assert found is not None, title
        return found[1]

    def cell(self, title: str, row: str) -> str:
        """Return the value of a row in the table of a part."""
        found = re.search(rf"^│ {re.escape(row)} +│ +(.*?) │$", self.part(title), re.MULTILINE)
        assert found is not None, row
        return found[1]

    def number(self, title: str, row: str) -> int:
        """Return the whole number in a row."""
        return int(self.cell(title, row).replace(",", ""))


def started(folder: Path, stdout: int) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {
        "XDG_CACHE_HOME": str(folder),
        "PYTHONWARNINGS": "error",
        "COLUMNS": "100",
        "TERM": "xterm-256color",
    }
    return subprocess.Popen(
        [sys.executable, str(DEMO)], stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    )


def all_of(terminal: int) -> str:
    """Return the output of a program on its terminal, to its end."""
    written = b""
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # as Linux says that the other end is closed
            piece = b""
        if not piece:
            return written.decode()
        written += piece


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Run the demo into a pipe and, at the same time, on a terminal."""
    folder, other = tmp_path_factory.mktemp("a folder"), tmp_path_factory.mktemp("terminal")
    mine, theirs = pty.openpty()
    on_terminal = started(other, theirs)
    os.close(theirs)
    piped = started(folder, subprocess.PIPE)
    try:
        terminal = all_of(mine)
        output, errors = piped.communicate(timeout=600)
        assert (piped.returncode, errors) == (0, "")
        assert on_terminal.stderr is not None
        assert (on_terminal.wait(600), on_terminal.stderr.read()) == (0, "")
        yield Shown(folder, output, terminal)
    finally:
        os.close(mine)
        for run in (piped, on_terminal):
            run.kill()
            run.wait()
            for pipe in (run.stdout, run.stderr):
                if pipe is not None:
                    pipe.close()


COLD, WARM = "1. An empty cache", "2. The same log again"


def test_it_declares_the_mix(shown: Shown) -> None:
    said = " ".join(shown.part("What is replayed").split())
    for word in ("BANKING77", "CC BY 4.0", "SIMULATED", "repetition is OURS", "40% of the requests", "1,200 questions"):
        assert word in said
    assert "r^-0.8" in said
    assert "Prices are stated" in said
    assert str(shown.folder / "cachecore" / "demo") in said


def test_the_last_line_has_the_hit_rate_of_the_empty_cache(shown: Shown) -> None:
    last = shown.piped.splitlines()[-1]
    found = re.match(r"Hit rate: (\d+\.\d)% of 2,500 requests", last)
    assert found is not None, last
    hits, requests = shown.number(COLD, "hits"), shown.number(COLD, "requests")
    assert requests == 2_500
    assert f"{hits / requests:.1%}" == f"{found[1]}%" == shown.cell(COLD, "hit rate")
    assert hits / requests >= 0.30


def test_hits_are_repeats_that_did_not_wait(shown: Shown) -> None:
    """An exact cache answers repeated questions, and not one more; a caller that waited for an answer is no hit."""
    declared = re.search(r"([\d.]+)% of the requests repeat", shown.part("What is replayed"))
    assert declared is not None
    hits, waited = shown.number(COLD, "hits"), shown.number(COLD, "shared with one asked at the same time")
    assert waited > 0
    assert f"{(hits + waited) / 2_500:.1%}" == f"{declared[1]}%"
    assert shown.number(COLD, "provider calls made") == 2_500 - hits - waited
    assert f"{hits:,} hits. {waited} more" in shown.part("3.")


def test_the_second_run_calls_nobody(shown: Shown) -> None:
    assert shown.cell(WARM, "hit rate") == "100.0%"
    assert shown.number(WARM, "provider calls made") == 0


def test_the_curve_falls_with_one_off_questions_and_rises_with_the_exponent(shown: Shown) -> None:
    rows = re.findall(r"^ (\d+)% +│(.*)$", shown.part("3."), re.MULTILINE)
    rates = [[float(rate) for rate in re.findall(r"([\d.]+)%", cells)] for _, cells in rows]
    assert [share for share, _ in rows] == ["20", "30", "40", "50", "60"]
    assert all(row == sorted(row) and len(row) == 4 for row in rates)
    assert all(list(column) == sorted(column, reverse=True) for column in zip(*rates, strict=True))
    declared = re.search(r"([\d.]+)% of the requests repeat", shown.part("What is replayed"))
    assert declared is not None
    assert rates[2][1] == float(declared[1])


def test_the_documents_say_what_it_shows(shown: Shown) -> None:
    """The curve of the guide, the rates of questions typed otherwise, and the calls that the README names."""
    guide, readme = ((ROOT / name).read_text() for name in ("docs/llm/hit-rate.md", "README.md"))
    for share, cells in re.findall(r"^ (\d+)% +│(.*)$", shown.part("3."), re.MULTILINE):
        rates = " | ".join(f"{rate} %" for rate in re.findall(r"([\d.]+)%", cells))
        assert f"| {share} % | {rates} |" in guide.replace("*", "")
    said = " ".join(guide.split())
    for rate in re.findall(r"^ +(?!0)\d+% │ +([\d.]+)%", shown.part("4."), re.MULTILINE):
        assert f" {rate}" in said
    grown = re.search(r"grows with the log: ([\d.]+)% of 500, ([\d.]+)% of 1,000, ([\d.]+)% of 2,000", shown.part("3."))
    assert grown is not None
    assert "{} % of the first 500 requests, {} % of 1,000, {} % of 2,000".format(*grown.groups()) in said
    calls, avoided = shown.cell(COLD, "provider calls made"), shown.cell(COLD, "provider calls avoided")
    assert f"provider calls made {calls}, avoided {avoided}" in readme
    assert "r^-1.2 |" in guide


def test_what_normalisation_brings_back(shown: Shown) -> None:
    part = shown.part("4.")
    rows = [
        [float(cell) for cell in row] for row in re.findall(r"^ +(\d+)% │ +([\d.]+)% │ +([\d.]+)%", part, re.MULTILINE)
    ]
    assert [row[0] for row in rows] == [0, 10, 30, 50]
    assert rows[0][1] == rows[0][2]
    assert all(default < normalised for _, default, normalised in rows[1:])
    assert re.search(r"as is the default: .*miss.*miss.*miss; provider calls: 3", part)
    assert re.search(r"normalise=True: .*miss.*hit.*miss; provider calls: 2", part)  # letter case counts


def test_an_agents_second_run_comes_from_the_cache(shown: Shown) -> None:
    part = shown.part("5.")
    assert re.search(r"first run: miss find_card\(.*\), then miss '\[simulated .*; provider calls: 2", part)
    assert re.search(r"second run: hit +find_card\(.*\), then hit +'\[simulated .*; provider calls: 0", part)


def test_three_callers_share_a_stream(shown: Shown) -> None:
    part = shown.part("6.")
    assert re.search(r"caller 1 miss .*caller 2 joined .*caller 3 joined ", part, re.DOTALL)
    assert "provider calls: 1" in part
    answers = re.findall(r": (\d+) pieces, ('.*')$", part, re.MULTILINE)
    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert int(answers[0][0]) > 2


def test_an_outage_is_answered_from_the_cache_where_it_can_be(shown: Shown) -> None:
    part = shown.part("7.")
    assert "(hit)" in part
    similar = re.search(r"(\d+) of them get the answer to a similar question", part)
    refused = re.search(r"(\d+) get the error", part)
    assert similar is not None
    assert refused is not None
    assert int(similar[1]) > 0
    assert int(similar[1]) + int(refused[1]) == 300


def test_money_is_tokens_at_the_stated_prices(shown: Shown) -> None:
    for part in (COLD, WARM):
        read, written = (
            int(tokens.replace(",", "")) for tokens in shown.cell(part, "tokens saved, in + out").split("+")
        )
        assert written > read > 0
        assert shown.cell(part, "money saved, US$") == f"{read * 0.40e-6 + written * 1.60e-6:.4f}"
    saved = shown.part("What it saved")
    assert f"with the empty cache: {shown.number(COLD, 'provider calls avoided'):,} calls, " in saved
    assert f"US$ {shown.cell(COLD, 'money saved, US$')} at the stated prices" in saved
    assert re.search(r"spared their customers [\d,]+ s of waiting", saved)


def test_the_replay_it_prints_runs_as_printed_and_hits(shown: Shown) -> None:
    printed = re.search(r"^Replay it yourself: (.*)$", shown.piped, re.MULTILINE)
    assert printed is not None
    assert sqlite_url(shown.folder / "cachecore" / "demo" / "answers.sqlite") in printed[1]
    done = subprocess.run(printed[1], shell=True, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"│ hit rate +│ +100\.0% │", done.stdout)
    assert re.search(r"│ provider calls made +│ +0 │", done.stdout)


def test_colour_on_a_terminal_only(shown: Shown) -> None:
    assert "\x1b" not in shown.piped
    last = shown.terminal.splitlines()[-1]
    assert "\x1b[1;32m" in last
    plain = CODES.sub("", last)
    assert re.match(r"Hit rate: \d+\.\d% of 2,500 requests", plain)
