"""Adapters that fill the cache slot of a framework; one module for each, and importing one imports no other.

A module imports its framework, which the extra of its name installs: `pip install 'cachecore-frameworks[langchain]'`.
"""
