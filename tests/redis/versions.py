"""What servers of which version can do."""

from __future__ import annotations

import pytest

from cachecore.testing import servers
from cachecore.testing.servers import Server


def needs(server: Server, major: int, what: str) -> None:
    """Skip the test on a server before version `major`, which lacks `what` the test needs to be set up."""
    name, version = servers.version(server.program)
    if version < (major,):
        pytest.skip(f"{what} came with version {major}; this is {name} {'.'.join(map(str, version))}")


def in_one_command(server: Server, otherwise: str) -> tuple[str, str]:
    """Return how this server replaces and deletes by comparison: in one command where it has one."""
    name, version = servers.version(server.program)
    if name == "valkey":
        return "ifeq" if version >= (8, 1) else otherwise, "delifeq" if version >= (9, 0) else otherwise
    return ("ifeq", "delex") if version >= (8, 4) else (otherwise, otherwise)
