"""Translation of errors: everything that sockets, redis-py and the server raise becomes a `BackendError`.

Messages of the driver are not copied: they may hold addresses, user names or keys.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import hiredis

from cachecore.contract import BackendError, BackendTimeout, BackendUnavailable
from cachecore_redis.wire.connection import NotRedisError

# First word of an error reply -> (reason, transient). Errors that a retry cannot cure are not transient: the breaker
# must not open because one value does not fit or one key is of another type.
_REPLIES: Final[dict[str, tuple[str, bool]]] = {
    "OOM": ("full", False),
    "MISCONF": ("full", False),
    "WRONGTYPE": ("wrongtype", False),
    "NOAUTH": ("auth", True),
    "WRONGPASS": ("auth", True),
    "NOPERM": ("auth", False),
    "LOADING": ("loading", True),
    "BUSY": ("loading", True),
    "READONLY": ("readonly", True),
    "MASTERDOWN": ("readonly", True),
    "NOREPLICAS": ("readonly", True),
    "UNBLOCKED": ("readonly", True),
    "MOVED": ("moved", True),
    "ASK": ("moved", True),
    "TRYAGAIN": ("moved", True),
    "CLUSTERDOWN": ("moved", True),
    "CROSSSLOT": ("moved", False),
}

_UNKNOWN: Final = (
    "ERR syntax error",
    "ERR unknown command",
    "ERR wrong number",
    "ERR unknown subcommand",
    "ERR Unsupported option",
)
_IN_SCRIPT: Final = re.compile(r": -([A-Z]+) ")

UNAVAILABLE: Final = frozenset(
    {"refused", "reset", "dns", "connect_timeout", "auth", "loading", "max_clients", "closed", "unavailable"}
)
"""Reasons of `BackendUnavailable`: the store was not reached, or does not serve this client now."""


def backend_error(operation: str, reason: str, transient: bool) -> BackendError:
    """Return the contract's error for `reason`."""
    if reason == "timeout":
        return BackendTimeout(operation, transient, reason)
    if reason in UNAVAILABLE:
        return BackendUnavailable(operation, transient, reason)
    return BackendError(operation, transient, reason)


def reply_reason(message: str) -> tuple[str, bool]:
    """Return (reason, transient) of an error reply, by its first word."""
    code = message.split(" ", 1)[0]
    if message.startswith("ERR Error running script"):  # Redis 6 puts the cause at the end
        within = _IN_SCRIPT.search(message)
        code = within[1] if within is not None else code
    found = _REPLIES.get(code)
    if found is not None:
        return found
    if "max number of clients" in message:
        return "max_clients", True
    if "invalid username-password" in message or "invalid password" in message:
        return "auth", True
    return "error", False


def reply_error(operation: str, reply: object) -> BackendError:
    """Return the contract's error for an error reply, chained to it; `protocol` for a reply of an unexpected kind."""
    if not isinstance(reply, hiredis.ReplyError):
        return backend_error(operation, "protocol", True)
    error = backend_error(operation, *reply_reason(str(reply)))
    error.__cause__ = reply
    return error


def translate(operation: str, error: BaseException) -> BackendError:
    """Return the contract's error for an exception of the driver or of a socket."""
    if isinstance(error, BackendError):
        return error
    if isinstance(error, NotRedisError):
        return backend_error(operation, "protocol", True)
    if isinstance(error, TimeoutError):
        return backend_error(operation, "timeout", True)
    if isinstance(error, socket.gaierror):
        return backend_error(operation, "dns", True)
    if isinstance(error, ssl.SSLError):
        return backend_error(operation, "refused", True)
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return backend_error(operation, "refused", True)
    if isinstance(error, OSError | EOFError):
        return backend_error(operation, "reset", True)
    return backend_error(operation, *_driver_reason(error))


def _driver_reason(error: BaseException) -> tuple[str, bool]:
    from redis import exceptions as driver

    cause = error.__cause__ or error.__context__
    match error:
        case driver.TimeoutError():
            return "timeout", True
        case driver.AuthenticationError() | driver.AuthorizationError() | driver.AuthenticationWrongNumberOfArgsError():
            return "auth", True
        case driver.NoPermissionError():
            return "auth", False
        case driver.BusyLoadingError():
            return "loading", True
        case driver.OutOfMemoryError():
            return "full", False
        case driver.ReadOnlyError() | driver.MasterDownError():
            return "readonly", True
        case driver.AskError() | driver.ClusterDownError() | driver.TryAgainError():
            return "moved", True
        case driver.ResponseError():
            return reply_reason(str(error))
        case driver.InvalidResponse():
            return "protocol", True
        case driver.ConnectionError() | driver.RedisError():
            # The first text is the server's, the second that of an exhausted pool of redis-py.
            if "max number of clients" in str(error) or "Too many connections" in str(error):
                return "max_clients", True
            if isinstance(cause, OSError):
                inner = translate("", cause)
                return inner.reason, inner.transient
            return _by_words(str(error))
    return "error", False


def _by_words(text: str) -> tuple[str, bool]:
    # redis-py wraps socket errors in its own and keeps their numbers in the text only.
    lowered = text.lower()
    if "name or service" in lowered or "getaddrinfo" in lowered or "nodename" in lowered:
        return "dns", True
    if "refused" in lowered or "connect call failed" in lowered or "no such file" in lowered:
        return "refused", True
    return "reset", True


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Raise errors of the driver and of sockets as `BackendError`, chained to them; other exceptions pass."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError, EOFError) as error:
        raise translate(operation, error) from error


def unknown(reply: object) -> bool:
    """Return whether an error reply says that the server does not know a command, or forbids it to this user."""
    if not isinstance(reply, Exception):
        return False
    text = str(reply)
    return (
        text.startswith(_UNKNOWN)
        or (text.startswith("NOPERM") and "to run the" in text)
        or "not allowed from script" in text
        or "scripting" in text.lower()
    )
