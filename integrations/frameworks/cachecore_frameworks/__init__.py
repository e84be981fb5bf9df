"""Adapters that fill the cache slot of a framework; one module for each, and importing one imports no other.

A module imports its framework: `pip install 'cachecore-frameworks[langchain]'` brings that of `cachecore_frameworks.langchain`.
"""
