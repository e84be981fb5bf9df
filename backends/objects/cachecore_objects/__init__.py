"""The object store backend of cachecore: `s3://bucket/folder`, `gs://`, `az://` and `file:///folder`."""

from __future__ import annotations

from cachecore_objects.backend import ObjectBackend
from cachecore_objects.urls import from_url

__all__ = ["ObjectBackend", "from_url"]
