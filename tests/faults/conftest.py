"""What the fault scenarios share: servers to be treated badly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cachecore.testing import servers
from cachecore.testing.proxy import Proxy
from tests.conftest import SERVERS


@pytest.fixture(autouse=True)
def deadlines(default_deadlines: None) -> None:
    """Faults are met with the deadlines of users."""


@pytest.fixture(params=sorted(SERVERS, reverse=True))
def own_server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server of this test's own, each kind that this machine has."""
    with servers.Server(SERVERS[request.param]) as server:
        yield server


@pytest.fixture
def any_server() -> Iterator[servers.Server]:
    """A server of this test's own, whichever kind this machine has."""
    with servers.Server(SERVERS[max(SERVERS)]) as server:
        yield server


@pytest.fixture
def link(any_server: servers.Server) -> Iterator[Proxy]:
    """A network between the test and `any_server`."""
    with Proxy(any_server.port) as proxy:
        yield proxy


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a healthy store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cache.db"
    server: servers.Server = request.getfixturevalue("any_server")
    return server.url
