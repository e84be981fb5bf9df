"""Adapters of cachecore-frameworks with the frameworks themselves; a file skips where its framework is missing."""
