"""The log of refusals by a store that answers: it is full, read-only, not ours, not there, or the user lacks a right.

A breaker does not open for these: other calls work. A line tells that it begins and one that it is over, each
with the reserve of `state_log`: at most one a minute while it flaps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from cachecore.contract.errors import BackendError
from cachecore.store.state_log import StateLog

_NOTHING: Final = "answers are computed and not stored, invalidations are not delivered"
_TEXTS: Final = {
    "full": "takes nothing new (full): answers are computed and not stored, those that it has are served; give it "
    "room, an eviction policy such as allkeys-lru, and each answer a ttl",
    "readonly": "refuses writes (readonly): answers are computed and not stored, invalidations are not delivered; this "
    "is a replica: point to the primary, or wait for the failover to end",
    "foreign": "is no store of this library (foreign): it is left as it is, and answers are computed and not stored; "
    "give the cache a path of its own",
    "newer": "was made by a newer version (newer): it is left as it is, and answers are computed and not stored; "
    "install that version, or give the cache a path of its own",
    "schema": f"finds no such schema (schema): {_NOTHING}; make the schema, or check its name",
    "no_bucket": f"finds no such bucket (no_bucket): {_NOTHING}; make the bucket, or check its name",
    "no_swap": f"does not write on conditions (no_swap): {_NOTHING}; use a store that does",
    "forked": f"was used before this process was forked (forked): {_NOTHING}; use `spawn`, or build and use the first "
    "cache after the fork",
    "auth": "refuses {} (auth): the user lacks a right; nothing that needs it is done, and an invalidation that "
    "needs it is never delivered until the user has it: see `cachecore doctor`",
}
_OVER: Final = {
    "full": "takes new answers again",
    "readonly": "takes writes again",
    "foreign": "is a store of this library again",
    "newer": "is a store of this version again",
    "schema": "finds the schema",
    "no_bucket": "finds the bucket",
    "no_swap": "writes on conditions",
    "forked": "answers in this process",
    "auth": "no longer refuses {}",
}

_ENDS: Final = {
    "full": frozenset({"set_many", "swap", "advance"}),
    "readonly": frozenset({"set_many", "swap", "advance", "delete_many", "extend"}),
}
"""Operations of which one that succeeds tells that it is over. A full store deletes all the same."""


class Refusals:
    """Tells of the refusals of one partition. May be told of calls in any thread.

    Args:
        name: the store and the partition; holds no secret.
        now: monotonic seconds.
    """

    __slots__ = ("_lock", "_logs", "_name", "_now", "held")

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self._name = name
        self._now = now
        self._lock = threading.Lock()  # guards the attributes below
        self._logs: dict[tuple[str, str], StateLog] = {}
        self.held: dict[tuple[str, str], frozenset[str]] = {}
        """The present refusals: (reason, operation if it counts) -> the operations a success of which ends it.

        Look whether there is any before telling of a success: there rarely is.
        """

    def failed(self, operation: str, error: BackendError) -> None:
        """Take note of a call that failed."""
        reason = error.reason
        if reason not in _TEXTS or (reason == "auth" and error.transient):
            return  # it lets this user in at no call, or is away: the breaker knows, and its log tells
        of = (reason, operation if reason == "auth" else "")
        with self._lock:
            self.held[of] = _ENDS.get(reason, frozenset()) | {operation}
            log = self._logs.get(of)
            if log is None:
                away = partial(_text, _TEXTS[reason].format(operation))
                log = self._logs[of] = StateLog(self._name, self._now, away, _OVER[reason].format(operation))
        log.changed("open", reason)

    def succeeded(self, operation: str) -> None:
        """Take note of a call that succeeded."""
        with self._lock:
            over = [of for of, operations in self.held.items() if operation in operations]
            for of in over:
                del self.held[of]
        for of in over:
            self._logs[of].changed("closed", of[0])


def _text(text: str, _: str) -> str:
    return text
