"""The consistency of a cache, measured: a journal has all writes and reads, `audit` counts violations.

    journal = Journal()                               # one in each process
    journal.wrote(key, version, began, acknowledged)  # the source has `version` now, and the cache was told
    journal.read(key, version, began, ended)          # a caller got `version`
    verdict = audit([journal, ...])
    assert verdict.beyond(1.0) == 0

A read is stale by the time from when a newer version's invalidation was acknowledged to when the read began, and
consistent if there was no such time. Violations are counted by time scale, as Polaris does: how many reads were stale
by more than 10 ms, 1 s, 1 min. A version that no writer had begun when the read ended is impossible, and worse.

Keys are whole numbers, versions grow by one per key from 0, which needs no writing. Times are of one monotonic clock:
on one host all processes share it. A journal costs 24 bytes a read, 32 a write.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

SCALES: Final = (0.0, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 300.0)
"""Seconds: the time scales that violations are counted for."""


class Journal:
    """The writes and reads of one process. Not for several threads at once."""

    def __init__(self) -> None:
        self._writes = array("d")
        self._reads = array("d")

    def wrote(self, key: int, version: int, began: float, acknowledged: float) -> None:
        """Take note of a write: of the moment before the source changed, and of the one when the cache had been told.

        `acknowledged` is infinite if the cache was never told. Of several notes of one version the earliest counts.
        """
        self._writes.extend((key, version, began, acknowledged))

    def read(self, key: int, version: int, began: float, ended: float) -> None:
        """Take note of a read."""
        self._reads.extend((key, version, began, ended))

    def to_bytes(self) -> bytes:
        """Return the journal as bytes, to be sent to another process of this machine."""
        return len(self._writes).to_bytes(8, "little") + self._writes.tobytes() + self._reads.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the journal that `to_bytes` was called on."""
        journal = cls()
        end = 8 + int.from_bytes(data[:8], "little") * 8
        journal._writes.frombytes(data[8:end])
        journal._reads.frombytes(data[end:])
        return journal

    @property
    def writes(self) -> Iterable[tuple[float, ...]]:
        """The writes: key, version, began, acknowledged."""
        return _rows(self._writes)

    @property
    def reads(self) -> Iterable[tuple[float, ...]]:
        """The reads: key, version, began, ended."""
        return _rows(self._reads)


def _rows(flat: array[float]) -> Iterable[tuple[float, ...]]:
    fields = iter(flat)
    return zip(fields, fields, fields, fields, strict=True)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of an audit."""

    reads: int
    writes: int
    impossible: int
    """Reads of versions whose writes had not begun."""
    staleness: Sequence[float]
    """Seconds by which each stale read was stale, ascending; consistent reads are not in it."""
    worst: tuple[int, int, float] | None
    """Key, version and seconds of the stalest read."""

    def beyond(self, seconds: float) -> int:
        """Return how many reads were stale by more than `seconds`."""
        return len(self.staleness) - bisect_right(self.staleness, seconds)

    @property
    def violations(self) -> dict[float, int]:
        """Violations by time scale."""
        return {scale: self.beyond(scale) for scale in SCALES}

    def percentile(self, part: float) -> float:
        """Return the staleness that `part` (0 to 1) of all reads do not exceed."""
        consistent = self.reads - len(self.staleness)
        place = math.ceil(part * self.reads) - 1 - consistent
        return self.staleness[min(place, len(self.staleness) - 1)] if place >= 0 and self.staleness else 0.0


def audit(journals: Iterable[Journal]) -> Verdict:
    """Judge all reads of all journals against all their writes. O(n log n)."""
    kept = list(journals)
    begun: dict[int, dict[int, float]] = {}
    told: dict[int, dict[int, float]] = {}
    writes = 0
    for journal in kept:
        for key, version, began, acknowledged in journal.writes:
            begun.setdefault(int(key), {})[int(version)] = began
            of_key = told.setdefault(int(key), {})
            of_key[int(version)] = min(acknowledged, of_key.get(int(version), math.inf))
            writes += 1
    newer = {key: _newer(versions) for key, versions in told.items()}
    stale: list[float] = []
    worst: tuple[int, int, float] | None = None
    reads = impossible = 0
    for journal in kept:
        for number, of, began, ended in journal.reads:
            key, version = int(number), int(of)
            reads += 1
            if version != 0 and begun.get(key, {}).get(version, math.inf) > ended:
                impossible += 1
                continue
            late = began - newer.get(key, {}).get(version, math.inf)
            if late > 0:
                stale.append(late)
                if worst is None or late > worst[2]:
                    worst = (key, version, late)
    stale.sort()
    return Verdict(reads, writes, impossible, stale, worst)


def _newer(acknowledged: dict[int, float]) -> dict[int, float]:
    """Return for each version the earliest moment at which any newer one was acknowledged."""
    earliest = math.inf
    found: dict[int, float] = {}
    for version in range(max(acknowledged), -1, -1):
        found[version] = earliest
        earliest = min(earliest, acknowledged.get(version, math.inf))
    return found
