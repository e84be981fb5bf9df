"""Runs of several benchmarks: each in a process of its own, ended after a time, none lost because another failed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.running.results import ABSENT, folder
from benchmarks.running.rounds import scale

MOST_SECONDS: Final = 240.0
"""That one module may take; more with `--long`."""
GRACE: Final = 20.0
"""Seconds to end its servers in."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one module ended."""

    name: str
    seconds: float
    failed: str = ""
    """Why it has no new result; empty if it has one."""
    untrusted: str = ""
    """Why its figures are not to be trusted; empty if they are."""
    absent: bool = False
    """Whether it was left out, since this machine lacks something."""


def command_of(name: str) -> list[str]:
    """Return the command that runs one benchmark."""
    return [sys.executable, "-m", "benchmarks", "--here", name]


def run(name: str, command: Sequence[str] | None = None, most_seconds: float | None = None) -> Outcome:
    """Run one benchmark to its end; `command` is the usual one, `most_seconds` those of the scale, if not given."""
    most = most_seconds if most_seconds is not None else MOST_SECONDS * max(1.0, scale())
    began, before = time.monotonic(), _written(name)
    failed, absent = "", False
    with subprocess.Popen(command or command_of(name), start_new_session=True) as process:
        try:
            code = process.wait(most)
        except subprocess.TimeoutExpired:
            failed = f"ended after {most:g} s"
            process.send_signal(signal.SIGINT)  # so that it ends its servers
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            with contextlib.suppress(ProcessLookupError):  # and those that it could not end
                os.killpg(process.pid, signal.SIGKILL)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)  # its session hears no Ctrl-C of this terminal
            raise
        else:
            absent = code == ABSENT
            if code and not absent:
                failed = f"it ended with status {code}"
            elif not absent and _written(name) == before:
                failed = "it wrote no result"
    doubt = "" if failed or absent else _doubt(name)
    return Outcome(name, time.monotonic() - began, failed, doubt, absent)


def _path(name: str) -> str:
    return str(folder() / f"{name}{'_long' * (scale() > 1)}.json")


def _written(name: str) -> float | None:
    """Return when the result of a benchmark was written; None if there is none."""
    try:
        return os.stat(_path(name)).st_mtime_ns
    except FileNotFoundError:
        return None


def _doubt(name: str) -> str:
    with open(_path(name), encoding="utf-8") as file:
        return str(json.load(file)["quiet"]["because"])


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return what a run ends with: the time of each, the figures not to trust, the modules that failed."""
    lines = ["", f"{len(outcomes)} benchmarks in {sum(one.seconds for one in outcomes) / 60:.1f} minutes"]
    lines += [f"  {one.name:20}{one.seconds:6.0f} s" for one in sorted(outcomes, key=lambda one: -one.seconds)]
    for title, reasons in (
        ("Not to be trusted:", {one.name: one.untrusted for one in outcomes if one.untrusted}),
        ("Left out, for the reason above:", {one.name: "no new result" for one in outcomes if one.absent}),
        ("Failed, with their earlier results left as they are:", {one.name: one.failed for one in outcomes}),
    ):
        if any(reasons.values()):
            lines += ["", title, *(f"  {name}: {reason}" for name, reason in reasons.items() if reason)]
    return "\n".join(lines)
