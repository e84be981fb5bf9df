"""A cache without values, which measures the hits of a policy."""

from __future__ import annotations

from collections.abc import Callable

from cachecore.contract.eviction import EvictionPolicy


class Shadow:
    """A policy that plays a cache of `room` keys. Not thread-safe."""

    __slots__ = ("_keys", "_policy", "lead", "room")

    def __init__(self, policy: EvictionPolicy, room: int) -> None:
        self._policy = policy
        self._keys: set[str] = set()
        self.room = room
        self.lead = 0.0
        """Recent hits more than the ruling policy's shadow had."""

    def request(self, key: str) -> bool:
        """Ask for `key`, which is there afterwards if the policy admits it; return whether it was there before."""
        if key in self._keys:
            try:
                self._policy.touch(key)
            except KeyError:
                pass
            return True
        self._keys.add(key)
        self._policy.add(key)
        self._shrink()
        return False

    def resize(self, room: int) -> None:
        """Hold at most `room` keys from now on."""
        self.room = room
        self._shrink()

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

    def _shrink(self) -> None:
        while len(self._keys) > self.room:
            self._keys.remove(self._policy.evict())
