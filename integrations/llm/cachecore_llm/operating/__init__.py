"""What operators see and change of a cache of LLM answers: options and commands of `cachecore`, and a recorder."""

from cachecore_llm.operating.recorder import Recorder

__all__ = ["Recorder"]
