"""The table of reliability figures: what is aimed at, what was measured, and how to measure it again.

The table lives in `docs/reliability.md`, a line a figure; a long run replaces the lines of the figures that it
measured and leaves the others as they are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"

SCALE: Final = float(os.environ.pop("CACHECORE_SOAK_SCALE", "1"))
"""What the sizes of the long runs are multiplied by: 0.1 takes about a tenth of the time."""

GOALS: Final = {
    "A1": "30 kinds of fault and more, 1,000 calls each: every call answered, no error, no wrong value",
    "A2": "frozen server: the first calls cost ≤ 60 ms over the factory, then p99 ≤ 2 ms",
    "A3": "refused, DNS, max clients, wrong password: p99 ≤ 2 ms, ≤ 5 connects a second",
    "A4": "replies 300 ms late: a call costs ≤ 60 ms, then ≤ 2 ms",
    "A5": "healed: the store is used again within 500 ms, memory is trusted again within 1 s",
    "A6": "cluster, one node frozen: keys of healthy nodes ≤ 100 ms, no error",
    "A7": "Sentinel failover: no error, the store is used again ≤ 1 s after the promotion",
    "A8": "idle connections closed by the server: 0 of 1,000 reads lost",
    "A9": "1,000 calls at once on 1,000 keys: no error, ≤ 32 connections",
    "A10": "built and opened with the server down: ≤ 100 ms; attaches by itself ≤ 1 s after it appears",
    "A11": "OOM, READONLY, failing leases: ≤ 10 commands a call, < 5 % CPU",
    "A12": "open breaker: a call costs ≤ 100 µs more than its factory",
    "A13": "store down, 200 callers of one key: one computation",
    "L1": "store 3, 10, 20, 80 ms away, defaults: a process that asks one question hits, every later call hits",
    "L2": "replies 200 and 400 ms late beside 4 readers: `set`, `delete`, `invalidate_tags` acknowledged",
    "L3": "server frozen or silent when the process starts: 1.05 s once, then p99 ≤ 2 ms",
    "L4": "15 ms more each way: p99 at most that of a plain GET before the same factory plus 20 ms",
    "L5": "2,000 `set` at once, `set_many` of 10,000: none fails because the process is busy",
    "L6": "the first `set` of a process on SQLite beside two busy loops: none raises",
    "L7": "32 threads of a `SyncCache` on SQLite: no answer paid twice",
    "L8 redis": "4 new processes × 50 callers of one key beside two busy loops, both faces: one call in every round",
    "L8 sqlite": "4 new processes × 50 callers of one key beside two busy loops, both faces: one call in every round",
    "C1": "cancellation at random and at every loop step of every public call: 0 wrong, 0 swallowed, 0 left over",
    "C2": "any callers of a computation cancelled: the others answered, one factory call",
    "C3": "100 forks × 200 reads, parent and child: 0 wrong, 0 errors",
    "C4": "100 changes of event loop, 4 loops in threads: 0 errors",
    "C5": "10,000 calls, then close: nothing pending, no warning, ≤ 1 s with a frozen server",
    "C6": "cancellation at random while the process forks and while event loops end: 0 wrong, 0 swallowed, 0 left over",
    "S1": "deleted in one process, gone in another: p50 ≤ 0.5, p99 ≤ 2, p99.9 ≤ 5, max ≤ 50 ms",
    "S2": "fill race, loader race, write/write race: 0 stale in 10,000 each",
    "S3": "deleted during an outage: visibly pending, and no old value from 500 ms after the link is back",
    "S4": "invalidation link silently dead: copies in memory stale ≤ 1 s",
    "S5": "3 processes, all faults, 10 min, ≥ 500,000 reads: 0 wrong, 0 errors, staleness p99.9 ≤ 1 s, 0 stale at rest",
    "S6": "10⁶ writes without faults, 3 processes: 0 inconsistent after 1 s",
    "S7": "4 processes × 25 callers of a 2 s factory: 1 call, ≤ 200 commands, slowest ≤ factory + 50 ms",
    "S7b": "its holder killed: taken over ≤ 1 s",
    "S8": "killed and started from a snapshot, at once and 6 s after the invalidations: 0 come back, everything is "
    "invalidated once at most",
    "S9": "Sentinel failovers under 100 invalidations a second: 0 come back, everything goes once at most each",
    "S10": "the machine sleeps 8 h: answers of 1 h are expired at the first call after waking, those of a day are hits",
    "P1": "Postgres killed and started again: no error, the store is used again ≤ 1 s after it answers, the feed ≤ 2 s",
    "P2": "Postgres frozen: the first calls cost ≤ 60 ms, then p99 ≤ 2 ms; the cache closes within 1 s",
    "P3": "Postgres with a full disk: no error, what is stored is served, what is new is computed",
    "P4": "Postgres table locked by another session: a call costs ≤ 60 ms; what was given up is not carried out later",
    "P5": "Postgres turned read-only: what is stored is served; invalidations arrive ≤ 1 s after writes are taken",
    "P6": "Postgres failover to the other host of the URL: no error, the new one is used ≤ 1 s later",
    "D1": "10⁶ mutated entries: 0 wrong, 0 raised",
    "D2": "coverage-guided fuzzing of envelope and serializers: 5×10⁶ runs, 0 crashes, ≤ +64 MB",
    "D4": "bombs refused in ≤ 50 ms and ≤ +16 MiB; values over `max_value_bytes` refused before they are sent",
    "D5": "text of 8 MiB: the event loop never stalls > 20 ms; many small nodes: as measured",
    "D6": "simulated histories in virtual time, 10,000 seeds × 200 steps: 0 promises broken",
    "X1": "≥ 50 deserialisation gadgets under our keys: 0 executed",
    "X2": "10⁶ forged, moved or downgraded entries under `encrypted`: 0 accepted",
    "X3": "10⁵ tenant × prompt pairs: 0 answers of another pair",
    "X4": "planted secrets found in logs, errors, metrics, spans, key names, SLOWLOG, under faults: 0",
    "X5": "an ACL user without @scripting and @dangerous: everything works",
    "X6": "a proxy that swaps replies between connections: 0 wrong in 10⁵ reads",
    **{
        f"{row} {policy}": goal.format(policy)
        for row, goal in {
            "E1": "full server, `{}`: 0 old answers after `delete`, `set`, `invalidate_tags` of a running computation",
            "E2": "full server, `{}`: keys asked for by 3 caches at once are computed once each",
            "E3": "full server, `{}`: hit ratio within 1 point of GET and SETEX of the same values",
        }.items()
        for policy in (
            *("allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
            *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
        )
    },
}

_HEAD: Final = """\
# Reliability

The behaviour under faults of the store, the network, the process and the data, measured. Every row is a scenario under
`tests/`, most of them on real servers (Redis, Valkey, Postgres, SQLite) that are frozen, killed, filled and cut off.
`make test` runs each at a small size and asserts all that is not a matter of speed (no error, no wrong value, nothing
left over, how many calls and connections); `make soak` runs them at full size and writes this table, and
`CACHECORE_SOAK_SCALE=0.1 make soak` runs a tenth of it. The column *size* says the size run here, and *yes* means met
at that size. Times are wall-clock on a shared machine of two cores; a goal that was not met is shown as it is.

How to read it:

- A *wrong* value is another request's, an invalidated one served by a process that knew better, or a damaged one. An
  *error* is anything that a reading caller gets and the factory did not raise. `delete`, `expire` and invalidations
  raise `InvalidationPending` while the store cannot acknowledge them, and `set` returns False; each is counted.
- A *write* waits for the store for `write_timeout` at most. `set` and `set_many` tell whether the store took the value;
  with `required=True` they raise instead. Where it did not, the deletion of the old answer pends, unless the store said
  just before that there was none. An answer that a computation or `set(since=<a miss>)` could not store is
  dropped and counted. A pending deletion is delivered by itself; `aclose` and the interpreter's end try once more for
  `write_timeout`, then log the number that is left. Up to `max_pending` are kept by name; more stand for their
  namespace.
- *Staleness*, measured by `cachecore.testing.audit`: from the acknowledgement of an invalidation, in any process,
  to the start of a read that still gets the old answer. Invalidations without acknowledgement are shown apart.
- Where a p99 is wall-clock time, the processor time of the same calls stands beside it: on a busy machine a call that
  takes 100 µs now and then waits 4 ms for its turn.
- A store *goes back in time* when it is restored from a snapshot, when a replica that lagged is promoted, or when an
  older file is put back. The tests of S8 do the same to a node of a cluster, where only that node's answers are lost,
  and to a SQLite file. A backend without `SupportsMarks` has no such protection (`health()["marks"]` is `none`). The
  rest is in [redis.md](redis.md#what-a-restart-can-bring-back).
- Secrets: names of namespaces and tags are parts of key names, and so can be read by all that can read the store or its
  SLOWLOG. Requests are digests; values are readable unless the serializer is `encrypted`.

| | goal | measured | met | size | again with `pytest -m soak` and |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    row: str
    measured: str
    met: bool
    size: str
    command: str

    def line(self) -> str:
        met = "yes" if self.met else "**no**"
        return f"| {self.row} | {GOALS[self.row]} | {self.measured} | {met} | {self.size} | `{self.command}` |"


def scaled(size: int, least: int = 1) -> int:
    """Return the size of a long run."""
    return max(least, round(size * SCALE))


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that `part` (0 to 1) of `values` do not exceed; 0 if there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def ms(seconds: float) -> str:
    """Return a time for the table."""
    return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def write(figures: Sequence[Figure], document: Path = DOCUMENT) -> None:
    """Replace the lines of `figures` in the table, in the order of the goals."""
    lines: dict[str, str] = {}
    if document.exists():
        for line in document.read_text(encoding="utf-8").splitlines():
            row = line.split("|")[1].strip() if line.startswith("| ") else ""
            if row in GOALS:
                lines[row] = line
    lines.update({figure.row: figure.line() for figure in figures})
    ordered = sorted(lines, key=list(GOALS).index)
    document.write_text(_HEAD + "".join(lines[row] + "\n" for row in ordered), encoding="utf-8")
