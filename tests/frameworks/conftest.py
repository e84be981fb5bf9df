"""Stores for the tests of adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from cachecore.testing import servers


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, running_servers: dict[str, servers.Server]) -> str:
    """The address of an empty store of each kind."""
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cache.db?timeout=20s"
    return redis_store(running_servers)


@pytest.fixture
def redis_address(running_servers: dict[str, servers.Server]) -> str:
    """The address of an empty store that processes share."""
    return redis_store(running_servers)


def redis_store(running: dict[str, servers.Server]) -> str:
    installed = servers.installed()
    if not installed:
        pytest.skip("no Redis or Valkey server is installed")
    name = max(installed)
    if name not in running:
        running[name] = servers.Server(installed[name])
        running[name].start()
    import redis

    with redis.Redis.from_url(running[name].url) as client:
        client.flushdb()
    return running[name].url


def bytes_in(folder: Path) -> bytes:
    """Return the bytes of all files in a folder."""
    return b"".join(file.read_bytes() for file in folder.iterdir())
