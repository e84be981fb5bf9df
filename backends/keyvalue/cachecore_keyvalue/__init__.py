"""Any store of py-key-value as a backend of cachecore."""

from __future__ import annotations

from cachecore_keyvalue.backend import LIMITS, PyKeyValueBackend, from_url

__all__ = ["LIMITS", "PyKeyValueBackend", "from_url"]
