"""Which of many requests is the nearest to one, and in which fields it differs. Pure.

A request with the same messages and another parameter is nearer than one with other messages: it is more likely to be
meant as the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from cachecore_llm.flow.fields import DIGEST_BYTES, FieldDigests, unpacked
from cachecore_llm.flow.stored import StoredAnswer

T = TypeVar("T")

Kind = Literal["value", "only asked", "only stored"]

_SAID: Final = frozenset({"messages", "input", "instructions", "system", "system_prompt", "user_message", "context"})
_FIELD: Final = re.compile(r"(?:body\.)?(\w*)")
_MOST_NAMED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A field in which a stored request differs from one that was asked."""

    path: str
    """Such as `temperature`, `tools`, `messages[3]`; `namespace` if all fields are the same, and the place is not."""
    kind: Kind

    def __str__(self) -> str:
        return self.path if self.kind == "value" else f"{self.path} ({self.kind})"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestEntry:
    """The stored answer whose request is the nearest."""

    key: str
    differences: tuple[FieldDifference, ...]

    def __str__(self) -> str:
        return in_words([str(one) for one in self.differences])


class Search:
    """Looks for the nearest of stored answers, which it is shown one by one. Keeps the nearest alone."""

    def __init__(self, asked: FieldDigests) -> None:
        self._asked = asked
        self._rank: Any = None
        self.nearest: NearestEntry | None = None
        self.looked_at = 0
        """Entries that were shown."""
        self.comparable = 0
        """Of these: entries with digests, of the same tenant and protocol."""

    def show(self, key: str, stored: StoredAnswer) -> None:
        """Take the next entry."""
        self.looked_at += 1
        digests = unpacked(stored.fields)
        if digests is None or digests.get("") != self._asked[""]:
            return
        self.comparable += 1
        found = tuple(differences(self._asked, digests)) or (FieldDifference(path="namespace", kind="value"),)
        rank = (*distance([one.path for one in found]), key)
        if self._rank is None or rank < self._rank:
            self._rank, self.nearest = rank, NearestEntry(key=key, differences=found)

    @property
    def says_the_same(self) -> bool:
        """Whether the nearest differs in no message."""
        return self._rank is not None and self._rank[0] == 0


def nearest_entry(asked: FieldDigests, entries: Iterable[tuple[str, StoredAnswer]]) -> NearestEntry | None:
    """Return the nearest of `entries`, pairs of key and answer; None if none compares with `asked`."""
    search = Search(asked)
    for key, stored in entries:
        search.show(key, stored)
    return search.nearest


def differences(asked: FieldDigests, stored: FieldDigests) -> Iterator[FieldDifference]:
    """Yield the fields in which two requests of one tenant and protocol differ, in order of their names."""
    for name in sorted(asked.keys() | stored.keys()):
        ours, theirs = asked.get(name, b""), stored.get(name, b"")
        if ours == theirs:
            continue
        is_list = name.endswith("[]")
        for place in range(0, max(len(ours), len(theirs)), DIGEST_BYTES):
            a, b = ours[place : place + DIGEST_BYTES], theirs[place : place + DIGEST_BYTES]
            if a != b:
                path = f"{name[:-2]}[{place // DIGEST_BYTES}]" if is_list else name
                yield FieldDifference(path=path, kind="value" if a and b else "only asked" if a else "only stored")


def distance(paths: Sequence[str]) -> tuple[int, int]:
    """Return how far a request with differences at `paths` is away: places in messages, then all others."""
    fields = [found[1] for path in paths if (found := _FIELD.match(path))]
    said = sum(field in _SAID for field in fields)
    return said, len(paths) - said


def nearest_of(candidates: Iterable[Sequence[str]]) -> Sequence[str] | None:
    """Return the paths at which the nearest of `candidates` differs; None if there is none."""
    return min(candidates, key=distance, default=None)


def in_words(paths: Sequence[str]) -> str:
    """Return `the nearest differs in …`. Fields are named and values are not: they may be prompts."""
    more = len(paths) - _MOST_NAMED
    return f"the nearest differs in {', '.join(paths[:_MOST_NAMED])}" + (f" and {more} more" if more > 0 else "")
