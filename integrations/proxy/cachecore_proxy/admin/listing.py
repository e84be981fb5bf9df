"""Entries of the store as lines of a table: which are wanted, how many are looked at, in which order.

The store lists its keys in no order and may have millions. So a listing looks at a bounded number of entries for a
bounded time, is sorted, and is kept for as long as its pages are turned.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from cachecore import Cache, StoredEntry
from cachecore_proxy.activity import Name
from cachecore_proxy.admin.places import Places, models_of, prompt_segments, tenant_segment

MOST: Final = 5000
"""Entries that one listing looks at."""
SECONDS: Final = 5.0
"""After which it ends with the entries so far."""
PAGE: Final = 50
_KEPT: Final = 4
_MOST_TEXT: Final = 300

Order = ("newest", "oldest", "largest")


class Line(NamedTuple):
    """One entry."""

    key: str
    tenant: str
    prompt: str
    text: str
    """The first digits of the digest of the prompt's text."""
    model: str
    tags: tuple[str, ...]
    provider: str
    age: float
    fresh_for: float | None
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries are listed. Empty: all."""

    tenant: str = ""
    prompt: str = ""
    """With all below it (`faq/v3` below `faq`)."""
    model: str = ""
    tag: str = ""
    older: float | None = None
    """Seconds of age, at least."""
    younger: float | None = None
    """Seconds of age, at most."""

    def namespaces(self) -> Callable[[str], bool] | None:
        """Return whether a namespace may have such entries; None: all may. Raises OptionsError."""
        if not self.tenant and not self.prompt:
            return None
        tenant = tenant_segment(self.tenant) if self.tenant else None
        prompt = prompt_segments(self.prompt) if self.prompt else ()

        def may(namespace: str) -> bool:
            segments = namespace.split("/")
            owner = segments[0] if segments[0].startswith(("t-", "x-")) else None
            own = segments[1:] if owner is not None else segments
            return (tenant is None or owner == tenant) and tuple(own[: len(prompt)]) == prompt

        return may

    def holds(self, entry: StoredEntry[Any]) -> bool:
        """Whether an entry of a wanted namespace is wanted."""
        return (
            (not self.model or f"model:{self.model}" in entry.tags)
            and (not self.tag or self.tag in entry.tags)
            and (self.older is None or entry.age >= self.older)
            and (self.younger is None or entry.age <= self.younger)
        )


@dataclass(slots=True, kw_only=True)
class Listing:
    """The entries found."""

    lines: list[Line] = field(default_factory=list)
    matched: int = 0
    """Entries that are wanted; `lines` may be fewer."""
    looked: int = 0
    """Entries that were looked at."""
    complete: bool = False
    """Whether all were; else there may be more."""
    at: float = 0.0
    """Seconds since the epoch."""
    name: str = field(default_factory=lambda: secrets.token_hex(8))


async def entries_of(
    root: Cache[Any],
    wanted: Wanted,
    names: Iterable[Name],
    *,
    most: int = MOST,
    keep: int = MOST,
    seconds: float = SECONDS,
) -> Listing:
    """Return the wanted entries, in no order. Raises OptionsError if a name can be none.

    Looks at `most` entries for `seconds`, and keeps the lines of the first `keep`.
    """
    places = Places(names)
    found = Listing(at=time.time())
    where = wanted.namespaces()
    entries = root.entries(where=where, most=most)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for entry in entries:
                found.looked += 1
                if wanted.holds(entry):
                    found.matched += 1
                    if len(found.lines) < keep:
                        found.lines.append(line_of(entry, places))
            found.complete = found.looked < most
    return found


def line_of(entry: StoredEntry[Any], places: Places) -> Line:
    """Return the facts of an entry, names cut to a bounded length."""
    place = places.read(entry.namespace)
    return Line(
        key=entry.key,
        tenant=place.tenant[:_MOST_TEXT],
        prompt=place.prompt[:_MOST_TEXT],
        text=place.text,
        model=models_of(entry.tags)[:_MOST_TEXT],
        tags=tuple(tag[:_MOST_TEXT] for tag in entry.tags[:20]),
        provider=(entry.served_by or "")[:_MOST_TEXT],
        age=entry.age,
        fresh_for=entry.fresh_for,
        size_bytes=entry.size_bytes,
    )


def ordered(lines: list[Line], order: str) -> list[Line]:
    """Return the lines in one of `Order`."""
    if order == "largest":
        return sorted(lines, key=lambda line: (-line.size_bytes, line.key))
    return sorted(lines, key=lambda line: (line.age, line.key), reverse=order == "oldest")


class Listings:
    """The last listings, kept while their pages are turned. One is made at a time."""

    def __init__(self, root: Cache[Any]) -> None:
        self._root = root
        self._kept: OrderedDict[str, tuple[Wanted, Listing]] = OrderedDict()
        self._making = asyncio.Lock()

    def kept(self, name: str, wanted: Wanted) -> Listing | None:
        """Return the listing of that name, if it is kept and is of `wanted`."""
        found = self._kept.get(name)
        return found[1] if found is not None and found[0] == wanted else None

    async def make(self, wanted: Wanted, names: Iterable[Name]) -> Listing:
        """Return a new listing. Raises OptionsError if a name can be none."""
        async with self._making:
            listing = await entries_of(self._root, wanted, names)
        self._kept[listing.name] = wanted, listing
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return listing

    def forget(self) -> None:
        """Forget all of them: something was purged."""
        self._kept.clear()
