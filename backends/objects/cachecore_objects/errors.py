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
    ("containernotfound", "no_bucket", False),
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
    """Return the contract's error for an exception of obstore or of a file."""
    text = str(error).lower()
    reason, transient = _KINDS.get(type(error).__name__) or next(
        ((reason, transient) for words, reason, transient in _WORDS if words in text), ("error", True)
    )
    if reason == "timeout":
        return BackendTimeout(operation)
    kind = BackendUnavailable if reason in ("refused", "dns", "reset", "auth", "slow_down") else BackendError
    return kind(operation, transient, reason)


@contextlib.contextmanager
def translated(operation: str) -> Iterator[None]:
    """Raise errors of the store as `BackendError`; other exceptions pass."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, NotImplementedError) as error:
        raise translate(operation, error) from error
