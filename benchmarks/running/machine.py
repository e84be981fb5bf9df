"""The machine that a figure was measured on, what else used it meanwhile, and whether the figure is to be trusted."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MOST_OTHERS: Final = 0.1
"""Cores that other processes may use on average while a figure is measured."""
SECONDS_BEFORE: Final = 0.5
"""For which the machine is looked at before a measurement begins: what the load says is of work that has ended, too."""
TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def _busy_seconds() -> float | None:
    """Return the seconds that all cores of the machine have computed; None where it does not say so."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, *rest = map(int, fields)
    steal = rest[0] if rest else 0
    return (user + nice + system + irq + softirq + steal) / TICKS


def _group_seconds() -> float:
    """Return the seconds that this process and its children that ended have computed."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in spent)


@dataclass
class Watch:
    """Sees from its making to `end()` how much of the machine others use.

    Servers that a module starts are its own work: the module hands their seconds to `own`, or ends them before `end`.
    """

    others_before: float | None = None
    """Cores that others used just before."""
    began: float = field(default_factory=time.monotonic)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    own: float = 0.0
    _busy: float | None = field(default_factory=_busy_seconds)
    _group: float = field(default_factory=_group_seconds)

    @classmethod
    def after_a_look(cls) -> Watch:
        """Return a watch that begins now, after a look at the machine while this process does nothing."""
        before = cls()
        time.sleep(SECONDS_BEFORE)
        return cls(others_before=before.others())

    def others(self) -> float | None:
        """Return the cores that other processes have used on average; None where the machine does not say so."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        seconds = time.monotonic() - self.began
        return max(0.0, busy - self._busy - (_group_seconds() - self._group) - self.own) / seconds

    def end(self) -> dict[str, Any]:
        """Return the load before and during, and whether the figures of this time are to be trusted."""
        seconds, others, before = time.monotonic() - self.began, self.others(), self.others_before
        reasons = []
        if others is None:
            reasons.append("this machine does not say how much others compute")
        elif others > MOST_OTHERS:
            reasons.append(f"other processes used {others:.2f} cores meanwhile, more than {MOST_OTHERS:g}")
        if before is not None and before > MOST_OTHERS:
            reasons.append(f"other processes used {before:.2f} cores before it began, more than {MOST_OTHERS:g}")
        return {
            "seconds": round(seconds, 1),
            "processor_seconds": round(_group_seconds() - self._group + self.own, 1),
            "load_before": round(self.load_before, 2),
            "others_cores_before": None if before is None else round(before, 3),
            "others_cores": None if others is None else round(others, 3),
            "trusted": not reasons,
            "because": "; ".join(reasons),
        }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def described(packages: list[str]) -> dict[str, Any]:
    """Return the machine, the date, and the versions of Python and of `packages`."""
    versions = {}
    for name in sorted({*packages, "cachecore-framework"}):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": versions,
    }
