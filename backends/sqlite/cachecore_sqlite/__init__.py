"""`sqlite:///path`: a cache in one file, shared by all processes of a machine; no server, nothing lost by a kill."""

from __future__ import annotations

from cachecore_sqlite.backend import SQLiteBackend, from_url
from cachecore_sqlite.file.errors import FileRefused
from cachecore_sqlite.options import SQLiteOptions

__all__ = ["FileRefused", "SQLiteBackend", "SQLiteOptions", "from_url"]
