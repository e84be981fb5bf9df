"""The contract between the memory tier and the policy that decides which entry leaves it.

A third party adds a policy as an entry point of the group `cachecore.eviction` that names a `PolicyFactory`; it is then
chosen by name (`eviction="mine"`). `cachecore.memory.eviction.lru` is the shortest example.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Final, Protocol, runtime_checkable

TOUCHES_NOTED: Final = 256
"""Hits noted between two puts by a policy that defers them. It forgets the oldest of more, or is told to apply them."""


class EvictionPolicy(Protocol):
    """Knows the keys of one tier, sees how they are used, and names the one to give up.

    It sees keys only: bytes are the tier's business, so a tier of large entries may be full long before it holds as
    many as the capacity. Its lock is held in every call but `touch`, and no call waits. The memory of a policy is
    bounded by the capacity, with that of keys which have left included.
    """

    def touch(self, key: str, /) -> object:
        """Note a hit. O(1).

        The hot path: called without a lock, by many threads at once, on every hit, so a C function bound in `__init__`
        (`deque.append`, `OrderedDict.move_to_end`) is worth a lot. `key` may have just left: then do nothing or raise
        KeyError. A policy may lose some touches when there are too many to note.
        """

    def add(self, key: str, /) -> None:
        """Note a key that was not there and now is."""

    def evict(self) -> str:
        """Choose the key to give up, forget that it is there, and return it.

        Called after `add`, so the newest key may be the answer: that is how a policy declines to admit. Only called
        while at least one key is there.
        """

    def discard(self, key: str, /) -> None:
        """Note that a key which was there left for another reason: deleted or expired. It may come back soon.

        Raises KeyError if it was not there.
        """

    def clear(self) -> None:
        """Forget everything."""

    def __len__(self) -> int:
        """Return how many keys are there now; not those remembered beyond."""


@runtime_checkable
class DefersTouches(Protocol):
    """A policy that notes hits without a bound, and forgets none of them. Optional.

    A reader that finds more than `TOUCHES_NOTED` of them takes the tier's lock, if it is free, and has them applied.
    """

    @property
    def touched(self) -> Sized:
        """The hits that are noted and not yet applied; one object for the life of the policy."""

    def apply_touches(self) -> None:
        """Take account of all hits noted, and empty `touched`. The lock is held."""


@runtime_checkable
class AppliesUses(Protocol):
    """A policy that can note a hit at once, for a caller that holds the lock and need not defer it. Optional."""

    def use(self, key: str, /) -> None:
        """Note a hit. If `key` is not there, do nothing."""


def use_of(policy: EvictionPolicy) -> Callable[[str], object]:
    """Return the call that notes a hit for a caller that holds the lock. It may raise KeyError, as `touch` may."""
    return policy.use if isinstance(policy, AppliesUses) else policy.touch


PolicyFactory = Callable[[int], EvictionPolicy]
"""Makes a policy for a tier of at most this many entries (1 or more)."""
