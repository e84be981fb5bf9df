"""Servers that a test may freeze, kill and fill: one of its own, thrown away after it. A cluster that all share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cachecore.testing import servers
from cachecore.testing.groups import Cluster, ask

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


@pytest.fixture(scope="package")
def patient() -> Iterator[Cluster]:
    """Started when first asked for: a cluster takes longer to start than most tests that use one."""
    with Cluster(SERVERS[max(SERVERS)], timeout_ms=60_000) as cluster:
        yield cluster


@pytest.fixture
def calm(patient: Cluster) -> Iterator[Cluster]:
    """An empty cluster that takes nobody for dead. Shared: kill no node, put slots back."""
    for primary in patient.nodes[:3]:
        assert ask(primary, "FLUSHALL") == "OK"
    yield patient
    for node in patient.nodes:
        node.resume()
        assert ask(node, "ACL", "SETUSER", "default", "+@all") == "OK"
