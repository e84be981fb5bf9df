"""What SQLite's errors mean to the core: the one place that knows its error codes."""

from __future__ import annotations

import sqlite3
from typing import Final

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable

_WRITE_FAILED: Final = {
    # A quota and a limit on the size of files are reported so, unlike a full disk; what to do is the same.
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
}


_DAMAGE: Final = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    # No statement of ours breaks a rule of the tables, whatever callers pass, unless rows are not what they were.
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
}


class FileRefused(BackendUnavailable):
    """The file is not a cache that this version may use; it was not touched.

    `reason` is `foreign` (another program's, or no database) or `newer` (made by a newer version of this library).
    """

    def __init__(self, operation: str, path: str, reason: str) -> None:
        super().__init__(operation, False, reason)
        self.args = (operation, path, reason)  # so that it pickles
        self.path = path

    def __str__(self) -> str:
        whose = "was made by a newer version" if self.reason == "newer" else "is not a cache of this library"
        return f"{self.path} {whose}; it was left as it is: choose another path, or remove it yourself"


class Moved(OSError):  # noqa: N818 - says what has happened
    """The file at the path is not the one that was opened, or is gone."""


class LogDeleted(sqlite3.DatabaseError):
    """The log of a file that is open is no longer beside it: the file is older than what was acknowledged."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


StoreError = (sqlite3.Error, UnicodeDecodeError, OSError)
"""What a call to SQLite may raise; Python decodes the text of a damaged file itself, error messages included."""


def code(error: Exception) -> int:
    """Return SQLite's primary error code, or 0 if Python itself raised the error."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF


def is_busy(error: Exception) -> bool:
    """Tell whether another connection holds the lock."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: Exception) -> bool:
    """Tell whether the file is not a sound database."""
    if isinstance(error, UnicodeDecodeError) or code(error) in _DAMAGE:
        return True
    if not isinstance(error, sqlite3.Error):
        return False
    # Python's own complaint about text with flipped bits, which carries no code; and SQLite's about a format number,
    # which none of our files ever had.
    return (code(error) == 0 and str(error).startswith("Could not decode to UTF-8")) or (
        code(error) == sqlite3.SQLITE_ERROR and str(error) == "unsupported file format"
    )


def damaged(what: str) -> sqlite3.DatabaseError:
    """Return the error that says of the file what SQLite has not noticed."""
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def full(why: str) -> sqlite3.OperationalError:
    """Return the error that says that there is no room, where SQLite has not been asked."""
    error = sqlite3.OperationalError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def overtaken(error: Exception) -> bool:
    """Tell whether SQLite found gone what it was about to delete: another connection was faster."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_DELETE_NOENT


def is_full(error: Exception) -> bool:
    """Tell whether there is no room for a write."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF == sqlite3.SQLITE_FULL or extended in _WRITE_FAILED


def lacks_room(error: Exception) -> bool:
    """Tell whether SQLite could not write: the disk is full, the folder or the file read-only, or no file can be made.

    Reading may still work.
    """
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return (
        is_full(error)
        or code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
        or extended in (sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMMAP)
    )


def leaves_doubt(error: Exception) -> bool:
    """Tell whether the connection may be the problem, so that a new one is worth its price."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, OSError)
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED:
        return True
    return not (is_busy(error) or concerns_one_call(error) or is_full(error))


def concerns_one_call(error: Exception) -> bool:
    """Tell whether the error comes from what one caller passed, and says nothing about the store."""
    return not isinstance(error, sqlite3.Error) or code(error) in (
        0,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
    )


def translated(operation: str, error: Exception) -> BackendError:
    """Return the error that `operation` raises; the caller chains it to `error`."""
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
        # The file is moved aside, so the next call finds a sound one.
        return BackendError(operation, True, "corrupt")
    if primary == sqlite3.SQLITE_CANTOPEN:
        return BackendUnavailable(operation)
    return BackendError(operation, primary == sqlite3.SQLITE_IOERR, "error")
