"""The reserve: a file beside the database, given up for deletions when the disk is full.

A deletion needs space: SQLite writes the changed pages to the WAL, and on a full disk the WAL can neither grow nor
restart if the restart lengthens the database. An invalidation must not depend on that. So the reserve holds random
bytes, which no file system compresses. It is given up when a deletion finds no space; while it is gone, nothing is
stored. Before anything is stored again, it is created again.

The reserve belongs to the path, not to the database file there. Only its first bytes are read, to tell it from a file
of another program, which is not changed. A process creates or gives it up while it holds SQLite's write lock, so one
process at a time does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable
from typing import Final, Literal

from cachecore.contract.options import KIB, MIB

MARK: Final = b"cachecore-sqlite: room for deletions; may be deleted, is made again\n"
_LEAST: Final = 128 * KIB  # opening the file takes 32 KiB for the WAL index, a deletion some 25 KiB
_MOST: Final = MIB
_PIECE: Final = 64 * KIB
_KEPT_SHARE: Final = 8  # this share is kept for the file, which a deletion may lengthen by a page
_UNSUPPORTED_SECONDS: Final = 1.0
REFUSING_SECONDS: Final = 0.05
"""Shortest time without sets after the reserve was given up."""
_NO_SPACE: Final = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def reserve_bytes(max_bytes: int) -> int:
    """Return the size of the reserve of a store of `max_bytes`, in bytes."""
    return min(_MOST, max(_LEAST, max_bytes // 16))


class Reserve:
    """The reserve of the database at `path`. Calls are short and wait for the disk."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self.path = path + "-reserve"
        self.size = reserve_bytes(max_bytes)
        self._database = path
        self._unsupported_until = 0.0  # monotonic s

    @property
    def is_usable(self) -> bool:
        """Whether the reserve has its full size. True also where there can be none, such as beside a foreign file."""
        if time.monotonic() < self._unsupported_until:
            return True
        found = self._look()
        if isinstance(found, int):
            return found >= self.size or not self._is_ours()
        return found == "unusable"

    def create(self) -> bool:
        """Create or complete the reserve; return False if the disk has no space for it, and leave it as it was.

        True where there can be no reserve for another reason (no permission, a limit on the size of files): the store
        works without one, and the next attempt comes a second later.
        """
        found = self._look()
        if found == "unusable":
            return True
        before = found if isinstance(found, int) else 0
        if before and (before >= self.size or not self._is_ours()):
            return True
        if found != "absent" and self._recently_given_up():
            return False
        flags = _FLAGS | os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if found == "absent" else 0)
        try:
            handle = os.open(self.path, flags, os.stat(self._database).st_mode & 0o666)
        except OSError:
            return self._unsupported()  # perhaps no inode is free, which says nothing about space
        try:
            with open(handle, "wb", buffering=0) as file:
                try:
                    self._fill(file.fileno(), before)
                except OSError:
                    file.truncate(before)  # at once: deletions need that space
                    raise
                finally:
                    # Distinguishes it from one that was given up recently; only the owner may set the time.
                    with contextlib.suppress(OSError):
                        os.utime(file.fileno() if os.utime in os.supports_fd else self.path, (0, 0))
        except OSError as error:
            if error.errno in _NO_SPACE:
                return False
            if not before:
                with contextlib.suppress(OSError):
                    os.unlink(self.path)
            return self._unsupported()
        return True

    def give_up(self) -> bool:
        """Truncate the reserve to an eighth; return whether that freed any space.

        The file's mtime tells all processes when, so that none creates it again before the space was used.
        """
        return self._cut(lambda found: min(found, self.size // _KEPT_SHARE))

    def release(self, count: int) -> bool:
        """Truncate the reserve by `count` bytes; return False if it has fewer."""
        return self._cut(lambda found: found - count if found >= count else found)

    def _cut(self, left: Callable[[int], int]) -> bool:
        found = self._look()
        if not isinstance(found, int) or left(found) >= found or not self._is_ours():
            return False
        try:
            with open(os.open(self.path, _FLAGS | os.O_WRONLY), "wb", buffering=0) as file:
                file.truncate(left(found))
        except OSError:
            return False
        return True

    def _recently_given_up(self) -> bool:
        try:
            return 0 <= time.time() - os.lstat(self.path).st_mtime < REFUSING_SECONDS
        except OSError:
            return False

    def _unsupported(self) -> bool:
        """Remember for a second that there can be no reserve, for another reason than space."""
        self._unsupported_until = time.monotonic() + _UNSUPPORTED_SECONDS
        return True

    def _fill(self, handle: int, written: int) -> None:
        while written < self.size:
            piece = os.urandom(min(_PIECE, self.size - written))
            if not written:
                piece = MARK + piece[len(MARK) :]
            written += os.write(handle, piece)

    def _look(self) -> int | Literal["absent", "unusable"]:
        """Return the size of the file, or its state: `unusable` is not a regular file, or cannot be inspected."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return "absent"
        except OSError:
            return "unusable"
        return found.st_size if stat.S_ISREG(found.st_mode) else "unusable"

    def _is_ours(self) -> bool:
        """Tell the reserve from a file of another program, which is neither written nor removed.

        An empty file, or the start of the mark, counts as a reserve: its creator may have been killed.
        """
        try:
            with open(os.open(self.path, _FLAGS | os.O_RDONLY), "rb") as file:
                start = file.read(len(MARK))
        except OSError:
            return False
        return MARK.startswith(start)
