"""Room kept for deletions: a file beside the database that is given up when the disk is full.

To delete something takes room: SQLite writes what changes to its log, and on a disk that is full to the last byte the
log cannot grow, nor begin anew if the database would have to grow first. An invalidation must not depend on that. So
there is a file of random bytes, which no file system stores in less room than they take. It is given up when a deletion
finds no room, and while it is gone nothing is stored that could eat what it left. Before anything is stored again, it
is made again.

It belongs to the path, whatever file is there; only its first bytes are ever read, to tell it from somebody else's
file, which is left alone. Whoever makes or gives it up holds the lock for writing, so one process at a time does.
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
_LEAST: Final = 128 * KIB  # the index of the log takes 32 KiB when the file is opened, a deletion some 25 KiB
_MOST: Final = MIB
_PIECE: Final = 64 * KIB
_KEPT: Final = 8  # one of so many parts is for the file, which deletions too make a page longer now and then
_WITHOUT_SECONDS: Final = 1.0
REFUSING_SECONDS: Final = 0.05
"""For how long nothing is stored after it was given up, at least."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_FLAGS: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def reserve_bytes(max_bytes: int) -> int:
    """Return how large the reserve of a store of `max_bytes` is."""
    return min(_MOST, max(_LEAST, max_bytes // 16))


class Reserve:
    """The reserve of the database at `path`. Its calls are short and wait for the disk."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self.path = path + "-reserve"
        self.size = reserve_bytes(max_bytes)
        self._database = path
        self._without_until = 0.0  # monotonic s

    @property
    def is_there(self) -> bool:
        """Whether it is there in its full size, or something in its place that is not ours, so that there is none."""
        if time.monotonic() < self._without_until:
            return True
        found = self._look()
        if isinstance(found, int):
            return found >= self.size or not self._is_ours()
        return found == "strange"

    def make(self) -> bool:
        """Make it, or make it as large as it should be; False if there is no room for it.

        Where there can be none for another reason (no right to make it, a limit on the size of files), True: the store
        works without one, and passes for having one until that is tried again. If there is no room, what was there
        before is left.
        """
        found = self._look()
        if found == "strange":
            return True
        before = found if isinstance(found, int) else 0
        if before and (before >= self.size or not self._is_ours()):
            return True
        if found != "absent" and self._given_up_lately():
            return False
        flags = _FLAGS | os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if found == "absent" else 0)
        try:
            handle = os.open(self.path, flags, os.stat(self._database).st_mode & 0o666)
        except OSError:
            return self._impossible()  # for want of an inode, perhaps, which says nothing of room
        try:
            with open(handle, "wb", buffering=0) as file:
                try:
                    self._fill(file.fileno(), before)
                except OSError:
                    file.truncate(before)  # at once: it is the room that deletions need
                    raise
                finally:
                    # So that it is told from one that was given up lately; only its owner may do that.
                    with contextlib.suppress(OSError):
                        os.utime(file.fileno() if os.utime in os.supports_fd else self.path, (0, 0))
        except OSError as error:
            if error.errno in _NO_ROOM:
                return False
            if not before:
                with contextlib.suppress(OSError):
                    os.unlink(self.path)
            return self._impossible()
        return True

    def give_up(self) -> bool:
        """Cut it off but for an eighth, so that there is room; tell whether there was any in it.

        When that was stands in the file's own time for all processes, so that none makes it again before the room was
        used.
        """
        return self._cut(lambda found: min(found, self.size // _KEPT))

    def release(self, count: int) -> bool:
        """Cut it off by `count` bytes; False if there are not as many."""
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

    def _given_up_lately(self) -> bool:
        try:
            return 0 <= time.time() - os.lstat(self.path).st_mtime < REFUSING_SECONDS
        except OSError:
            return False

    def _impossible(self) -> bool:
        """Remember that there can be none for another reason than that there is no room."""
        self._without_until = time.monotonic() + _WITHOUT_SECONDS
        return True

    def _fill(self, handle: int, written: int) -> None:
        while written < self.size:
            piece = os.urandom(min(_PIECE, self.size - written))
            if not written:
                piece = MARK + piece[len(MARK) :]
            written += os.write(handle, piece)

    def _look(self) -> int | Literal["absent", "strange"]:
        """Return its size, or why it has none; what is no plain file, or may not be looked at, is `strange`."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return "absent"
        except OSError:
            return "strange"
        return found.st_size if stat.S_ISREG(found.st_mode) else "strange"

    def _is_ours(self) -> bool:
        """Tell it from a file of somebody else, which is never written to nor removed. An empty file is nobody's data.

        Whoever made it may have been killed at any moment.
        """
        try:
            with open(os.open(self.path, _FLAGS | os.O_RDONLY), "rb") as file:
                start = file.read(len(MARK))
        except OSError:
            return False
        return MARK.startswith(start)
