"""The page of the gateway: what it does, what it keeps, and how to purge it."""

from cachecore_proxy.admin.app import admin_app
from cachecore_proxy.admin.options import PageOptions, password_hash

__all__ = ["PageOptions", "admin_app", "password_hash"]
