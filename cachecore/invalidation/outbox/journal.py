"""Pending invalidations in a file, so that they outlive their process.

Each process appends to a file of its own in the directory, and holds a lock on it. A process that starts later takes
over a file without a lock holder: its owner is dead. A line holds keys, never a value, and is on the disk when
`flush` returns; a last line that was cut off had never been acknowledged. When nothing is pending any more the file
is emptied.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from cachecore.contract.errors import OptionsError
from cachecore.invalidation.outbox.backlog import Invalidation, Root, as_lines, from_line, stamps

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment] # looked at before each use

logger = logging.getLogger("cachecore")

_VERSION: Final = 1
_SUFFIX: Final = ".pending"
_REWRITE_BYTES: Final = 1 << 20
_MAX_BYTES: Final = 1 << 26
"""Bytes read of a file at most; a longer file means that everything is invalidated."""


class Journal:
    """The file of one process, and the way to those of the dead.

    Args:
        directory: where the files are; made if it is not there. One for each store.
        root: the root of all keys; files of another prefix are left alone, and the root is invalidated if a file
            cannot be read.

    Raises:
        OptionsError: the directory cannot be used, or this system has no file locks.
    """

    def __init__(self, directory: str, root: Root) -> None:
        if fcntl is None:
            raise OptionsError("pending_path needs file locks, which this system does not have")
        self._directory = Path(directory)
        self._prefix = root.prefix
        self._lock = threading.Lock()  # held while the disk is waited for
        self._buffer_lock = threading.Lock()  # held for a moment only
        self._buffered: list[dict[str, object]] = []
        self._incomplete = False
        """Whether the file lacks something that pends, because writing failed."""
        self._root = root.stamp_keys
        self._file: int | None = None
        self._path: Path | None = None
        self._bytes = 0
        self._compact_bytes = 0
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self._directory, os.W_OK | os.X_OK):
                raise PermissionError
        except OSError as error:
            raise OptionsError(f"pending_path must be a directory to write to: {type(error).__name__}") from error

    def append(self, items: Iterable[Invalidation]) -> None:
        """Note that these pend; `flush` brings it to the disk. Never waits."""
        lines = as_lines(items)
        with self._buffer_lock:
            self._buffered += lines

    def flush(self, items: Callable[[], Iterable[Invalidation]]) -> bool:
        """Write the appended lines, and return whether they are on the disk now; `items` returns all that pends.

        Waits for the disk: call it from a thread. A disk that fails is logged; pending invalidations stay in memory
        and are written once the disk works again.
        """
        with self._lock:
            with self._buffer_lock:
                lines, self._buffered = self._buffered, []
            if not lines and not self._incomplete:
                return True
            try:
                if self._incomplete:
                    lines = as_lines(items())
                self._write(self._open() if self._file is None else self._file, lines)
                if self._bytes > _REWRITE_BYTES + 4 * self._compact_bytes:
                    self._rewrite(as_lines(items()))
                self._incomplete = False
            except OSError as error:
                self._incomplete = True
                logger.error("pending invalidations cannot be written to their file: %s", error.strerror)
            return not self._incomplete

    def clear(self) -> None:
        """Empty the file: nothing pends. Never waits; a line that remains all the same is delivered once more."""
        with self._buffer_lock:
            self._buffered = []
        if not self._bytes or not self._lock.acquire(blocking=False):
            return
        try:
            if self._file is not None:
                os.ftruncate(self._file, 0)
                self._bytes = self._compact_bytes = 0
        except OSError as error:
            logger.warning("pending invalidations stay in their file: %s", error.strerror)
        finally:
            self._lock.release()

    def keep(self, items: Iterable[Invalidation]) -> None:
        """Let the file hold these alone. A disk that fails is said in the log, and leaves the file as it was."""
        lines = as_lines(items)
        if not lines:
            self.clear()
            return
        with self._lock:
            with self._buffer_lock:
                self._buffered = []
            try:
                self._rewrite(lines)
            except OSError as error:
                logger.error("pending invalidations cannot be written to their file: %s", error.strerror)

    def close(self) -> None:
        """Let go of the file: the next process to start takes over its lines. An empty file is removed."""
        with self._lock:
            if self._file is None:
                return
            if not self._bytes and self._path is not None:
                self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def after_fork(self) -> None:
        """Let the parent keep its file: a child that pends something opens one of its own."""
        self._lock, self._buffer_lock = threading.Lock(), threading.Lock()
        self._incomplete = True
        if self._file is not None:
            os.close(self._file)  # only this copy of the descriptor: the parent's lock stays
            self._file = None
        self._bytes = self._compact_bytes = 0

    def adopt(self) -> list[Invalidation]:
        """Take over the files of dead processes, and return their pending invalidations, now in this process's file."""
        pending: list[Invalidation] = []
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            try:
                pending += self._take_over(path)
            except OSError as error:
                logger.warning("a file of pending invalidations could not be taken over: %s", error.strerror)
        return pending

    def _take_over(self, path: Path) -> list[Invalidation]:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not _locked(file, path):
                return []
            with os.fdopen(os.dup(file), "rb") as reader:
                data = reader.read(_MAX_BYTES)
                whole = not reader.read(1)
            items = _parsed(data, self._prefix, whole=whole)
            if items is None:
                return []
            self.append(items)
            if self.flush(lambda: items):  # else it stays there as well; delivered twice is no harm
                path.unlink(missing_ok=True)
            return items
        finally:
            os.close(file)

    def _open(self) -> int:
        while True:
            path = self._directory / f"{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}"
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            if _locked(file, path):  # else another process took it for a dead one's file since it was made
                self._file, self._path, self._bytes = file, path, 0
                _sync_directory(self._directory)
                return file
            os.close(file)

    def _write(self, file: int, lines: Sequence[dict[str, object]]) -> None:
        if not self._bytes:
            head: dict[str, object] = {"version": _VERSION, "prefix": self._prefix, "root": self._root}
            lines = [head, *lines]
        data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, self._bytes)  # else the next line would follow half a line
            raise
        self._bytes += len(data)

    def _rewrite(self, lines: Sequence[dict[str, object]]) -> None:
        """Begin a new file with the pending invalidations, and remove the old one once that is on the disk."""
        old, old_path, old_bytes = self._file, self._path, self._bytes
        self._file = None
        try:
            self._write(self._open(), lines)
        except OSError:
            if self._file is not None and self._path is not None:
                os.close(self._file)
                self._path.unlink(missing_ok=True)
            self._file, self._path, self._bytes = old, old_path, old_bytes
            raise
        self._compact_bytes = self._bytes
        if old is not None and old_path is not None:
            old_path.unlink(missing_ok=True)
            os.close(old)


def _locked(file: int, path: Path) -> bool:
    """Lock an open file; return whether it is ours, and still the one under its name."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parsed(data: bytes, prefix: str, *, whole: bool) -> list[Invalidation] | None:
    """Return the pending invalidations of a file; None if its format is unknown. Of a long file, `data` is the head."""
    lines = data.split(b"\n")
    lines.pop()  # bytes after the last newline were never acknowledged
    if not lines:
        return [] if whole else None
    items: list[Invalidation] = []
    damaged = False
    try:
        head = json.loads(lines[0])
        if head["version"] != _VERSION or head["prefix"] != prefix:
            return None
        root = stamps(head["root"], ())
    except (ValueError, TypeError, KeyError):
        logger.warning("a file of pending invalidations has no head and is left alone")
        return None
    if not whole:
        logger.warning("a file of pending invalidations is too long: everything under its prefix is invalidated")
        return root
    for line in lines[1:]:
        try:
            items += from_line(json.loads(line))
        except (ValueError, TypeError, AttributeError):
            damaged = True
    if damaged:
        # Something in the middle cannot be read any more, so everything must go.
        logger.warning("a file of pending invalidations is damaged: everything under its prefix is invalidated")
        items += root
    return items
