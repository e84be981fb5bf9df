"""The state of a cache's parts, for its operator."""

from __future__ import annotations

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import StatesLimits
from cachecore.engine.engine import Engine


async def health(engine: Engine) -> dict[str, object]:
    """Return the state of the parts; asks the store, never raises, bounded by the store's deadline."""
    began = engine.monotonic()
    problem: str | None = None
    try:
        await engine.backend.get_many([f"{engine.prefix}:s:health"])
    except BackendError as error:
        problem = error.reason
    counts = engine.telemetry.counts
    return {
        "store": "ok" if problem is None else problem,
        "store_seconds": engine.monotonic() - began,
        "breakers": dict(counts.breakers),
        "feed": "none" if engine.feed is None else "live" if engine.feed_state.live else "down",
        "marks": engine.marks.state,
        "pending_invalidations": len(engine.outbox),
        "l1_entries": len(engine.l1),
        "limits": list(engine.raw.limits) if isinstance(engine.raw, StatesLimits) else [],
    }
