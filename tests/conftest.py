"""What all tests share: the real servers, one process of each for the whole run, and the table that long runs write."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from cachecore.engine import publish
from cachecore.testing import servers
from tests.faults import reliability

Record = Callable[..., None]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SERVERS = servers.installed()

# A busy machine takes longer than 50 ms for a call now and then; what is late is computed and not kept. That is tested
# where the deadlines are (`default_deadlines`).
PATIENT = {
    f"CACHECORE_{option}": "20"
    for option in ("BACKEND_TIMEOUT", "BACKEND_TIMEOUT_MAX", "WRITE_TIMEOUT", "CONNECT_TIMEOUT")
}

_AS_USED = {"unit", "properties", "simulation", "integration"}
"""Folders of tests in virtual time, which know how slow a store is, and of what a cache in ordinary use leaves."""

_measured: list[reliability.Figure] = []

# How long one example takes on a busy machine says nothing about the code.
settings.register_profile("calm", deadline=None)
settings.load_profile("calm")


def pytest_configure() -> None:
    """Give all stores time, those of servers and child processes too."""
    os.environ.update(PATIENT)


def pytest_collection() -> None:
    """Collect the tests without looking for garbage among them: a third of the time."""
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try tests that hold users' deadlines once more where they fail: four at once on two cores are late now and then.

    The run lists each of them as RERUN. A long run has the machine for itself and gets no second try.
    """
    for item in items:
        if "default_deadlines" in getattr(item, "fixturenames", ()) and item.get_closest_marker("soak") is None:
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish() -> None:
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def unburdened() -> None:
    """Leave what was made before this module out of every later `gc.collect()`: tests call it often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def running_servers() -> Iterator[dict[str, servers.Server]]:
    """Started when first asked for, stopped at the end of the run."""
    running: dict[str, servers.Server] = {}
    yield running
    for server in running.values():
        server.close()


def _started(name: str, running: dict[str, servers.Server]) -> servers.Server:
    if name not in running:
        running[name] = servers.Server(SERVERS[name])
        running[name].start()
    return running[name]


@pytest.fixture(params=sorted(SERVERS, reverse=True))
def server(request: pytest.FixtureRequest, running_servers: dict[str, servers.Server]) -> servers.Server:
    """A running server, each kind that this machine has. Shared: use keys of your own, leave it healthy."""
    return _started(request.param, running_servers)


@pytest.fixture
def redis_url(server: servers.Server) -> str:
    """The address of a running server whose database is empty."""
    import redis

    with redis.Redis.from_url(server.url) as client:
        client.flushdb()
    return server.url


@pytest.fixture
def default_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give stores the time that users' stores have."""
    for name in PATIENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def stored_when_answered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let callers have their answers when these are stored, however busy the machine is.

    They have them before where the store is slow, so that on a busy machine a second cache would find nothing yet.
    """
    room = request.path.relative_to(Path(__file__).parent).parts[0]
    if room not in _AS_USED and "default_deadlines" not in request.fixturenames:
        monkeypatch.setattr(publish, "_PATIENCE", 20.0)
        monkeypatch.setattr(publish, "_FAR", 20.0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that use it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder with the shared data is not there")
    return SHARED_DATA


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
