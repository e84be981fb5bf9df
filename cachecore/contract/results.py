"""The result of a lookup, and the wrapper in which a factory may say how its answer is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import FOREVER, Duration, seconds

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

Outcome = Literal["hit", "stale", "miss", "computed", "rescued", "bypass"]
"""`hit`: fresh from the cache. `stale`: past its ttl, served knowingly. `miss`: nothing to serve and no factory.
`computed`: the factory ran, here or in the flight that was joined. `rescued`: stale, because the factory failed.
`bypass`: the cache was not asked."""

Tier = Literal["l1", "l2"]


class Unset:
    """The type of `UNSET`: an argument that was not given, where None means something."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup(Generic[V_co]):
    """One answer and where it came from."""

    value: V_co | None
    """The answer; None for a miss."""
    outcome: Outcome
    tier: Tier | None = None
    """Which tier it came from; None if it was computed or missed."""
    age: float | None = None
    """Seconds since it was computed, by the store's clock; None for a miss."""
    fresh_for: float | None = None
    """Seconds for which it stays fresh (negative: for how long it has been stale); None: for ever, or a miss."""
    key: str = ""
    served_by: str | None = None
    """The origin that the writer gave, such as a provider's name."""
    metadata: Mapping[str, Any] | None = None
    """Plain data that the writer stored beside it."""
    joined: bool = False
    """Whether it was computed by another caller's factory, at the same time."""
    reason: str | None = None
    """Why it is a miss, or was computed: `absent`, `expired`, `max_age`, `deleted`, `claimed` (by a computation
    elsewhere), `invalidated`, `store`, or the reason of a rejected entry. None where it is not known, as in a batch."""
    version: Any = field(default=None, repr=False, compare=False)
    """The bytes in the store and the stamps at the time of this lookup, which `set(since=…)` compares with."""

    @property
    def found(self) -> bool:
        """Whether there is an answer in `value`."""
        return self.outcome != "miss"

    @property
    def cached(self) -> bool:
        """Whether the answer came from the cache, not from a factory."""
        return self.outcome in ("hit", "stale", "rescued")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry(Generic[V_co]):
    """What lies in the store under a key and may be served, as a listing tells it: no request, and no value yet."""

    key: str
    namespace: str
    """Below the namespace of the cache that lists it; empty for its own."""
    tags: tuple[str, ...]
    """Those that were given, not those of namespaces."""
    age: float
    """Seconds since it was computed, by the store's clock."""
    fresh_for: float | None
    """Seconds for which it stays fresh, negative for how long it has been stale; None: for ever."""
    size_bytes: int
    """Of the entry as it is stored, less what a store adds."""
    served_by: str | None
    load: Callable[[], V_co | None] = field(repr=False, compare=False)
    """Decodes the value; None where it cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Computed(Generic[V]):
    """A factory's answer together with how it is to be stored: `Computed(value, ttl=30, tags=["doc:42"])`."""

    value: V
    _: KW_ONLY
    ttl: Duration | Unset | None = UNSET
    """Seconds this answer stays fresh; None for ever; not given: the cache's own. Often made of the answer, such as the
    time that a token has left: where a factory's answer has 0 or less, it is returned and not stored."""
    tags: Sequence[str] = ()
    """Further tags. They protect from later invalidations only: pin those that must protect from earlier ones."""
    store: bool = True
    """Whether to store it at all."""
    served_by: str | None = None
    """Its origin, such as a provider's name; stored beside it."""
    metadata: Mapping[str, Any] | None = None
    """Plain data stored beside it, readable without the value's type."""

    def __post_init__(self) -> None:
        """Turn the ttl into seconds where it is given, not where it is needed. Raises `OptionsError`."""
        if isinstance(self.tags, str):  # or each letter would be a tag
            raise OptionsError(
                f"tags must be a sequence of strings, not the one string {self.tags!r}: write [{self.tags!r}]"
            )
        if self.ttl is not None and not isinstance(self.ttl, Unset):
            object.__setattr__(self, "ttl", None if self.ttl == FOREVER else seconds("ttl", self.ttl))
