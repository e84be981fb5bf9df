"""What went wrong, in the words of the contract: what sockets, redis-py and the server raise, as `BackendError`.

The one place that knows them all. Messages of the driver are not copied: they may hold addresses, user names or keys.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import hiredis

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore_redis.wire.connection import NotRedisError

# First word of an error reply -> (reason, transient). What another attempt cannot cure is not transient: the breaker
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

_IN_SCRIPT: Final = re.compile(r": -([A-Z]+) ")

UNAVAILABLE: Final = frozenset({"refused", "reset", "dns", "auth", "loading", "max_clients", "closed", "unavailable"})
"""Reasons of `BackendUnavailable`: the store was not reached, or does not serve this client now."""


def failure(operation: str, reason: str, transient: bool) -> BackendError:
    """Return the error of the contract for `reason`."""
    if reason == "timeout":
        return BackendTimeout(operation, transient, reason)
    if reason in UNAVAILABLE:
        return BackendUnavailable(operation, transient, reason)
    return BackendError(operation, transient, reason)


def reply_reason(message: str) -> tuple[str, bool]:
    """Return (reason, transient) of an error reply, by its first word."""
    code = message.split(" ", 1)[0]
    if message.startswith("ERR Error running script"):  # Redis 6: what stopped it is told at the end
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


def refusal(operation: str, reply: object) -> BackendError:
    """Return the error of the contract for an error reply, chained to it, or for one that answers something else."""
    if not isinstance(reply, hiredis.ReplyError):
        return failure(operation, "protocol", True)
    error = failure(operation, *reply_reason(str(reply)))
    error.__cause__ = reply
    return error


def translate(operation: str, error: BaseException) -> BackendError:
    """Return the error of the contract for what a driver or a socket raised."""
    if isinstance(error, BackendError):
        return error
    if isinstance(error, NotRedisError):
        return failure(operation, "protocol", True)
    if isinstance(error, TimeoutError):
        return failure(operation, "timeout", True)
    if isinstance(error, socket.gaierror):
        return failure(operation, "dns", True)
    if isinstance(error, ssl.SSLError):
        return failure(operation, "refused", True)
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return failure(operation, "refused", True)
    if isinstance(error, OSError | EOFError):
        return failure(operation, "reset", True)
    return failure(operation, *_driver_reason(error))


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
            # The server's words, or those of a pool of redis-py that is empty.
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
    """Let errors leave as `BackendError`, chained to their cause; bugs of ours leave as they are."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError, EOFError) as error:
        raise translate(operation, error) from error
