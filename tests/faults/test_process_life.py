"""C3-C5 and the ends of processes: forks, event loops that come and go, interrupts, exits with work under way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cachecore.testing.servers import Server
from tests.conftest import Record
from tests.faults.callers import sizes
from tests.faults.reliability import ms

ROOT = Path(__file__).resolve().parents[2]


def run(
    program: str, *arguments: object, seconds: float = 60, quiet: bool = True, module: str = "process_life"
) -> dict[str, Any]:
    """Run a program beside this in an interpreter in which every warning is an error; return what it told."""
    # Python 3.12 and later warn of every fork of a process that has threads; forking is what is tried here.
    warnings = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, "-X", "dev", *warnings, "-m", f"tests.faults.{module}", program]
    ended = subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    said = [line for line in ended.stderr.splitlines() if not line.startswith("Executing <")]  # slow first imports
    assert said == [] or not quiet
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


@sizes(8, 100)
def test_c3_forks(size: int, store: str, record: Record) -> None:
    """Parent and child read at once: nobody gets another's reply."""
    told = run("forks", store, size, 200, seconds=60 + 4 * size)
    assert told == {"wrong": 0, "errors": 0, "computed": 0, "problems": []}
    _forked.add(store.partition(":")[0])
    record("C3", "0 wrong, 0 errors", met=True, size=f"{size} forks × 200 reads on {' and '.join(sorted(_forked))}")


_forked: set[str] = set()


@sizes(5, 50)
def test_fork_with_calls_under_way(size: int, store: str) -> None:
    assert run("fork_in_a_call", store, size, seconds=60 + 4 * size) == {"failures": []}


@sizes(20, 100)
def test_c4_event_loops(size: int, store: str, record: Record) -> None:
    """One cache in many event loops, one after the other and four at once."""
    told = run("loops", store, size, 4, seconds=120)
    assert (told["wrong"], told["errors"], told["loops"]) == (0, [], size + 4)
    assert told["computed"] <= 20, "what is stored is not computed again"
    assert told["open_sockets"] == 0
    record("C4", "0 errors", met=True, size=f"{size} loops, then 4 in threads; {told['calls']:,} calls")


@sizes(1000, 10_000)
def test_c5_close(size: int, any_server: Server, record: Record) -> None:
    """Closing with a frozen server: in bounded time, nothing left over, not a word on stderr but the log's."""
    told = run("close", any_server.url, size, any_server.pid, quiet=False)
    any_server.resume()
    assert (told["left"], told["errors"], told["wrong"]) == ([], [], 0)
    assert told["seconds"] < 3
    record(
        "C5",
        f"nothing left over, closed in {ms(told['seconds'])}",
        met=told["seconds"] <= 1.0,
        size=f"{size:,} calls, 20 under way",
    )


def test_close_in_good_health_says_nothing(store: str) -> None:
    told = run("close", store, 500, 0)
    assert (told["left"], told["errors"], told["wrong"]) == ([], [], 0)


def test_exit_with_work_behind(store: str) -> None:
    """An application that forgets to close ends at once and without a traceback."""
    assert run("exit_without_closing", store) == {"done": True}


def test_keyboard_interrupt(store: str) -> None:
    """Ctrl-C in a factory ends the loop; the cache works in the next one."""
    told = run("interrupted", store)
    assert told["raised"]
    assert told["seconds"] < 10
    assert told["computed"] == 0


def test_loop_closed_with_calls_under_way(store: str) -> None:
    # What asyncio itself says of a loop that was closed over pending tasks is nothing that a library can help.
    told = run("loop_closed_in_a_call", store, quiet=False)
    assert told["calls"] == 40 * 50
    assert told["computed"] == 0
    assert told["abandoned"] > 20, "callers that nobody cancelled"
