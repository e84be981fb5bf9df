"""A backend of cachecore that keeps each value in a file of one folder.

The file of a key is named by the digest of the key. It holds 8 bytes, the end of the value in seconds since 1970
(infinite for a value without end), and then the value. Every call takes one lock file for its
whole length, so that a comparison and its write are one step for all processes. File work runs in threads.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import math
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from cachecore.contract import BackendError, BackendUnavailable, Clock, OptionsError, SystemClock

T = TypeVar("T")
END = struct.Struct("<d")


class FolderBackend:
    """`CacheBackend` over the files of `folder`, which is made by the first write."""

    def __init__(self, folder: str | Path, *, clock: Clock | None = None) -> None:
        self._folder = Path(folder)
        self._clock = clock or SystemClock()
        self._closed = False

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`."""
        return await self._call("get_many", lambda: [self._read(key) for key in keys])

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Write all values; each lives `ttl` seconds, or for ever."""

        def write() -> None:
            for key, value in items.items():
                self._write(key, value, ttl)

        await self._call("set_many", write)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many were alive."""
        return await self._call("delete_many", lambda: sum(self._delete(key) for key in dict.fromkeys(keys)))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Put `new` in place of `old`; None stands for no value. Return whether `old` was there."""

        def replace() -> bool:
            if self._read(key) != old:
                return False
            if new is None:
                self._delete(key)
            else:
                self._write(key, new, ttl)
            return True

        return await self._call("swap", replace)

    async def aclose(self) -> None:
        """Refuse later calls; there is nothing to release."""
        self._closed = True

    async def _call(self, operation: str, work: Callable[[], T]) -> T:
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")

        def locked() -> T:
            with self._locked():
                return work()

        try:
            return await asyncio.to_thread(locked)
        except OSError as error:
            raise BackendError(operation, transient=True, reason="os_error") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file
            yield

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()

    def _read(self, key: str) -> bytes | None:
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        (end,) = END.unpack_from(content)
        return content[END.size :] if end > self._clock.time() else None

    def _write(self, key: str, value: bytes, ttl: float | None) -> None:
        end = math.inf if ttl is None else self._clock.time() + ttl
        part = self._path(key).with_suffix(".part")
        part.write_bytes(END.pack(end) + value)
        os.replace(part, self._path(key))  # a process that is killed here leaves the old value

    def _delete(self, key: str) -> bool:
        alive = self._read(key) is not None
        self._path(key).unlink(missing_ok=True)
        return alive


def from_url(url: str, *, clock: Clock | None = None) -> FolderBackend:
    """Return the backend of `folder:///absolute/path` or `folder://relative/path`. Raises OptionsError."""
    folder = url.removeprefix("folder://")
    if not folder or folder == url or "?" in folder:
        raise OptionsError(f"a store in a folder is named by folder:///path, without settings, not {url!r}")
    return FolderBackend(folder, clock=clock)
