"""Made-up traffic of every kind that tells eviction policies apart, and what a policy and the optimum make of it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from random import Random

from cachecore.memory.eviction import PolicyFactory
from cachecore.memory.tier import MemoryTier

Trace = list[str]


def keys(numbers: Iterable[int]) -> Trace:
    return [f"k{number}" for number in numbers]


def zipf(chance: Random, *, unique: int, requests: int, exponent: float = 1.0, first: int = 0) -> list[int]:
    """Stable popularity: the n-th most popular is asked for n^-exponent as often as the first."""
    weights = list(accumulate((rank + 1) ** -exponent for rank in range(unique)))
    return [first + rank for rank in chance.choices(range(unique), cum_weights=weights, k=requests)]


def loop(*, unique: int, requests: int, first: int = 0) -> list[int]:
    """The same sequence over and over."""
    return [first + number % unique for number in range(requests)]


def recency(chance: Random, *, depth: float, new: float, requests: int, first: int = 0) -> list[int]:
    """What was asked for lately is asked for again, at a distance around `depth`: the case LRU is made for."""
    stack: list[int] = []
    trace = []
    for number in range(requests):
        place = int(chance.expovariate(1 / depth))
        fresh = place >= len(stack) or chance.random() < new
        key = first + number if fresh else stack.pop(-1 - place)
        stack.append(key)
        if len(stack) > 20 * depth:
            del stack[: len(stack) // 2]
        trace.append(key)
    return trace


def twice(*, distance: int, requests: int, first: int = 0) -> list[int]:
    """Each key comes once more, `distance` requests later, and never again."""
    trace: list[int] = []
    waiting: deque[int] = deque()
    number = first
    while len(trace) < requests:
        trace.append(number)
        waiting.append(number)
        number += 1
        if len(waiting) > distance // 2:
            trace.append(waiting.popleft())
    return trace


def scanned(trace: Sequence[int], *, every: int, length: int) -> list[int]:
    """`trace` with a scan of `length` new keys after every so many requests."""
    mixed: list[int] = []
    for start in range(0, len(trace), every):
        mixed += trace[start : start + every]
        mixed += range(10**9 + start * length, 10**9 + (start * length) + length)
    return mixed


def with_strangers(chance: Random, trace: Iterable[int], *, part: float) -> list[int]:
    """`trace` with keys mixed in that come once and never again."""
    mixed = []
    stranger = 10**9
    for key in trace:
        while chance.random() < part:
            mixed.append(stranger)
            stranger += 1
        mixed.append(key)
    return mixed


def shifting(chance: Random, *, unique: int, requests: int, every: int) -> list[int]:
    """Skewed popularity, dealt anew from time to time."""
    trace: list[int] = []
    for _ in range(0, requests, every):
        dealt = list(range(unique))
        chance.shuffle(dealt)
        trace += [dealt[rank] for rank in zipf(chance, unique=unique, requests=every)]
    return trace


def phases(chance: Random, *, each: int, rounds: int) -> list[int]:
    """Recency, a loop, skewed popularity, keys that come twice; new keys in each phase."""
    trace: list[int] = []
    for number in range(rounds):
        first = (4 * number + 1) * 10**7
        trace += recency(chance, depth=200, new=0.2, requests=each, first=first)
        trace += loop(unique=600, requests=each, first=first + 10**7)
        trace += zipf(chance, unique=5000, requests=each, first=first + 2 * 10**7)
        trace += twice(distance=300, requests=each, first=first + 3 * 10**7)
    return trace


def _popular(requests: int) -> list[int]:
    return zipf(Random(1), unique=10_000, requests=requests)


MADE: dict[str, tuple[Callable[[], list[int]], tuple[int, ...]]] = {
    "zipf 1.0": (lambda: _popular(60_000), (100, 1000)),
    "zipf 0.7": (lambda: zipf(Random(2), unique=10_000, requests=60_000, exponent=0.7), (100, 1000)),
    "zipf, scans": (lambda: scanned(_popular(50_000), every=5000, length=3000), (100, 1000)),
    "zipf, strangers": (lambda: with_strangers(Random(3), _popular(40_000), part=0.4), (100, 1000)),
    "zipf 1.0 of 100,000": (lambda: zipf(Random(4), unique=100_000, requests=150_000), (5000,)),
    "shifting slowly": (lambda: shifting(Random(5), unique=10_000, requests=80_000, every=20_000), (100, 1000)),
    "shifting fast": (lambda: shifting(Random(6), unique=3000, requests=60_000, every=5000), (100, 500)),
    "recency": (lambda: recency(Random(7), depth=300, new=0.1, requests=60_000), (100, 500)),
    "recency, many new": (lambda: recency(Random(8), depth=80, new=0.3, requests=60_000), (100, 500)),
    "twice": (lambda: twice(distance=400, requests=50_000), (150, 512)),
    "loop": (lambda: loop(unique=1100, requests=50_000), (500, 1000)),
    "loop of 11,000": (lambda: loop(unique=11_000, requests=150_000), (10_000,)),
    "phases": (lambda: phases(Random(9), each=15_000, rounds=1), (200, 500)),
    "fast phases": (lambda: phases(Random(10), each=5000, rounds=4), (500,)),
}
"""Name to trace and capacities; made when asked for."""


def hit_percent(policy: PolicyFactory, capacity: int, trace: Sequence[str]) -> float:
    """Return which part of the requests a tier of `capacity` entries answers, in percent."""
    tier: MemoryTier[str] = MemoryTier(max_bytes=1 << 50, max_entries=capacity, policy=policy)
    hits = 0
    for key in trace:
        if tier.get(key) is None:
            tier.put(key, key, 1)
        else:
            hits += 1
    return 100 * hits / len(trace)


def optimum_percent(capacity: int, trace: Sequence[str]) -> float:
    """Return the best possible: what is needed furthest in the future leaves (Belady)."""
    never = len(trace)
    following = [never] * len(trace)
    seen: dict[str, int] = {}
    for place in range(len(trace) - 1, -1, -1):
        following[place] = seen.get(trace[place], never)
        seen[trace[place]] = place
    held: dict[str, int] = {}
    furthest: list[tuple[int, str]] = []
    hits = 0
    for key, after in zip(trace, following, strict=True):
        if key in held:
            hits += 1
        elif len(held) >= capacity:
            while True:
                needed, victim = heapq.heappop(furthest)
                if held.get(victim) == -needed:  # else it was used since, and has a later note
                    del held[victim]
                    break
        held[key] = after
        heapq.heappush(furthest, (-after, key))
    return 100 * hits / len(trace)
