"""Every setting, its default and its limits: the one table of them.

Durations are float seconds; a `timedelta` and text such as `"24h"` are turned into them, as text such as `"64MiB"` is
turned into bytes: in code, in files and in the environment alike. A wrong setting fails here, while a cache is being
built, and the error names the allowed values.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final

from cachecore.contract.errors import OptionsError

KIB: Final = 1024
MIB: Final = 1024 * 1024

Duration = float | timedelta | str
"""Seconds, a `timedelta`, or text such as `"250ms"`, `"24h"` and `"7d"`."""
Size = int | str
"""Bytes, or text such as `"64KiB"` and `"1.5GB"`."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
FOREVER: Final = "forever"
"""The text for a ttl of None."""
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[KMG]i?B)?", re.IGNORECASE)
_SIZE_UNITS: Final = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": KIB, "mib": MIB, "gib": 1024 * MIB}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?")


def seconds(name: str, value: Duration) -> float:
    """Return `value` in seconds. Raises `OptionsError` naming `name` if it is no duration."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        return parse_duration(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionsError(f"{name} must be seconds (a number), a timedelta or text such as '24h', not {value!r}")
    return _float(name, value)


def size(name: str, value: Size) -> int:
    """Return `value` in bytes. Raises `OptionsError` naming `name` if it is no size; its limits are the caller's."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise OptionsError(f"{name} must be a size such as 65536, '64KiB' or '64MiB', not {value!r}")
        return int(float(match[1]) * _SIZE_UNITS[(match[2] or "b").lower()])
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionsError(f"{name} must be bytes (a whole number) or text such as '64MiB', not {value!r}")
    return value


def _float(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionsError(f"{name} must be a number, not {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise OptionsError(f"{name} must be finite, and its value is more than any float") from None


def positive(name: str, value: Duration) -> float:
    """Return `value` in seconds, which must be finite and over 0."""
    number = seconds(name, value)
    if not 0 < number < math.inf:  # NaN fails here too
        raise OptionsError(f"{name} must be more than 0 seconds and finite, not {value!r}")
    return number


FOR_EVER_SECONDS: Final = 100 * 365.25 * 86_400
"""Seconds from which a ttl means for ever: no store's arithmetic has to hold it, and no process would see its end."""


def lifetime(name: str, value: Duration | None) -> float | None:
    """Return a ttl in seconds, or None for ever, which a hundred years and more are too.

    A ttl of 0 or less is an error, not a way to say 'for ever'.
    """
    if value is None or value == FOREVER:
        return None
    number = seconds(name, value)
    if not 0 < number < math.inf:
        raise OptionsError(f"{name} must be more than 0 seconds, or None for ever, not {value!r}")
    return None if number >= FOR_EVER_SECONDS else number


def parse_duration(name: str, text: str) -> float:
    """Return the seconds that `text` means: `"1.5"`, `"250ms"`, `"24h"`, `"7d"`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise OptionsError(f"{name} must be a duration such as 30, '250ms', '24h' or '7d', not {text!r}")
    return float(match[1]) * _UNITS[match[2] or "s"]


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionsError(f"{name} must be a whole number of at least {least}, not {value!r}")
    if value >= 1 << 63:
        raise OptionsError(f"{name} must be a whole number below 2**63")


def _set_seconds(options: Any, *names: str, zero: bool = False, none: bool = False) -> None:
    """Turn the named durations of a frozen dataclass into checked float seconds; `none`: they may be None."""
    for name in names:
        value = getattr(options, name)
        if value is None and none:
            continue
        number = seconds(name, value)
        if not ((0 <= number if zero else 0 < number) and number < math.inf):
            least = "0 seconds or more" if zero else "more than 0 seconds"
            raise OptionsError(f"{name} must be {least} and finite, not {value!r}")
        object.__setattr__(options, name, number)


def _set_sizes(options: Any, **least: int) -> None:
    """Turn the named sizes of a frozen dataclass into checked bytes; each has its least value."""
    for name, low in least.items():
        number = size(name, getattr(options, name))
        if not low <= number < 1 << 63:
            raise OptionsError(
                f"{name} must be a whole number of at least {low} bytes, below 2**63, or text such as '64MiB', "
                f"not {getattr(options, name)!r}"
            )
        object.__setattr__(options, name, number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long answers are fresh, and how stale ones are served (RFC 5861, RFC 9111)."""

    ttl: float | None
    """How long an answer is fresh; None means for ever. Has no default: only the caller knows."""
    max_age: float | None = None
    """The age from which an answer is not fresh even if its ttl says so; stale windows count from that age."""
    jitter: float = 0.05
    """Each ttl is shortened by up to this part of it, so that entries stored together do not expire together."""
    stale_while_revalidate: float = 0.0
    """For how long past its ttl an answer may be served while a new one is computed behind it."""
    stale_if_error: float = 0.0
    """For how long past its ttl an answer may be served because computing a new one failed."""
    keep_stale: float | None = None
    """For how long past its ttl an answer is kept at least, for other views that serve it stale; None: as long as this
    view's own windows."""
    refresh_ahead: float = 0.0
    """The beta of XFetch: 1.0 refreshes early, about one compute time before the ttl; 0 never."""
    soft_timeout: float | None = None
    """After how long a stale answer is served, if there is one, while the factory works on behind."""
    factory_timeout: float = 600.0
    """After how long a factory is cancelled and its key is free again. Time in which the factory itself waits, as for
    a semaphore, counts."""
    claim_timeout: float = 30.0
    """After how long a claim that was neither stored nor released ends, and those that wait for it go on."""
    retry_after: float = 5.0
    """For how long after a failed computation a stale answer is served without trying again."""
    negative_ttl: float | None = None
    """How long an answer of None is fresh; None (not given) stores it like any other."""
    rescue_unverified: bool = False
    """Whether a stale answer may be served although its stamps cannot be read."""
    finish: bool = False
    """Whether a computation goes on, and its answer is stored, when its last caller has left."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ttl", lifetime("ttl", self.ttl))
        _set_seconds(self, "stale_while_revalidate", "stale_if_error", zero=True)
        _set_seconds(self, "factory_timeout", "claim_timeout", "retry_after")
        _set_seconds(self, "soft_timeout", "negative_ttl", none=True)
        _set_seconds(self, "max_age", "keep_stale", zero=True, none=True)
        if not 0 <= _float("jitter", self.jitter) < 1:
            raise OptionsError(f"jitter must be from 0 to below 1, not {self.jitter!r}")
        if not 0 <= _float("refresh_ahead", self.refresh_ahead) < math.inf:
            raise OptionsError(f"refresh_ahead must be 0 (never) or more, not {self.refresh_ahead!r}")
        for name in ("rescue_unverified", "finish"):
            switch: object = getattr(self, name)
            if not isinstance(switch, bool):
                raise OptionsError(f"{name} must be True or False, not {switch!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How the store is used, and how long a call waits for it."""

    backend_timeout: float = 0.05
    """Deadline of a read, or of a computed value's write, unless five round trips take longer; before the allowance for
    its size."""
    backend_timeout_max: float = 0.5
    """The longest that five round trips make that deadline; also the deadline until a round trip was measured."""
    backend_timeout_per_mib: float = 0.01
    """Seconds that each MiB of a call adds to its deadline."""
    connect_timeout: float = 1.0
    """How long a call waits until the store is connected, or its file open; after a failed attempt no call waits."""
    write_timeout: float = 1.0
    """Deadline of a whole explicit `set`, `delete`, `expire` or `invalidate_*`, and of a connection that is silent."""
    breaker_failures: int = 3
    """Transient failures in a row that open the breaker."""
    breaker_backoff: float = 0.1
    """How long an open breaker waits before its first probe; doubles with each failure."""
    breaker_backoff_max: float = 0.4
    """The longest it waits. Probes cost no caller anything, and a store that is back is used again this soon."""
    max_in_flight: int = 1024
    """Calls to the store under way at once; up to 16 times as many wait for a place, a deadline or two at most."""
    batch_keys: int = 256
    """Keys in one read of the store."""
    max_value_bytes: int = 8 * MIB
    """The largest entry that is stored or accepted."""
    max_background: int = 64
    """Refreshes behind stale answers at once; further ones are left out."""
    max_pending: int = 100_000
    """Unacknowledged invalidations, and deletions of values that a failed `set` could not replace; more collapse
    upwards (tag, namespace, everything)."""
    pending_path: str | None = None
    """A directory, one for each store, in which unacknowledged invalidations survive this process; None: in memory."""
    stream_max_bytes: int = 8 * MIB
    """The chunks of one running stream that are kept for readers that join or lag. A longer stream is not stored."""
    stream_max_chunks: int = 100_000
    """The same as a number of chunks."""
    lease_ttl: float | None = 0.5
    """How often a computation shows other processes that it runs; None computes without waiting for other processes."""

    def __post_init__(self) -> None:
        _set_seconds(self, "backend_timeout", "backend_timeout_max", "connect_timeout", "write_timeout")
        _set_seconds(self, "breaker_backoff", "breaker_backoff_max")
        _set_seconds(self, "lease_ttl", none=True)
        _set_seconds(self, "backend_timeout_per_mib", zero=True)
        for name in ("breaker_failures", "max_in_flight", "batch_keys", "max_background", "max_pending"):
            _whole(name, getattr(self, name), 1)
        _set_sizes(self, max_value_bytes=KIB, stream_max_bytes=KIB)
        _whole("stream_max_chunks", self.stream_max_chunks, 1)
        path: object = self.pending_path
        if path is not None and (not isinstance(path, str) or not path):
            raise OptionsError(f"pending_path must be the path of a directory as text, or None, not {path!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """The size and age of the copies in this process's memory (L1)."""

    l1_max_bytes: int = 64 * MIB
    """Bytes of all copies and of the memo of calls together; 0 keeps none."""
    l1_max_entries: int = 100_000
    """Number of copies; 0 keeps none."""
    l1_max_age: float = 1.0
    """How long a copy is trusted without word from the store: the bound on staleness between processes."""
    eviction: str = "adaptive"
    """Which copies make room: `adaptive`, `lru`, `s3fifo`, `tinylfu`, `lfu`, or a plugin of `cachecore.eviction`."""

    def __post_init__(self) -> None:
        _set_seconds(self, "l1_max_age")
        _set_sizes(self, l1_max_bytes=0)
        _whole("l1_max_entries", self.l1_max_entries, 0)


POLICY_FIELDS: Final = frozenset(field.name for field in fields(Policy))
STORE_FIELDS: Final = frozenset(field.name for field in fields(StoreOptions))
MEMORY_FIELDS: Final = frozenset(field.name for field in fields(MemoryOptions))
