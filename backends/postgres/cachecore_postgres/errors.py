"""Translation of errors: everything that psycopg, the server and sockets raise becomes a `BackendError`.

Messages of the driver are not copied: they may hold addresses, user names or keys.
"""

from __future__ import annotations

from typing import Final

from cachecore.contract import BackendError, BackendTimeout, BackendUnavailable

# SQLSTATE, or its class of two characters -> (reason, transient). What a retry cannot cure is not transient: the
# breaker must not open because one value does not fit.
_STATES: Final[dict[str, tuple[str, bool]]] = {
    "08": ("reset", True),
    "25006": ("readonly", True),
    "28": ("auth", True),
    "3D": ("auth", True),  # no such database
    "3F": ("schema", False),
    "40": ("conflict", True),
    "42501": ("auth", False),
    "42703": ("foreign", False),  # the table is another program's
    "42809": ("foreign", False),
    "42P01": ("no_table", True),
    "53300": ("max_clients", True),
    "53": ("full", False),  # disk, memory
    "54": ("full", False),  # a value over the limits, or the queue of notifications
    "55P03": ("timeout", True),
    "55": ("error", True),
    "57014": ("timeout", True),  # statement_timeout
    "57P03": ("loading", True),
    "57": ("reset", True),
    "58": ("full", True),
}
_REPLICA: Final = "during recovery"
_WORDS: Final = (  # a failed login has no SQLSTATE
    ("authentication failed", "auth"),
    ("no pg_hba.conf entry", "auth"),
    ("does not exist", "auth"),
    ("no password", "auth"),
    ("too many clients", "max_clients"),
    ("starting up", "loading"),
    ("shutting down", "loading"),
    ("recovery", "loading"),
    ("session is read-only", "readonly"),
    ("refused", "refused"),
    ("no such file", "refused"),
    ("certificate", "refused"),
    ("ssl", "refused"),
    ("resolve", "dns"),
    ("name or service", "dns"),
    ("timeout", "connect_timeout"),
)
_UNAVAILABLE: Final = frozenset({"refused", "reset", "dns", "connect_timeout", "auth", "loading", "max_clients", "closed"})


def backend_error(operation: str, reason: str, transient: bool) -> BackendError:
    """Return the contract's error for `reason`."""
    if reason == "timeout":
        return BackendTimeout(operation, transient, reason)
    kind = BackendUnavailable if reason in _UNAVAILABLE else BackendError
    return kind(operation, transient, reason)


def translate(operation: str, error: BaseException) -> BackendError:
    """Return the contract's error for an exception of the driver or of a socket, chained to it."""
    made = backend_error(operation, *_reason(error))
    made.__cause__ = error
    return made


def _reason(error: BaseException) -> tuple[str, bool]:
    if isinstance(error, TimeoutError):
        return "timeout", True
    state = getattr(error, "sqlstate", None)
    text = str(error).lower()
    if state is None:
        return next((reason for words, reason in _WORDS if words in text), "reset"), True
    if state == "0A000" and _REPLICA in text:
        return "readonly", True  # a replica has no rows of unlogged tables
    return _STATES.get(state) or _STATES.get(state[:2]) or ("error", False)
