"""The options of caches, views and cached functions, as type checkers check them: a misspelt one is an error.

The names are those of `cachecore.contract.options`, which has their meanings, defaults and limits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from cachecore.contract.clock import Clock
from cachecore.contract.options import Duration, Size
from cachecore.contract.protocols import CacheBackend, KeyHasher, Serializer
from cachecore.engine.scope import Admit, RescueIf

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter


class PolicyOptions(TypedDict, total=False):
    """How long answers hold, besides `ttl`: fields of `Policy`."""

    jitter: float
    stale_while_revalidate: Duration
    stale_if_error: Duration
    keep_stale: Duration | None
    refresh_ahead: float
    max_age: Duration | None
    soft_timeout: Duration | None
    factory_timeout: Duration
    claim_timeout: Duration
    retry_after: Duration
    negative_ttl: Duration | None
    rescue_unverified: bool
    finish: bool


class CacheOptions(PolicyOptions, total=False):
    """All options of a cache that have a default: fields of `Policy`, `StoreOptions` and `MemoryOptions`."""

    backend_timeout: Duration
    backend_timeout_max: Duration
    backend_timeout_per_mib: Duration
    connect_timeout: Duration
    write_timeout: Duration
    breaker_failures: int
    breaker_backoff: Duration
    breaker_backoff_max: Duration
    max_in_flight: int
    batch_keys: int
    max_value_bytes: Size
    max_background: int
    max_pending: int
    pending_path: str | None
    stream_max_bytes: Size
    stream_max_chunks: int
    lease_ttl: Duration | None
    l1_max_bytes: Size
    l1_max_entries: int
    l1_max_age: Duration
    eviction: str


class BuildOptions(CacheOptions, total=False):
    """The arguments of `Cache` besides `backend`, `ttl` and `value_type`."""

    namespace: str
    prefix: str
    hasher: str | KeyHasher
    serializer: str | Serializer | None
    tags: Sequence[str]
    admit: Admit | None
    rescue_if: RescueIf | None
    name: str
    clock: Clock | None
    chance: random.Random | None
    token: Callable[[], bytes]
    meter: Meter | None


class ConfigArguments(BuildOptions, total=False):
    """The arguments of `from_config`, which win over the configuration."""

    backend: str | CacheBackend
    ttl: Duration | None
    value_type: Any


class ViewOptions(PolicyOptions, total=False):
    """The arguments of `scoped` besides `namespace`."""

    ttl: Duration | None
    tags: Sequence[str]
    value_type: Any
    serializer: str | Serializer | None
    admit: Admit | None
    rescue_if: RescueIf | None
    name: str | None
