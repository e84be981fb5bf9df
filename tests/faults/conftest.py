"""What the fault scenarios share: servers to be treated badly, and the table that long runs write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cachecore.testing import servers
from cachecore.testing.proxy import Proxy
from tests.conftest import SERVERS
from tests.faults import reliability

Record = Callable[..., None]

_measured: list[reliability.Figure] = []


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


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Put a figure into the table, if this is a long run: `record("A2", "52 ms", met=True, size="1,000 calls")`."""

    def put(row: str, measured: str, *, met: bool, size: str) -> None:
        print(f"\n{row}: {measured} [{size}]{'' if met else ' NOT MET'}")
        if request.node.get_closest_marker("soak") is None:
            return
        command = request.node.nodeid.partition("::")[0]
        _measured.append(reliability.Figure(row, measured, met, size, command))

    return put


def pytest_sessionfinish() -> None:
    if _measured:
        reliability.write(_measured)
