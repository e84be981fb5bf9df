"""The cache in front of an LLM: exact keys, one computation, honest answers when everything else fails.

from cachecore import Cache

async with Cache("memory://", ttl=3600) as cache:
    answer = await cache.get_or_set({"q": "…"}, ask_the_model)
"""

from typing import TYPE_CHECKING

from cachecore.api.cache import Cache
from cachecore.api.claims import Claim
from cachecore.api.stream import Stream
from cachecore.contract.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    CacheError,
    EncodingError,
    FlightCycleError,
    InvalidationPending,
    OptionsError,
    PluginNotFound,
    StreamLagged,
    UnkeyableError,
)
from cachecore.contract.lazy import exports
from cachecore.contract.results import Computed, Lookup, StoredEntry
from cachecore.engine.bypass import bypass
from cachecore.engine.counts import Stats

if TYPE_CHECKING:
    from cachecore.api.loop_thread import LoopThread
    from cachecore.api.sync import SyncCache
    from cachecore.api.sync_claims import SyncClaim
    from cachecore.api.sync_stream import SyncStream
    from cachecore.keys.explain import Explanation, explain

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendTimeout",
    "BackendUnavailable",
    "Cache",
    "CacheError",
    "Claim",
    "Computed",
    "EncodingError",
    "Explanation",
    "FlightCycleError",
    "InvalidationPending",
    "Lookup",
    "LoopThread",
    "OptionsError",
    "PluginNotFound",
    "Stats",
    "StoredEntry",
    "Stream",
    "StreamLagged",
    "SyncCache",
    "SyncClaim",
    "SyncStream",
    "UnkeyableError",
    "__version__",
    "bypass",
    "explain",
]

if not TYPE_CHECKING:  # or checkers would take any name for one of ours
    __getattr__ = exports(
        __name__,
        {
            "Explanation": "keys.explain",
            "LoopThread": "api.loop_thread",
            "SyncCache": "api.sync",
            "SyncClaim": "api.sync_claims",
            "SyncStream": "api.sync_stream",
            "explain": "keys.explain",
        },
    )
