"""`cachecore replay`: what the cache would do for a log of requests."""

from cachecore_llm.replay.command import replay

app = replay
"""The entry point of the subcommand."""

__all__ = ["app", "replay"]
