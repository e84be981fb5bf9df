"""Servers that a test may freeze, kill and fill: one of its own, thrown away after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cachecore.testing import servers

SERVERS = servers.installed()


@pytest.fixture(params=sorted(SERVERS, reverse=True))
def own_server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A fresh server for this test alone, each kind that this machine has."""
    with servers.Server(SERVERS[request.param]) as server:
        yield server


@pytest.fixture
def any_server() -> Iterator[servers.Server]:
    """A fresh server for this test alone, whichever kind this machine has."""
    with servers.Server(SERVERS[max(SERVERS)]) as server:
        yield server
