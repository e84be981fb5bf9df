"""Which entry leaves the memory tier when it is full: one contract, and the policies that keep it."""

from cachecore.contract.eviction import EvictionPolicy, PolicyFactory

__all__ = ["EvictionPolicy", "PolicyFactory"]
