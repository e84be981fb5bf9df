"""The `cachecore` command."""
