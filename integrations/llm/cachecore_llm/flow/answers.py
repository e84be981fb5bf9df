"""The result for a face: the answer, and how it came to this caller."""

from __future__ import annotations

from dataclasses import dataclass

from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.response import CacheStatus
from cachecore_llm.wire import PROTOCOLS, JsonObject, RequestFacts


@dataclass(slots=True, kw_only=True)
class Answer:
    """A whole answer, as one caller gets it: an object of its own, less `stored`."""

    stored: StoredAnswer
    """Shared with other callers."""
    status: CacheStatus
    age: float | None = None
    """Seconds since it was made; None if it was made just now."""
    fresh_for: float | None = None
    """Seconds for which it stays fresh, negative for how long it has been stale; None for ever, or if not known."""
    key: str = ""
    """The key of the entry; empty for a bypass."""
    stored_now: bool = False
    """Whether it was judged fit to be stored just now. Whether the store took it, its metrics tell."""
    rescued: bool = False
    """With `stale`: whether the providers were asked, and failed."""
    reason: str | None = None
    """With `bypass`: why the cache was not asked. With `miss`: why it had no answer, in `cachecore.Lookup`'s words."""
    similarity: float | None = None
    matched_message: str | None = None
    facts: RequestFacts | None = None
    """Facts of the request, if they had to be read."""

    def body(self) -> JsonObject:
        """Return the body for this caller, read anew, with the fields that echo this caller's own request."""
        body = self.stored.read()
        if self.facts is None or not self.facts.echoed:
            return body
        shown = PROTOCOLS[self.stored.protocol].shown_to(body, self.facts)
        return body if shown is None else shown
