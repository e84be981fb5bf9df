"""The tools of the benchmarks: order, trust, the page, and what a stranger writes to add a peer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.running import figures, page
from benchmarks.running.machine import MOST_OTHERS, Watch
from benchmarks.running.results import Table, of_samples
from benchmarks.running.rounds import LEAST_ROUNDS, Sample, interleaved

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


def test_the_page_has_the_peers_that_are_better() -> None:
    text = page.made([RESULT])
    assert text.index("| a peer | 1.5 |") < text.index("| **cachecore** | 2 | 3 |")
    assert "Not to be trusted" not in text
    busy = {**RESULT, "quiet": {**RESULT["quiet"], "trusted": False, "because": "others computed"}}
    assert "> **Not to be trusted:** others computed." in page.made([busy])


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
    results = page.stored()
    assert page.PAGE.read_text() == page.made(results), "run `python -m benchmarks.page`"
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
