"""Adapters of cachecore-frameworks with the frameworks themselves; each file skips where its framework is not installed."""
