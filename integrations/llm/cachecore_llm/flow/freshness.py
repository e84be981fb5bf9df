"""Which stored answer is fresh enough for a call that says so: `max_stale`, `min_fresh`, `max_age`."""

from __future__ import annotations

from typing import Any

from cachecore import Cache, Lookup
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.policy.controls import Controls


async def acceptable(view: Cache[StoredAnswer], request: Any, controls: Controls) -> Lookup[StoredAnswer] | None:
    """Return the stored answer to `request` if it is as fresh as `controls` want it, else None."""
    max_age: Any = controls.max_age
    if not controls.bounds_freshness:
        found = await view.lookup(request, max_age=max_age)
        return found if found.outcome == "hit" and found.value is not None else None
    found = await view.lookup(request, stale=True)
    if found.value is None or (max_age is not None and (found.age or 0.0) > max_age):
        return None
    left: Any = found.fresh_for
    least: Any = -(controls.max_stale or 0.0) if controls.min_fresh is None else controls.min_fresh  # type: ignore[operator]  # read as seconds when the controls were made
    return found if left is None or left >= least else None
