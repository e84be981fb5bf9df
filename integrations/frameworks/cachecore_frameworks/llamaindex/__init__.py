"""`KVStore` for `IngestionCache(cache=…)`, and `CachedLLM` around a model, for LlamaIndex."""

from cachecore_frameworks.llamaindex.kvstore import KVStore
from cachecore_frameworks.llamaindex.llm import CachedLLM

__all__ = ["CachedLLM", "KVStore"]
