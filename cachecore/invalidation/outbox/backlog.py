"""A bounded set of unacknowledged invalidations. On overflow, names are replaced by broader ones. No I/O.

An entry stands for itself, a stamp for all entries that carry it. Where there are too many, entries become their
namespaces, and namespaces those above them; a tag knows no namespace, so it becomes the root. Nothing is dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import xxhash

Groups = tuple[tuple[str, ...], ...]
"""Stamp keys of namespaces, nearest first, the root's last; several keys each where stamps have copies."""
_MOST_WAS: Final = 64
_NAME: Final = re.compile(r"[!-~]{1,250}")


@dataclass(frozen=True, slots=True, eq=False)
class Invalidation:
    """One key to be invalidated. Two items of one key are two invalidations: identity counts."""

    name: str
    is_stamp: bool
    above: Groups
    """The broader stamps that may replace it; empty for a stamp of the root."""
    delivered: bool = False
    """Whether the store has acknowledged it once, and is to be told again: said in files only."""
    was: frozenset[bytes] | None = None
    """Stamps, or digests of entries, that it removed; a repetition removes only these. None: any value."""


@dataclass(frozen=True, slots=True)
class Root:
    """The root of all keys of one cache."""

    prefix: str
    """The prefix of all keys."""
    stamp_keys: tuple[str, ...]
    """Where its stamp lives: one key for each hash tag where the store has nodes."""


def digest_of(data: bytes) -> bytes:
    """Return the digest of an entry's bytes that `Invalidation.was` keeps."""
    return xxhash.xxh3_128_digest(data)


def entries(keys: Iterable[str], parents: Groups) -> list[Invalidation]:
    """Return the items of entries that lie in the namespaces `parents`."""
    return [Invalidation(key, False, parents) for key in keys]


def stamps(names: Collection[str], parents: Groups) -> list[Invalidation]:
    """Return the items of stamps, invalidated from within the namespaces `parents`: theirs, or tags."""
    above = parents[-1:]  # of a tag: entries that carry it may lie anywhere
    for depth, group in enumerate(parents):
        if set(group).issuperset(names):
            above = parents[depth + 1 :]
            break
    return [Invalidation(name, True, above) for name in names]


class Backlog:
    """Items by name, at most `most` of them unless they are all the root's."""

    def __init__(self, most: int, items: Iterable[Invalidation] = ()) -> None:
        self._most = most
        self.items: dict[str, Invalidation] = {}
        self.add(items)

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, name: object) -> bool:
        return name in self.items

    def __iter__(self) -> Iterator[Invalidation]:
        return iter(list(self.items.values()))

    def named(self, names: Iterable[str]) -> list[Invalidation]:
        """Return those that have one of these names."""
        return [item for name in names if (item := self.items.get(name)) is not None]

    def add(self, items: Iterable[Invalidation]) -> None:
        """Take these in place of earlier ones of their names."""
        self.items.update({item.name: item for item in items})
        while len(self.items) > self._most and self._collapse():
            pass

    def remove(self, items: Iterable[Invalidation]) -> None:
        """Take these very items out; another of the same name stays."""
        for item in items:
            if self.items.get(item.name) is item:
                del self.items[item.name]

    def forget(self, names: Iterable[str]) -> None:
        """Remove the invalidations of these names."""
        for name in names:
            self.items.pop(name, None)

    def _collapse(self) -> bool:
        """Replace entries and tags, else the lowest namespaces, by their parents; return whether that helps."""
        items = self.items
        lowest = max((len(item.above) for item in items.values()), default=0)
        if not lowest:
            return False
        entries_first = any(not item.is_stamp for item in items.values())
        kept: dict[str, Invalidation] = {}
        for item in items.values():
            if not item.is_stamp if entries_first else len(item.above) == lowest:
                for name in item.above[0]:
                    kept[name] = Invalidation(name, True, item.above[1:])
            else:
                kept[item.name] = item
        self.items = kept  # in one step, for readers without a lock
        return True


class Recent:
    """Items of the last `seconds` to twice as many, in two halves, so that nothing is looked through to forget them."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._newer, self._older = Backlog(most), Backlog(most)
        self._until = -math.inf

    def add(self, items: Iterable[Invalidation], now: float) -> None:
        """Remember these as of the monotonic second `now`, merged with earlier ones of the same names."""
        self._forget(now)
        self._newer.add([self._with_earlier(item) for item in items])

    def _with_earlier(self, item: Invalidation) -> Invalidation:
        was = item.was
        for earlier in (*self._older.named([item.name]), *self._newer.named([item.name])):
            was = None if was is None or earlier.was is None else was | earlier.was
        if was is item.was or (was is not None and len(was) > _MOST_WAS):
            return item
        return replace(item, was=was)

    def items(self, now: float) -> list[Invalidation]:
        """Return the items that are remembered at the monotonic second `now`, the newest last."""
        self._forget(now)
        return [*self._older, *self._newer]

    def _forget(self, now: float) -> None:
        if now < self._until:
            return
        self._older = self._newer if now < self._until + self._seconds else Backlog(self._most)
        self._newer = Backlog(self._most)
        self._until = now + self._seconds


class Acknowledged:
    """When the store acknowledged the last invalidation of a name, for `seconds`: long enough for reads under way."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._at)

    def add(self, items: Iterable[Invalidation], now: float) -> None:
        """Take note that these were acknowledged at the monotonic second `now`."""
        self._at.update({item.name: now for item in items})

    def covers(self, name: str, asked_at: float) -> bool:
        """Return whether what was asked for at `asked_at` may be older than the invalidation of `name`."""
        return self._at.get(name, -math.inf) >= asked_at

    def over_at(self) -> float:
        """Return when the last of them has been remembered for long enough; infinity if there is none."""
        return max(self._at.values(), default=math.inf) + self._seconds

    def forget(self, now: float, kept: Collection[str]) -> None:
        """Forget those that are old, but not these."""
        old = now - self._seconds
        self._at = {name: at for name, at in self._at.items() if at > old or name in kept}  # in one step, as above


def as_lines(items: Iterable[Invalidation]) -> list[dict[str, object]]:
    """Return the lines that a file keeps of these: names only, grouped by their parents.

    An invalidation with `was` is left out: another process could not tell whether it is due.
    """
    grouped: dict[tuple[bool, Groups, bool], list[str]] = {}
    for item in items:
        if item.was is not None:
            continue
        grouped.setdefault((item.is_stamp, item.above, item.delivered), []).append(item.name)
    return [
        {"stamps" if is_stamp else "entries": names, "above": above} | ({"delivered": True} if delivered else {})
        for (is_stamp, above, delivered), names in grouped.items()
    ]


def from_line(line: Mapping[str, object]) -> list[Invalidation]:
    """Return the items that one line of a file means. Raises ValueError."""
    above = line.get("above")
    if not isinstance(above, list):
        raise ValueError("a line of pending invalidations does not say what is above")
    groups: Groups = tuple(tuple(_names(group)) for group in above)
    delivered = line.get("delivered") is True
    items: list[Invalidation] = []
    for kind, is_stamp in (("stamps", True), ("entries", False)):
        items += [Invalidation(name, is_stamp, groups, delivered) for name in _names(line.get(kind, []))]
    return items


def _names(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in value):
        raise ValueError("a line of pending invalidations does not list keys")
    return value


@dataclass(slots=True, eq=False)
class Repetition:
    """Invalidations that were delivered once and are delivered again at the monotonic second `at`."""

    at: float
    items: Backlog
