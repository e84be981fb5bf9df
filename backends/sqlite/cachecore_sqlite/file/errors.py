"""SQLite's error codes and the exceptions that they become. The only module that knows the codes."""

from __future__ import annotations

import sqlite3
from typing import Final

from cachecore.contract import BackendError, BackendTimeout, BackendUnavailable

_WRITE_FAILED: Final = {
    # A quota and a limit on the size of files are reported so, unlike a full disk. The remedy is the same.
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
}


_DAMAGE: Final = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    # No statement of this package violates a constraint, for any argument of a caller, while the rows are sound.
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
}


class FileRefused(BackendUnavailable):
    """The file is not a cache that this version may use; it was not changed.

    `reason` is `foreign` (another program's file, or no database) or `newer` (created by a newer version of this
    library).
    """

    def __init__(self, operation: str, path: str, reason: str) -> None:
        super().__init__(operation, False, reason)
        self.args = (operation, path, reason)  # so that it pickles
        self.path = path

    def __str__(self) -> str:
        cause = "was made by a newer version" if self.reason == "newer" else "is not a cache of this library"
        return f"{self.path} {cause}; it was not changed: choose another path, or remove it yourself"


class Moved(OSError):  # noqa: N818 - named as its `reason` is
    """The file that was opened is no longer at the path."""


class WalDeleted(sqlite3.DatabaseError):
    """The WAL of an open database is no longer beside it, so the file is older than the acknowledged writes."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


StoreError = (sqlite3.Error, UnicodeDecodeError, OSError)
"""Exceptions of a call to SQLite. Python decodes the text of a damaged file, including error messages, itself."""


def code(error: Exception) -> int:
    """Return SQLite's primary error code, or 0 if Python itself raised the error."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF


def is_busy(error: Exception) -> bool:
    """Tell whether another connection held the lock."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: Exception) -> bool:
    """Tell whether the file is not a sound database."""
    if isinstance(error, UnicodeDecodeError) or code(error) in _DAMAGE:
        return True
    if not isinstance(error, sqlite3.Error):
        return False
    # Python reports text that is not UTF-8 without a code. SQLite reports an unknown format number with a general code;
    # the format number of a sound cache file is always known.
    return (code(error) == 0 and str(error).startswith("Could not decode to UTF-8")) or (
        code(error) == sqlite3.SQLITE_ERROR and str(error) == "unsupported file format"
    )


def corrupt_error(reason: str) -> sqlite3.DatabaseError:
    """Return an error as SQLite raises it for damage, where this package found the damage."""
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def full_error(reason: str) -> sqlite3.OperationalError:
    """Return an error as SQLite raises it on a full disk, where this package found the disk full."""
    error = sqlite3.OperationalError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def is_already_deleted(error: Exception) -> bool:
    """Tell whether SQLite failed to delete a file because another connection had already deleted it."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_DELETE_NOENT


def is_full(error: Exception) -> bool:
    """Tell whether a write found no space."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF == sqlite3.SQLITE_FULL or extended in _WRITE_FAILED


def lacks_space(error: Exception) -> bool:
    """Tell whether SQLite could not write for want of space or permission, or could not create a file.

    Reading may still work.
    """
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return (
        is_full(error)
        or code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
        or extended in (sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMMAP)
    )


def needs_reconnect(error: Exception) -> bool:
    """Tell whether the connection may be at fault, so that opening a new one is worth the cost."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, OSError)
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED:
        return True
    return not (is_busy(error) or concerns_one_call(error) or is_full(error))


def concerns_one_call(error: Exception) -> bool:
    """Tell whether the argument of one caller caused the error, which then says nothing about the store."""
    return not isinstance(error, sqlite3.Error) or code(error) in (
        0,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
    )


def translated(operation: str, error: Exception) -> BackendError:
    """Return the exception that `operation` raises; the caller chains it to `error`."""
    if isinstance(error, OSError):
        return BackendUnavailable(operation, reason="moved" if isinstance(error, Moved) else "unavailable")
    primary = code(error)
    if is_busy(error):
        return BackendTimeout(operation, reason="locked")
    if is_full(error):
        return BackendError(operation, False, "full")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return BackendError(operation, False, "readonly")
    if is_damage(error):
        # The file is moved aside, so the next call opens a new one.
        return BackendError(operation, True, "corrupt")
    if primary == sqlite3.SQLITE_CANTOPEN:
        return BackendUnavailable(operation)
    return BackendError(operation, primary == sqlite3.SQLITE_IOERR, "error")
