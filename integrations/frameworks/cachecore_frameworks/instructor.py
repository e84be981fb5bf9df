"""`InstructorCache`: the cache of Instructor, `from_provider("openai/gpt-5", cache=InstructorCache("redis://…"))`."""

from __future__ import annotations

from typing import Any

from instructor.cache import BaseCache

from cachecore import Cache
from cachecore.contract.results import UNSET
from cachecore_frameworks._adapter import Adapter
from cachecore_frameworks._slot import Slot


class InstructorCache(Adapter, BaseCache):
    """Parsed answers as the JSON that Instructor makes of them. Takes the arguments of `Cache`, or a `Cache` to share.

    Instructor calls it without await, also from async clients, and tells it of no failure. So it claims nothing.
    """

    def __init__(self, store: str | Cache[Any] = "memory://", *, namespace: str = "instructor", **options: Any) -> None:
        self._slot = Slot(store, namespace, **options)

    def get(self, key: str) -> Any | None:
        """Return the JSON of an answer, or None."""
        return self._slot.look(key)

    def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        """Store the JSON of an answer; without `ttl` it lives as long as the cache says."""
        self._slot.put(key, value, ttl=UNSET if ttl is None else ttl)
