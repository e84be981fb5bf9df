"""The Postgres backend of cachecore: `postgres://user:password@host/database`."""

from __future__ import annotations

from cachecore_postgres.backend import PostgresBackend
from cachecore_postgres.options import PostgresOptions

__all__ = ["PostgresBackend", "PostgresOptions"]
