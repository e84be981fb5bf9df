"""Tags and their stamps: an invalidation is immediate for every process, at the cost of deleting one key.

A tag's stamp is 8 random bytes under a key of its own. An entry stores the stamps of its tags as they were read before
its value was computed, and is valid only while each of them is the current one. A missing stamp matches nothing: a lost
stamp means misses, never resurrections.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cachecore.contract.protocols import CacheBackend, SupportsExtend
from cachecore.contract.tokens import STAMP_BYTES

T = TypeVar("T")

_SHORTEST_LIFE: Final = 86_400.0
"""Seconds a tag's stamp lives at least in a store that cannot lengthen a life without the risk to shorten it."""
_MOST_KNOWN: Final = 100_000


def random_stamp() -> bytes:
    """Return a stamp that no process has seen before."""
    return os.urandom(STAMP_BYTES)


def sound(stamp: bytes | None) -> bytes | None:
    """Return the bytes that were read if they are a stamp; damaged bytes count as missing."""
    return stamp if stamp is not None and len(stamp) == STAMP_BYTES else None


class StampBook:
    """The stamps that this process knows: the last value read of each, and a generation that any change bumps.

    A copy in memory remembers the generation under which its stamps were current; as long as that is the generation
    now, it need not look further. Keys here are those of the store, so that pushes of the feed can be looked up.

    A stamp in the store lives for twice as long as the entries that it is made for, those that are `permanent` for
    ever; longer where the store does not `extend` lives, since a renewal there may shorten one.
    """

    def __init__(
        self, *, stamp: Callable[[], bytes] = random_stamp, monotonic: Callable[[], float], extends: bool = True
    ) -> None:
        self.generation = 0
        self.current: dict[str, bytes] = {}
        self._lock = threading.RLock()  # reentrant, as that of `Tickets`
        self._new_stamp = stamp
        self._monotonic = monotonic
        self._life_for = stamp_life if extends else careful_life
        # stamp key -> the stamp, and the monotonic second until which that one lives at least
        self._lives: dict[str, tuple[bytes, float]] = {}

    def learn(self, stamps: Mapping[str, bytes | None]) -> None:
        """Take over stamps as the store has them now."""
        current = self.current
        if all(current.get(key) == stamp for key, stamp in stamps.items()):
            return
        with self._lock:
            for key, stamp in stamps.items():
                stamp = sound(stamp)
                known = current.get(key)
                if known == stamp:
                    continue
                if known is not None:
                    self.generation += 1
                if stamp is None:
                    del current[key]
                else:
                    current[key] = stamp
            if len(current) > _MOST_KNOWN:
                current.clear()
                self._lives.clear()
                self.generation += 1

    def forget(self, keys: Iterable[str]) -> None:
        """Know nothing of these stamps any more; copies that rest on them must ask the store."""
        with self._lock:
            for key in keys:
                self.current.pop(key, None)
                self._lives.pop(key, None)
            self.generation += 1

    def forget_all(self) -> None:
        """Know nothing any more."""
        with self._lock:
            self.current.clear()
            self._lives.clear()
            self.generation += 1

    def holds(self, stamps: Sequence[tuple[str, bytes]]) -> bool:
        """Return whether each of these (stamp key, stamp) pairs is the current one as far as this process knows."""
        current = self.current
        return all(current.get(key) == stamp for key, stamp in stamps)

    async def create_missing(
        self,
        backend: CacheBackend,
        stamps: Mapping[str, bytes | None],
        *,
        life: float | None,
        permanent: Container[str],
    ) -> dict[str, bytes | None]:
        """Return `stamps` with those that are None created in the store, for entries of `life` seconds.

        One stays None if another process created it at the same moment and it is gone again. The result is not
        learned here: `stamps` may have been read before an invalidation that is known by now. Raises BackendError.
        """
        complete = dict(stamps)
        missing = [key for key, stamp in stamps.items() if stamp is None]
        if not missing:
            return complete

        async def create(key: str) -> None:
            long, new = self._ttl(key, life, permanent), self._new_stamp()
            there: bytes | None = None
            for _ in range(2):  # a damaged stamp is replaced
                if await backend.swap(key, there, new, ttl=long):
                    complete[key] = new
                    self._note_life(key, new, long)
                    return
                (there,) = await backend.get_many([key])
                complete[key] = sound(there)
                if complete[key] is not None:
                    return

        await together(create(key) for key in missing)
        return complete

    def wanting(
        self, stamps: Mapping[str, bytes | None], life: float | None, permanent: Container[str]
    ) -> dict[str, bytes]:
        """Return those of `stamps` that are not known to live for `life` seconds."""
        return {
            key: stamp
            for key, stamp in stamps.items()
            if stamp is not None and key not in permanent and not self._lasts(key, stamp, life)
        }

    async def prolong(
        self,
        backend: CacheBackend,
        stamps: Mapping[str, bytes],
        *,
        life: float | None,
        permanent: Container[str],
    ) -> bool:
        """See that these stamps outlive an entry of `life` seconds; return False if one is no longer current.

        Costs nothing for stamps that are `permanent` or that this process knows to live long enough. Where the store
        `SupportsExtend`, no stamp's life is shortened below that asked for by other processes. Raises BackendError.
        """
        short = self.wanting(stamps, life, permanent)
        if not short:
            return True
        if isinstance(backend, SupportsExtend):
            long = self._life_for(life)
            there = await backend.extend(short, ttl=long)
            for (key, stamp), same in zip(short.items(), there, strict=True):
                if same:
                    self._note_life(key, stamp, long)
            return all(there)
        done: dict[str, bool] = {}

        async def renew(key: str) -> None:
            long = self._ttl(key, life, permanent)
            done[key] = await backend.swap(key, stamps[key], stamps[key], ttl=long)
            if done[key]:
                self._note_life(key, stamps[key], long)

        await together(renew(key) for key in short)
        return all(done.values())

    def _ttl(self, key: str, life: float | None, permanent: Container[str]) -> float | None:
        """Return how long this stamp must live for entries of `life` seconds."""
        return None if key in permanent else self._life_for(life)

    def _lasts(self, key: str, stamp: bytes, life: float | None) -> bool:
        """Return whether this stamp is known to live for `life` seconds at least, None: for ever."""
        noted, until = self._lives.get(key, (b"", 0.0))
        return noted == stamp and until >= (math.inf if life is None else self._monotonic() + life)

    def _note_life(self, key: str, stamp: bytes, life: float | None) -> None:
        self._lives[key] = stamp, math.inf if life is None else self._monotonic() + life

    def after_fork(self) -> None:
        """Start anew in a child process, where no thread is left that could release the lock."""
        self._lock = threading.RLock()
        self.forget_all()


@dataclass(slots=True, eq=False)
class Pins:
    """The tags that one answer depends on and their stamps, as they were before its factory read the tagged data."""

    stamps: dict[str, bytes | None] = field(default_factory=dict)
    """Stamp keys to stamps; None where the stamp is not known yet."""
    tags: list[str] = field(default_factory=list)
    """Tags that the factory pinned while it worked, as entries store them."""

    def put(self, stamps: Mapping[str, bytes | None]) -> None:
        """Pin these stamps, which are current now."""
        self.stamps.update(stamps)

    def expect(self, tag: str, stamp_key: str) -> None:
        """Depend on `tag` from now on; its stamp follows."""
        self.tags.append(tag)
        self.stamps.setdefault(stamp_key, None)

    def settle(self, stamp_key: str, stamp: bytes | None) -> None:
        """Pin the stamp of an expected tag, unless an earlier one is known: the earliest counts."""
        if self.stamps[stamp_key] is None:
            self.stamps[stamp_key] = stamp


def stamp_life(entry_life: float | None) -> float | None:
    """Return the ttl of a stamp that serves entries of `entry_life` seconds: it is renewed when half of it is over."""
    return None if entry_life is None else 2 * entry_life


def careful_life(entry_life: float | None) -> float | None:
    """Return the same for a store without `SupportsExtend`, where a renewal may shorten the life another asked for."""
    life = stamp_life(entry_life)
    return None if life is None else max(life, _SHORTEST_LIFE)


async def together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Await all of `calls`; raise the first error once all have ended, so that none is left behind."""
    given = list(calls)
    if len(given) == 1:  # no task, and no turn of the loop where the store answers at once
        return [await given[0]]
    results: list[T] = []
    for result in await asyncio.gather(*given, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results
