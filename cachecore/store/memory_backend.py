"""`memory://`: a store inside this process, bounded by bytes; for tests, notebooks and single processes.

It keeps the whole contract of a backend, so that a program that works on it works on a server. It is not L1, which
belongs to a cache; but L1 looks into it at each hit, so that it needs no payloads of its own and is always coherent.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit

from cachecore.contract.clock import Clock, SystemClock, counting_sleep
from cachecore.contract.errors import BackendUnavailable, OptionsError
from cachecore.contract.options import MIB, Size, size

_PAGE = 256


class MemoryBackend:
    """CacheBackend in a dict, least recently written or read first out; a look at a value is no use of it.

    Safe to call from several loops and threads: each call holds one lock and never awaits while it does.
    """

    local: Literal[True] = True

    def __init__(self, *, max_bytes: Size = 256 * MIB, clock: Clock | None = None) -> None:
        self._max_bytes = size("max_bytes", max_bytes)
        if self._max_bytes < 1:
            raise OptionsError(f"max_bytes must be at least 1, not {max_bytes!r}")
        self._clock = counting_sleep(clock or SystemClock())
        self._lock = threading.Lock()
        # (value, monotonic second of its end, number of its write), least recently used first; written under _lock
        self._values: dict[str, tuple[bytes, float | None, int]] = {}
        self.version = 0  # written under _lock
        """The number of the last change: a write, a deletion, an eviction."""
        self._bytes = 0  # guarded by _lock
        self._closed = False

    def __repr__(self) -> str:
        return f"MemoryBackend(entries={len(self._values)}, bytes={self._bytes})"

    def look(self, key: str) -> tuple[bytes, int] | None:
        """Return the live value of `key` and the number of the write that put it there; None if there is none."""
        slot = self._values.get(key)
        if slot is None:
            return None
        value, ends, number = slot
        return None if ends is not None and ends <= self._clock.monotonic() else (value, number)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`."""
        with self._open("get_many"):
            now = self._clock.monotonic()
            values = [self._live(key, now) for key in keys]
            for key, value in zip(keys, values, strict=True):
                if value is not None:
                    self._values[key] = self._values.pop(key)  # used last
            return values

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key; it lives `ttl` seconds, or until evicted if None."""
        with self._open("set_many"):
            for key, value in items.items():
                self._put(key, value, ttl)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many existed."""
        with self._open("delete_many"):
            now = self._clock.monotonic()
            return sum(self._live(key, now) is not None and self._drop(key) for key in dict.fromkeys(keys))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""
        with self._open("swap"):
            if self._live(key, self._clock.monotonic()) != old:
                return False
            if new is not None:
                self._put(key, new, ttl)
            elif old is not None:
                self._drop(key)
            return True

    async def advance(self, key: str) -> int:
        """Add one to the counter under `key` and return it."""
        with self._open("advance"):
            value = self._live(key, self._clock.monotonic()) or b""
            number = int(value) + 1 if value.isdigit() else 1
            self._put(key, b"%d" % number, None)
            return number

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it."""
        with self._open("extend"):
            now = self._clock.monotonic()
            there = [self._live(key, now) == value for key, value in items.items()]
            for (key, value), same in zip(items.items(), there, strict=True):
                if same:
                    ends = self._values[key][1]
                    if ends is not None and (ttl is None or ends < now + ttl):
                        self._put(key, value, ttl)
            return there

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`, in pages."""
        with self._open("scan"):
            now = self._clock.monotonic()
            keys = [key for key in list(self._values) if key.startswith(prefix) and self._live(key, now) is not None]
        for start in range(0, len(keys), _PAGE):
            yield keys[start : start + _PAGE]

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        """Return the length of each key's live value, 0 where there is none."""
        with self._open("sizes"):
            now = self._clock.monotonic()
            return [len(self._live(key, now) or b"") for key in keys]

    async def time(self) -> float:
        """Return this host's clock, Unix seconds: the store lives here."""
        return self._clock.time()

    async def aclose(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._values.clear()
            self.version += 1
            self._bytes = 0

    def _open(self, operation: str) -> threading.Lock:
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")
        return self._lock

    def _live(self, key: str, now: float) -> bytes | None:
        slot = self._values.get(key)
        if slot is None:
            return None
        value, deadline, _ = slot
        if deadline is not None and deadline <= now:
            self._drop(key)
            return None
        return value

    def _put(self, key: str, value: bytes, ttl: float | None) -> None:
        self._drop(key)
        number = self.version + 1
        self._values[key] = (bytes(value), None if ttl is None else self._clock.monotonic() + ttl, number)
        self.version = number  # last: a copy made meanwhile has the older number, and is looked up again
        self._bytes += len(key) + len(value)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._values)))

    def _drop(self, key: str) -> bool:
        slot = self._values.pop(key, None)
        if slot is None:
            return False
        self._bytes -= len(key) + len(slot[0])
        self.version += 1
        return True


def from_url(url: str, *, clock: Clock | None = None) -> MemoryBackend:
    """Return the backend of `memory://`: a new, empty one, with deadlines on `clock`."""
    parts = urlsplit(url)
    if parts.netloc or parts.path not in ("", "/") or parts.query:
        raise OptionsError(
            f"memory:// takes no host, path or options, not {url!r}: `MemoryBackend(max_bytes=…)` has options"
        )
    return MemoryBackend(clock=clock)
