"""How long an answer is fresh, and how long it lies in the store at most.

An answer lies there for its ttl and the longer of its two stale windows: with 24 h and a window of 3 days, 96 h.
`max_retention` bounds the sum, by shortening the windows first and then the ttl.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration, lifetime, positive, seconds
from cachecore.contract.results import Unset
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.wire.call import RequestFacts

_LIVE_KINDS = ("web_search", "web_fetch", "file_search")
"""How the kinds of tools begin with which a provider reads what may have changed a minute later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long answers are kept. Durations as in `CacheConfig`; attributes are seconds. Raises OptionsError."""

    ttl: Duration | None = 86_400.0
    """How long an answer is fresh; None means for ever."""
    stale_if_error: Duration = 3 * 86_400.0
    """For how long past its ttl an answer may be served when every provider fails. Shortened by `max_retention`."""
    stale_while_revalidate: Duration = 0.0
    """For how long past its ttl an answer is served at once while a new one is made. Shortened by `max_retention`."""
    fallback_ttl: Duration = 300.0
    """How long an answer of a provider other than the first is fresh."""
    live_ttl: Duration = 300.0
    """How long an answer is fresh for which the provider could search the web, or files: `web_search`, `web_fetch`,
    `file_search`."""
    max_retention: Duration | None = None
    """The longest time that any answer lies in the store, fresh and stale together; None: no bound."""

    def __post_init__(self) -> None:
        ttl = lifetime("ttl", self.ttl)
        for name in ("fallback_ttl", "live_ttl"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        if self.max_retention is not None:
            bound = positive("max_retention", self.max_retention)
            object.__setattr__(self, "max_retention", bound)
            ttl = bound if ttl is None else min(ttl, bound)
        object.__setattr__(self, "ttl", ttl)
        for name in ("stale_if_error", "stale_while_revalidate"):
            window = seconds(name, getattr(self, name))
            if not 0 <= window < math.inf:  # NaN fails here too
                raise OptionsError(f"{name} must be 0 seconds or more and finite, not {getattr(self, name)!r}")
            if self.max_retention is not None and ttl is not None:
                window = min(window, seconds("max_retention", self.max_retention) - ttl)
            object.__setattr__(self, name, window)

    @property
    def window(self) -> float:
        """Return for how many seconds past its ttl an answer stays in the store."""
        return max(seconds("", self.stale_if_error), seconds("", self.stale_while_revalidate))

    @property
    def retention(self) -> float | None:
        """Return the seconds for which an answer of the usual ttl lies in the store; None means for ever."""
        return None if self.ttl is None else seconds("", self.ttl) + self.window

    def ttl_of(self, request: RequestFacts, *, fallback: bool = False, controls: Controls = DEFAULT) -> float | None:
        """Return the seconds for which the answer to `request` is fresh; None means for ever.

        The ttl that the call asks for counts before the configured one and before `live_ttl`, not before `fallback_ttl`
        (the answer of a provider that stands in would outlive the outage) and not before `max_retention`.
        """
        ttl = None if self.ttl is None else seconds("ttl", self.ttl)
        if not isinstance(controls.ttl, Unset):
            ttl = None if controls.ttl is None else seconds("ttl", controls.ttl)
        elif is_live(request):
            ttl = _shorter(ttl, seconds("live_ttl", self.live_ttl))
        if fallback:
            ttl = _shorter(ttl, seconds("fallback_ttl", self.fallback_ttl))
        if self.max_retention is not None:
            ttl = _shorter(ttl, seconds("max_retention", self.max_retention) - self.window)
        return ttl


def is_live(request: RequestFacts) -> bool:
    """Whether the provider may read the web or files for its answer, so that the answer ages with them."""
    return any(not tool.by_caller and tool.kind.startswith(_LIVE_KINDS) for tool in request.tools)


def _shorter(ttl: float | None, other: float) -> float:
    return other if ttl is None else min(ttl, other)
