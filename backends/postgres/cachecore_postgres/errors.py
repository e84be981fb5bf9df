"""Translation of errors: everything that psycopg, the server and sockets raise becomes a `BackendError`.

Messages of the driver are not copied: they may hold addresses, user names or keys.
"""

from __future__ import annotations

from typing import Final

from cachecore.contract import BackendError, BackendTimeout, BackendUnavailable

# Reason -> SQLSTATEs, or classes of them, which are two characters.
_STATES: Final = {
    "auth": "28 3D 42501",
    "conflict": "40",
    "foreign": "42703 42809",  # the table is another program's
    "full": "53 54 58",  # disk, memory, the size of a value, the queue of notifications
    "loading": "57P03",
    "max_clients": "53300",
    "readonly": "25006 0A000",  # 0A000: a replica has no rows of unlogged tables
    "reset": "08 57",
    "schema": "3F",
    "timeout": "55P03 57014",
}
_REASONS: Final = {state: reason for reason, states in _STATES.items() for state in states.split()}
# What a retry cannot cure is not transient: the breaker must not open because one value does not fit.
_LASTING: Final = frozenset({"42501", "42703", "42809", "53", "54", "3F"})
# A failed login has no SQLSTATE, only words.
_WORDS: Final = {
    "auth": ("authentication failed", "no pg_hba.conf entry", "does not exist", "no password"),
    "max_clients": ("too many clients", "connection slots"),
    "loading": ("starting up", "shutting down", "not yet accepting"),
    "readonly": ("session is read-only",),
    "refused": ("refused", "no such file", "certificate", "ssl"),
    "dns": ("resolve", "name or service"),
    "connect_timeout": ("timeout",),
}
_UNAVAILABLE: Final = frozenset({"closed", "reset", "cancelled", *_WORDS} - {"readonly"})


def backend_error(operation: str, reason: str, transient: bool = True) -> BackendError:
    """Return the contract's error for `reason`."""
    if reason == "timeout":
        return BackendTimeout(operation, transient)
    return (BackendUnavailable if reason in _UNAVAILABLE else BackendError)(operation, transient, reason)


def translate(operation: str, error: BaseException) -> BackendError:
    """Return the contract's error for an exception of the driver or of a socket, chained to it."""
    state, text = getattr(error, "sqlstate", None), str(error).lower()
    known = state if state in _REASONS else (state or "")[:2]
    if isinstance(error, TimeoutError):
        made = backend_error(operation, "timeout")
    elif state is None:
        reasons = (reason for reason, words in _WORDS.items() if any(word in text for word in words))
        made = backend_error(operation, next(reasons, "reset"))
    else:
        made = backend_error(operation, _REASONS.get(known, "error"), known in _REASONS and known not in _LASTING)
    made.__cause__ = error
    return made
