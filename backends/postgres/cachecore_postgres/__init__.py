"""The Postgres backend of cachecore: `postgres://user:password@host/database`.

Importing this does not import psycopg: that happens when a backend is built.
"""

from __future__ import annotations

from cachecore_postgres.backend import PostgresBackend, from_url
from cachecore_postgres.options import PostgresOptions

__all__ = ["PostgresBackend", "PostgresOptions", "from_url"]
