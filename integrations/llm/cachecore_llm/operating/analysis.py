"""What a log of requests says of its cache: the rate as it is, what stands in its way, what each change would give."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from cachecore_llm.operating.fingerprints import SYSTEM, VARIANTS, Prints
from cachecore_llm.operating.reuse import hits_with_ttl, repeats, reuse_bytes
from cachecore_llm.operating.similar_misses import SimilarFound

MOST: Final = 2_000_000
"""Requests that are analysed; about 8 bytes for each of them and each of its fields."""
_MOST_FIELDS: Final = 64
_OTHER: Final = "(other fields)"
CONTENT: Final = frozenset({SYSTEM, "messages", "input", "user_message", "context", "protocol", "prompt_name"})
"""Fields without which a request is another one."""
TTLS: Final = (60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)
_MIB: Final = 1024 * 1024
_SMALLEST: Final = 64 * 1024
_LEAST_GAIN: Final = 0.001
_BYTES_A_TOKEN: Final = 4
_ENTRY_BYTES: Final = 400
_USUAL_TOKENS: Final = 300

_WORDS: Final = {
    "times": "take dates and clock times out of the {fields}",
    "ids": "take random ids out of the {fields}",
    "order": "bring lists in the {fields} into one order",
    "spelling": "let typing not count in the {fields} (CacheConfig(normalise=True))",
}


@dataclass(slots=True)
class Change:
    """A change, and the hit rate with it."""

    name: str
    rate: float
    gain: float
    fields: list[str] = field(default_factory=list)
    """The fields that it changes."""
    parts: list[Change] = field(default_factory=list)
    """Of several changes at once: each of them."""

    @property
    def words(self) -> str:
        """The advice, in words."""
        if self.parts:
            return "all of these: " + ", ".join(one.words for one in self.parts)
        if self.name in _WORDS:
            return _WORDS[self.name].format(fields=" and ".join(self.fields) or "request")
        return f"leave {self.name} out of the key, if no answer depends on it (CacheConfig(ignore=[{self.name!r}]))"


@dataclass(slots=True)
class Point:
    """The rate, and what it saves, at one ttl or size."""

    at: float
    """Seconds, or bytes."""
    rate: float
    tokens_saved: int
    dollars_saved: float | None


@dataclass(slots=True)
class Findings:
    """The result of an analysis. Rates are parts of all requests, 0.0 to 1.0."""

    requests: int
    bypassed: dict[str, int]
    """Requests that never come from a cache, by reason."""
    exact: float
    best: float
    """With all that varies without meaning left out."""
    changes: list[Change]
    without: list[Change]
    """The rate with each field left out."""
    ttls: list[Point]
    sizes: list[Point]
    pays_most: Change | None
    similar: SimilarFound | None = None
    """The gain by answers to similar questions, and their error; None if it was not looked for."""

    def as_json(self) -> dict[str, Any]:
        """Return the findings as plain data."""
        return {
            "requests": self.requests,
            "bypassed": self.bypassed,
            "exact_hit_rate": self.exact,
            "best_hit_rate": self.best,
            "pays_most": None if self.pays_most is None else {**_plain(self.pays_most), "do": self.pays_most.words},
            "changes": [_plain(one) for one in self.changes],
            "without_field": [_plain(one) for one in self.without],
            "by_ttl": [_point(one, "seconds") for one in self.ttls],
            "by_memory": [_point(one, "bytes") for one in self.sizes],
            "similar_answers": None if self.similar is None else self.similar.as_json(),
        }


class Analysis:
    """Takes the requests of a log one by one, and keeps numbers of them alone."""

    def __init__(
        self, *, dollars_in: float | None = None, dollars_out: float | None = None, sample: float = 1.0
    ) -> None:
        """Begin. The dollars are those of a million tokens; `sample` is the part of the keys that the log holds."""
        self._sample = sample
        self._rates = (dollars_in, dollars_out)
        self._totals = [array("Q") for _ in range(1 + len(VARIANTS))]
        self._fields: dict[str, array[int]] = {}
        self._touched: dict[str, Counter[str]] = {name: Counter() for name in VARIANTS}
        self._times = array("d")
        self._tokens_in = array("Q")
        self._tokens_out = array("Q")
        self._bypassed: Counter[str] = Counter()
        self._timed = True

    @property
    def requests(self) -> int:
        """How many requests were taken."""
        return len(self._times)

    @property
    def everything(self) -> int:
        """How many there were, with those that never come from a cache."""
        return self.requests + self._bypassed.total()

    def bypass(self, reason: str) -> None:
        """Count a request that never comes from a cache."""
        self._bypassed[reason] += 1

    def add(
        self, prints: Prints, *, at: float | None = None, tokens_in: int | None = None, tokens_out: int | None = None
    ) -> int:
        """Take one request, in any order if all tell their time. Return its digest: two with one key have one."""
        totals = [0] * len(self._totals)
        for name, digests in prints.items():
            own = self._field(name)
            if len(own) > self.requests:  # several of the other fields
                own[-1] ^= digests[0]
            else:
                own.append(digests[0])
            for place, digest in enumerate(digests):
                totals[place] ^= digest
                if digest != digests[0]:
                    self._touched[VARIANTS[place - 1]][name] += 1
        for total, whole in zip(totals, self._totals, strict=True):
            whole.append(total)
        for column in self._fields.values():
            if len(column) < len(self._totals[0]):
                column.append(0)
        self._timed = self._timed and at is not None
        self._times.append(at or 0.0)
        self._tokens_in.append(tokens_in or 0)
        self._tokens_out.append(tokens_out or 0)
        return totals[0]

    def _field(self, name: str) -> array[int]:
        if name not in self._fields:
            name = name if len(self._fields) < _MOST_FIELDS else _OTHER
            if name not in self._fields:
                self._fields[name] = array("Q", bytes(8 * self.requests))
        return self._fields[name]

    def findings(self, similar: SimilarFound | None = None) -> Findings:
        """Return the result for the requests so far, with the findings of `similar` ones."""
        self._sort()
        exact = self._totals[0]
        everything = self.everything
        rate = repeats(exact) / max(1, everything)

        def changed(name: str, keys: array[int], fields: list[str]) -> Change:
            new = repeats(keys) / max(1, everything)
            return Change(name, new, new - rate, fields)

        changes = [
            changed(name, self._totals[1 + place], sorted(self._touched[name]))
            for place, name in enumerate(VARIANTS)
            if name != "all"
        ]
        without = [
            changed(name, array("Q", (total ^ own for total, own in zip(exact, column, strict=True))), [name])
            for name, column in self._fields.items()
        ]
        alone = [one for one in changes + without if one.name not in CONTENT and one.gain >= _LEAST_GAIN]
        together = changed("all", self._totals[-1], sorted(self._touched["all"]))
        together.parts = [one for one in changes if one.fields]
        return Findings(
            requests=everything,
            bypassed=dict(self._bypassed),
            exact=rate,
            best=together.rate,
            changes=sorted(changes, key=lambda one: -one.gain),
            without=sorted(without, key=lambda one: -one.gain),
            ttls=self._by_ttl(everything),
            sizes=self._by_size(everything),
            pays_most=_pays_most(alone, together),
            similar=similar,
        )

    def _sort(self) -> None:
        """Bring the requests into the order in which they were asked: many exports have the newest first."""
        if not self._timed or all(one <= after for one, after in pairwise(self._times)):
            return
        order = array("L", sorted(range(self.requests), key=self._times.__getitem__))
        self._times = array("d", map(self._times.__getitem__, order))
        for column in (*self._totals, *self._fields.values(), self._tokens_in, self._tokens_out):
            column[:] = array("Q", map(column.__getitem__, order))

    def _by_ttl(self, everything: int) -> list[Point]:
        if not self._timed or not self._times:
            return []
        return [
            self._point(ttl, hits_with_ttl(self._totals[0], self._times, ttl), everything)
            for ttl in (*TTLS, float("inf"))
        ]

    def _by_size(self, everything: int) -> list[Point]:
        sizes = array("Q", (_ENTRY_BYTES + _BYTES_A_TOKEN * (out or _USUAL_TOKENS) for out in self._tokens_out))
        needed = reuse_bytes(self._totals[0], sizes)
        points, room = [], float(_SMALLEST)
        most = max((one for one in needed if one != float("inf")), default=0.0)
        while True:
            points.append(self._point(room, bytearray(one <= room * self._sample for one in needed), everything))
            if room * self._sample >= most or room > 1024 * 1024 * _MIB:
                return points
            room *= 4

    def _point(self, at: float, hits: bytearray, everything: int) -> Point:
        saved_in = sum(tokens for tokens, hit in zip(self._tokens_in, hits, strict=True) if hit)
        saved_out = sum(tokens for tokens, hit in zip(self._tokens_out, hits, strict=True) if hit)
        dollars_in, dollars_out = self._rates
        dollars = None
        if dollars_in is not None and dollars_out is not None:
            dollars = (saved_in * dollars_in + saved_out * dollars_out) / 1e6
        return Point(at, sum(hits) / max(1, everything), saved_in + saved_out, dollars)


def _pays_most(alone: list[Change], together: Change) -> Change | None:
    """Return the change that gains most; all of them where none gives half of it, as of a clock beside a random id."""
    best = max(alone, key=lambda one: one.gain, default=None)
    if together.gain >= _LEAST_GAIN and (best is None or best.gain < together.gain / 2):
        return together
    return best


def _plain(one: Change) -> dict[str, Any]:
    return {"name": one.name, "hit_rate": one.rate, "gain": one.gain, "fields": one.fields}


def _point(one: Point, unit: str) -> dict[str, Any]:
    at = None if one.at == float("inf") else one.at
    return {unit: at, "hit_rate": one.rate, "tokens_saved": one.tokens_saved, "dollars_saved": one.dollars_saved}
