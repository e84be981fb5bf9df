"""A tournament: several policies play the same requests in miniature, and the best of them rules the cache.

No policy wins everywhere: LRU is helpless against scans and loops, S3-FIFO against pure recency, W-TinyLFU against new
popularity, and each loses many points there. So each plays a shadow of the cache, keys without values, and the one that
proves to hit more takes over. A shadow sees every request while the cache is small and those for a fixed sample of the
keys when it is large (Waldspurger, Saemundsson, Ahmad, Park: Cache modeling and optimization using miniature
simulations, USENIX ATC 2017), so its cost is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from xxhash import xxh3_64_intdigest

from cachecore.contract.eviction import TOUCHES_NOTED, EvictionPolicy, PolicyFactory, use_of
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.shadow import Shadow
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy

SHADOW_ENTRIES: Final = 512
"""About the most keys a shadow holds; a larger cache is sampled down to this. More did not choose better."""

_TAKEOVER: Final = 0.1
"""Hits ahead of the ruler, in sizes of a shadow, that win the rule: about the misses that a change costs."""

_CREDIT: Final = 0.2
"""How far behind a shadow can fall, likewise: a good past protects the ruler from a bad moment, but not for long."""

_NOISE: Final = 10
"""Hits added to both, because in a small cache as many are luck."""

_MOVED_PER_ADD: Final = 16
"""Keys handed from the old ruler to the new one per put, so that no single put pays for a change."""


class AdaptivePolicy:
    """The best of several policies for the present requests: LRU, S3-FIFO and W-TinyLFU.

    About 110 to 260 bytes per entry beside its key (those of the policy that rules) and at most 1 MB for the shadows.

    Args:
        capacity: the most entries there will be.
        candidates: the competing policies; the first rules until another proves better.
        chance: decides which keys are sampled and which share a counter; a seeded one makes every run alike.
    """

    __slots__ = (
        "_candidates",
        "_capacity",
        "_challenger",
        "_chance",
        "_count",
        "_few",
        "_leaving",
        "_many",
        "_mask",
        "_mine",
        "_others",
        "_room",
        "_ruler",
        "_seed",
        "_shadows",
        "_touched",
        "_uses",
        "touch",
    )

    _count: int  # of the keys that are there
    _shadows: list[Shadow]
    _mine: Shadow  # of the policy that decides
    _others: list[Shadow]
    _room: int  # of each shadow
    _challenger: int | None  # the number of the policy that has won the rule, until the next eviction
    _ruler: EvictionPolicy
    _leaving: EvictionPolicy | None  # the ruler before, while it still has keys
    _uses: list[Callable[[str], object]]  # notes a hit: of the ruler, and of the ruler before
    _seed: int
    _mask: int  # a key is sampled if its digest has none of these bits
    _many: int  # entries from which half as many keys are sampled
    _few: int  # entries below which twice as many are; 0 if all are

    def __init__(
        self, capacity: int, *, candidates: Sequence[PolicyFactory] | None = None, chance: Random | None = None
    ) -> None:
        self._capacity = capacity
        self._chance = chance or Random()  # noqa: S311 - secret enough: it only decides which keys are sampled
        self._candidates = tuple(candidates or (LruPolicy, S3FifoPolicy, self._tiny_lfu))
        self._touched: deque[str] = deque(maxlen=TOUCHES_NOTED)
        self.touch: Callable[[str], object] = self._touched.append
        self._start()

    def __repr__(self) -> str:
        return f"AdaptivePolicy(ruler={self._ruler!r}, entries={len(self)})"

    def add(self, key: str) -> None:
        """Let the shadows see the request, and hand `key` to the ruler."""
        if self._touched:
            self._apply_touches()
        self._count = count = self._count + 1
        if count >= self._many or count < self._few:
            self._resample(count)
        mask = self._mask
        if not mask or not xxh3_64_intdigest(key.encode(), self._seed) & mask:
            self._play(key)
        self._ruler.add(key)
        if self._leaving is not None:
            self._hand_over(self._leaving)

    def evict(self) -> str:
        """Forget and return the key that the ruler gives up; during a change, the one of the ruler before."""
        if self._touched:
            self._apply_touches()
        self._count = count = self._count - 1
        # A cache that evicts is full, so it has room for the entries that it holds, less the newest; the capacity is
        # only the most it could have, if its entries were small.
        room = count // (self._mask + 1) or 1
        if room != self._room:
            self._room = room
            for shadow in self._shadows:
                shadow.resize(room)
        if self._challenger is not None:
            challenger, self._challenger = self._challenger, None
            if self._leaving is None:
                self._crown(challenger)
        if self._leaving:  # there is one, and it has keys: deletes may have taken its last
            return self._leaving.evict()
        return self._ruler.evict()

    def discard(self, key: str) -> None:
        """Forget that `key` is here. Raises KeyError if it is not."""
        self._apply_touches()  # or the shadows would see a request for a key that they have just forgotten
        if self._leaving is None:
            self._ruler.discard(key)
        else:
            try:
                self._leaving.discard(key)
            except KeyError:
                self._ruler.discard(key)
        self._count -= 1
        for shadow in self._shadows:
            shadow.discard(key)

    def clear(self) -> None:
        """Forget everything, the ruling policy included."""
        self._touched.clear()
        self._start()

    def __len__(self) -> int:
        return self._count

    def _tiny_lfu(self, capacity: int) -> EvictionPolicy:
        return TinyLfuPolicy(capacity, chance=self._chance)

    def _start(self) -> None:
        self._room = min(self._capacity, 2 * SHADOW_ENTRIES)  # until evictions show how much there really is
        self._shadows = [Shadow(make(self._room), self._room) for make in self._candidates]
        self._challenger = None
        self._leaving = None
        self._rule(0)
        self._count = 0
        self._seed = self._chance.getrandbits(64)
        self._sample(0)

    def _rule(self, place: int) -> None:
        """Make a new policy the ruler, and its shadow the one that others are compared with."""
        self._mine = self._shadows[place]
        self._others = self._shadows[:place] + self._shadows[place + 1 :]
        self._ruler = self._candidates[place](self._capacity)
        self._uses = [use_of(policy) for policy in (self._ruler, self._leaving) if policy is not None]

    def _sample(self, mask: int) -> None:
        self._mask = mask
        self._many = (SHADOW_ENTRIES + 1) * (mask + 1)
        self._few = SHADOW_ENTRIES // 8 * (mask + 1) if mask else 0

    def _apply_touches(self) -> None:
        touched, uses, mask, seed = self._touched, self._uses, self._mask, self._seed
        while touched:
            key = touched.popleft()
            for use in uses:
                try:
                    use(key)
                except KeyError:  # the other one has it, or it has left since
                    pass
            if not mask or not xxh3_64_intdigest(key.encode(), seed) & mask:
                self._play(key)

    def _sampled(self, key: str) -> bool:
        return not self._mask or not xxh3_64_intdigest(key.encode(), self._seed) & self._mask

    def _play(self, key: str) -> None:
        """Let every shadow see a request for a sampled key, and note how far each is ahead of the ruler's."""
        mine = self._mine.request(key)
        for shadow in self._others:
            if shadow.request(key) is not mine:
                if mine:
                    # Bounded below, and not a sum over all the past: only the present lead counts.
                    shadow.lead = max(shadow.lead - 1.0, -_CREDIT * self._room - _NOISE)
                else:
                    shadow.lead += 1.0
                    if shadow.lead > _TAKEOVER * self._room + _NOISE:
                        self._challenger = self._shadows.index(shadow)

    def _crown(self, challenger: int) -> None:
        self._leaving = self._ruler
        self._rule(challenger)
        for shadow in self._shadows:
            shadow.lead = 0.0
        self._hand_over(self._leaving)

    def _hand_over(self, leaving: EvictionPolicy) -> None:
        # The key that the old ruler would give up first comes first, so the new one too takes it for the oldest.
        for _ in range(min(_MOVED_PER_ADD, len(leaving))):
            self._ruler.add(leaving.evict())
        if not len(leaving):
            self._leaving = None
            self._uses = self._uses[:1]

    def _resample(self, count: int) -> None:
        """Sample half as many keys, or twice as many, when the cache has outgrown its shadows or shrunk far below."""
        if count >= self._many:
            self._sample(self._mask * 2 + 1)
            for shadow in self._shadows:
                shadow.keep_only(self._sampled)
        elif count < self._few:
            self._sample(self._mask >> 1)
