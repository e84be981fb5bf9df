"""The tools of the benchmarks: order, trust, the page, and what a stranger writes to add a peer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.running import figures, page, runner
from benchmarks.running.goals import GOALS, Goal, found
from benchmarks.running.machine import MOST_OTHERS, Watch
from benchmarks.running.results import RESULTS, Table, of_samples
from benchmarks.running.rounds import LEAST_ROUNDS, SCALE, Sample, interleaved

BUSY = [
    "import time",
    "end = time.process_time() + 0.5",
    "print(flush=True)",
    "while time.process_time() < end: pass",
    "print(flush=True)",
    "input()",
]
RESULT: dict[str, Any] = {
    "question": "calls",
    "asks": "What do calls cost?",
    "command": "python -m benchmarks calls",
    "machine": {
        "date": "2026-01-02",
        "python": "CPython 3.11",
        "cores": 2,
        "processor": "any",
        "system": "any",
        "versions": {},
    },
    "quiet": {"seconds": 1.0, "load_before": 0.1, "others_cores": 0.01, "trusted": True, "because": ""},
    "tables": [
        {"title": "a hit", "by": "µs", "note": "", "rows": {"a peer": {"µs": 1.5}, "cachecore": {"µs": 2.0, "± %": 3}}}
    ],
}


async def test_every_contender_runs_once_a_round_in_an_order_that_changes() -> None:
    ran: list[str] = []

    def turn(name: str) -> Any:
        async def run() -> int:
            ran.append(name)
            return 10

        return run

    names = ["a", "b", "c"]
    samples = await interleaved({name: turn(name) for name in names}, seconds=0)
    rounds = [ran[first : first + 3] for first in range(3, len(ran), 3)]  # the first one warms up
    assert len(rounds) == LEAST_ROUNDS
    assert all(sorted(one) == names for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert {name: len(taken) for name, taken in samples.items()} == dict.fromkeys(names, LEAST_ROUNDS)


def test_ratios_are_those_within_a_round() -> None:
    """A machine that is slow for one round slows both."""
    ours = [Sample(2, 2), Sample(20, 20), Sample(2, 2)]
    base = [Sample(1, 1), Sample(10, 10), Sample(1, 1)]
    rows = of_samples("calls", {"ours": ours, "base": base}, "base").rows
    assert rows["ours"]["× base"] == 2.0
    assert rows["ours"]["processor µs"] == 2


def test_rows_that_are_better_come_first() -> None:
    rows: dict[str, dict[str, Any]] = {"slow": {"µs": 3.0}, "broken": {"error": "no"}, "fast": {"µs": 1.0}}
    assert list(Table("calls", "µs", rows).ordered().rows) == ["fast", "slow", "broken"]
    assert list(Table("hits", "µs", rows, lower_is_better=False).ordered().rows) == ["slow", "fast", "broken"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much others compute")
def test_figures_beside_a_busy_process_are_not_trusted() -> None:
    watch = Watch()
    program = "\n".join(BUSY)
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.stdout.readline()
        found = watch.end()  # while it lives, it is another process
        other.communicate(b"\n")
    assert not found["trusted"]
    assert found["others_cores"] > MOST_OTHERS or found["seconds"] > 0.5 / MOST_OTHERS
    assert "other processes used" in found["because"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much others compute")
def test_own_work_is_not_that_of_others() -> None:
    watch = Watch()
    alone = Watch()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    alone.own = -0.3  # as if the own work were another's
    found, other = watch.end(), alone.end()
    assert found["others_cores"] < other["others_cores"]


def test_the_page_has_the_peers_that_are_better(tmp_path: Path) -> None:
    text = page.made([RESULT], tmp_path)
    assert text.index("| a peer | 1.5 |") < text.index("| **cachecore** | 2 | 3 |")
    assert "| [a hit](#what-do-calls-cost) | a peer | 1.5 (µs) | cachecore | 2 |" in text
    assert "Not to be trusted" not in text
    assert "![" not in text
    (tmp_path / "calls.svg").touch()
    busy = {**RESULT, "quiet": {**RESULT["quiet"], "trusted": False, "because": "others computed"}}
    text = page.made([busy], tmp_path)
    assert "> **Not to be trusted:** others computed." in text
    assert "(performance/calls.svg)" in text


def test_goals_are_shown_the_missed_ones_first(tmp_path: Path) -> None:
    kept = Goal("kept", "calls", "a hit", "cachecore", "µs", 2.0)
    missed = Goal("as a share", "calls", "a hit", "cachecore", "µs", 1.3, over=("a peer",))
    least = Goal("at least", "calls", "a hit", "cachecore", "µs", 2.5, at_most=False)
    unknown = Goal("unknown", "calls", "a miss", "cachecore", "µs", 1.0)
    assert found(missed, [RESULT]) == pytest.approx(4 / 3)
    lines = page.goals([RESULT], (kept, missed, least, unknown))
    assert [line.split(" | ")[:2] for line in lines if line.startswith("| ")][1:] == [
        ["| **missed**", "as a share"],
        ["| **missed**", "at least"],
        ["| not measured", "unknown"],
        ["| reached", "kept"],
    ]
    busy = {**RESULT, "quiet": {**RESULT["quiet"], "trusted": False}}
    assert "| reached, by a figure that is not to be trusted | kept |" in page.goals([busy], (kept,))[-2]


def test_goals_name_cells_that_are_measured() -> None:
    results = page.stored(RESULTS)
    measured = {result["question"] for result in results}
    absent = [goal.work for goal in GOALS if goal.question in measured and found(goal, results) is None]
    assert not absent


async def test_preparations_are_made_before_each_turn_and_not_counted() -> None:
    ran: list[str] = []

    async def prepare() -> None:
        ran.append("before")
        await asyncio.sleep(0.01)

    async def turn() -> int:
        ran.append("turn")
        return 1

    samples = await interleaved({"a": turn}, seconds=0, before={"a": prepare})
    assert ran == ["before", "turn"] * (LEAST_ROUNDS + 1)
    assert min(one.wall for one in samples["a"]) < 10_000  # of a busy machine's some may be longer


WRITES = """
import json, pathlib, sys
pathlib.Path(sys.argv[1]).write_text(json.dumps({"quiet": {"because": "others computed"}}))
"""


def test_a_module_that_fails_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "folder", lambda: tmp_path)

    def program(text: str, name: str) -> list[str]:
        return [sys.executable, "-c", text, str(tmp_path / f"{name}.json")]

    good = runner.run("good", program(WRITES, "good"))
    bad = runner.run("bad", program("raise SystemExit(3)", "bad"))
    idle = runner.run("idle", program("", "idle"))
    endless = runner.run("endless", program("import time\nwhile True: time.sleep(1)", "endless"), most_seconds=0.5)
    assert (good.failed, good.untrusted) == ("", "others computed")
    assert bad.failed == "it ended with status 3"
    assert idle.failed == "it wrote no result"
    assert endless.failed == "ended after 0.5 s"
    text = runner.summary([good, bad, idle, endless])
    assert text.index("Not to be trusted:") < text.index("  good: others computed") < text.index("Failed")
    assert "  bad: it ended with status 3" in text


def test_a_quick_run_replaces_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.running import results

    monkeypatch.setenv(SCALE, "0.1")
    assert results.folder() == RESULTS / "quick"
    monkeypatch.setenv(SCALE, "1")
    assert results.folder() == RESULTS


def test_every_module_is_a_question_on_the_runner() -> None:
    """What is no question is a tool that another module imports, or the guard by counting."""
    from benchmarks import __main__ as main

    folder = RESULTS.parent
    alone = {"__init__", "__main__", "counts", "page", *main.names()}
    used = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for name in {path.stem for path in folder.glob("*.py")} - alone:
        assert f"from benchmarks.{name} import" in used or f'"benchmarks.{name}"' in used, name
    results = {path.stem.removesuffix("_long") for path in RESULTS.glob("*.json")}
    assert results - {"frameworks"} <= set(main.names())  # those of `make hits` fill a table of their own
    assert set(main.ON_REQUEST) <= set(main.names())


def test_a_full_run_ends_in_time() -> None:
    """By what results of a quiet machine say: all of them in 25 minutes, each in four."""
    from benchmarks import __main__ as main

    took = {
        result["question"]: result["quiet"]["seconds"]
        for result in page.stored(RESULTS)
        if result["question"] in set(main.names()) - set(main.ON_REQUEST)
        and (result["quiet"]["others_cores"] or 0) <= MOST_OTHERS
    }
    assert max(took.values(), default=0) <= runner.MOST_SECONDS
    assert sum(took.values()) <= 25 * 60


def test_tables_of_other_documents_are_filled_from_results() -> None:
    text = "Before.\n<!-- measured: calls / a hit -->\nold\n<!-- end of measured -->\nAfter.\n"
    once = figures.filled(text, [RESULT])
    assert "old" not in once
    assert "| a peer | 1.5 |" in once
    assert figures.filled(once, [RESULT]) == once
    with pytest.raises(ValueError, match="python -m benchmarks calls"):
        figures.filled(text.replace("a hit", "a miss"), [RESULT])


def test_documents_hold_what_the_results_say() -> None:
    """A figure typed into a made document, or results that it was not made from again."""
    results = page.stored(RESULTS)
    pictures = page.PAGE.parent / page.PICTURES
    assert page.PAGE.read_text() == page.made(results, pictures), "run `python -m benchmarks.page`"
    for document in figures.documents():
        assert document.read_text() == figures.filled(document.read_text(), results), document


PEER = '''
"""A dict."""
from benchmarks.peers.interface import Peer, opens

async def get(cache, key):
    return cache.get(key)

async def put(cache, key, value):
    cache[key] = value

PEERS = [Peer(name="a stranger's", module="builtins", package="pip", memory=opens(lambda place: {}, get, put))]
'''


def test_a_file_is_all_that_a_new_peer_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import peers
    from benchmarks.running.work import ANSWER, chat_request, opened

    (tmp_path / "stranger.py").write_text(PEER)
    monkeypatch.setattr(peers, "__path__", [*peers.__path__, str(tmp_path)])
    assert "stranger" in peers.files()
    (peer,) = peers.of_file("stranger")
    assert peer.memory is not None

    async def use() -> None:
        assert peer.memory is not None
        async with opened(peer.memory, "", [chat_request(1)]) as store:
            assert await store.get(chat_request(1)) == ANSWER
            assert await store.get(chat_request(2)) is None

    asyncio.run(use())


def test_peers_tell_absent_answers_from_stored_ones() -> None:
    """In a process of its own: some peers leave connections open when they are closed."""
    pytest.importorskip("async_lru", reason="the dependency group `bench` is not installed")
    command = [sys.executable, "-m", "benchmarks.peers"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("right") >= 10


async def test_a_peer_with_misses_that_look_like_hits_is_found_out() -> None:
    from benchmarks.peers.__main__ import wrong
    from benchmarks.peers.interface import Store

    kept: dict[str, Any] = {}

    async def get(request: Any) -> Any:
        return kept.get(str(request), False)

    async def put(request: Any, value: Any) -> None:
        kept[str(request)] = value

    async def one_for_all(request: Any) -> Any:
        return next(iter(kept.values()), None)

    assert await wrong(Store(get, put)) == "an answer that was not stored is there"
    kept.clear()
    assert await wrong(Store(one_for_all, put)) == "the answer to one request is given to another"


def test_work_of_others_just_before_spoils_a_measurement() -> None:
    """What computed in the half second before says more than a load that is averaged over minutes."""
    watch = Watch.after_a_look()
    assert watch.others_before is None or 0 <= watch.others_before
    watch.others_before = 2 * MOST_OTHERS
    found = watch.end()
    assert not found["trusted"]
    assert "before it began" in found["because"]
