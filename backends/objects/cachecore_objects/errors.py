"""Translation of errors: exceptions of obstore and files become a `BackendError`. Their messages are not copied."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from cachecore.contract import BackendError, BackendTimeout, BackendUnavailable

# Words of a message -> (reason, transient); the first that fits counts.
_WORDS: Final = (
    ("connection refused", "refused", True),
    ("timed out", "timeout", True),
    ("os error 28", "full", False),
    ("nosuchbucket", "no_bucket", False),
    ("slowdown", "slow_down", True),
    ("dns error", "dns", True),
    ("error sending request", "refused", True),
    ("http error", "reset", True),
)
_KINDS: Final = {
    "PermissionDeniedError": ("auth", False),
    "UnauthenticatedError": ("auth", True),
    "NotImplementedError": ("no_swap", False),
    "NotSupportedError": ("no_swap", False),
    "FileNotFoundError": ("no_bucket", False),
}


def translate(operation: str, error: Exception) -> BackendError:
    """Return the contract's error for an exception of obstore or of a file, chained to it."""
    text = str(error).lower()
    found = _KINDS.get(type(error).__name__) or next(
        ((reason, transient) for words, reason, transient in _WORDS if words in text), ("error", True)
    )
    reason, transient = found
    made: BackendError
    if reason == "timeout":
        made = BackendTimeout(operation)
    elif reason in ("refused", "dns", "reset", "auth", "slow_down"):
        made = BackendUnavailable(operation, transient, reason)
    else:
        made = BackendError(operation, transient, reason)
    made.__cause__ = error
    return made


@contextlib.contextmanager
def translated(operation: str) -> Iterator[None]:
    """Raise errors of the store as `BackendError`; other exceptions pass."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, NotImplementedError) as error:
        raise translate(operation, error) from error
