"""A cache without values, which measures the hits of a policy."""

from __future__ import annotations

from collections.abc import Callable

from cachecore.contract.eviction import EvictionPolicy, use_of


class Shadow:
    """A policy that plays a cache of `room` keys. Not thread-safe."""

    __slots__ = ("_add", "_evict", "_keys", "_policy", "_use", "lead", "room")

    def __init__(self, policy: EvictionPolicy, room: int) -> None:
        self._policy = policy
        # Bound once: looking them up is a good part of a request.
        self._add, self._evict, self._use = policy.add, policy.evict, use_of(policy)
        self._keys: set[str] = set()
        self.room = room
        self.lead = 0.0
        """Recent hits more than the ruling policy's shadow had."""

    def request(self, key: str) -> bool:
        """Ask for `key`, which is there afterwards if the policy admits it; return whether it was there before."""
        keys = self._keys
        if key in keys:
            try:
                self._use(key)
            except KeyError:
                pass
            return True
        keys.add(key)
        self._add(key)
        if len(keys) > self.room:
            keys.remove(self._evict())
        return False

    def resize(self, room: int) -> None:
        """Hold at most `room` keys from now on."""
        self.room = room
        while len(self._keys) > room:
            self._keys.remove(self._evict())

    def discard(self, key: str) -> None:
        """Forget `key` if it is there."""
        if key in self._keys:
            self._keys.remove(key)
            self._policy.discard(key)

    def keep_only(self, wanted: Callable[[str], bool]) -> None:
        """Forget the keys that are not wanted. O(n)."""
        # Sorted, because the order of a set differs from run to run.
        for key in sorted(key for key in self._keys if not wanted(key)):
            self.discard(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)
