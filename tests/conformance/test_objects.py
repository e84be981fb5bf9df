"""The object store backend keeps the contract: in memory, in a folder, on an S3 server, on Azurite.

No emulator of Google's store that installs from a registry takes the writes that obstore makes: see docs/objects.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from cachecore.contract import CacheBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import CHECKS, Check
from cachecore_objects import ObjectBackend, from_url
from tests.objects.azurite import azure_url
from tests.objects.conftest import azure_server, bucket_of, container_of, s3_server, s3_url  # noqa: F401 - fixtures


class ObjectHarness:
    """A backend on a clock that the test advances: object stores have none of their own."""

    ttl_rounding = 0.0

    def __init__(self, make: Callable[[FakeClock], ObjectBackend]) -> None:
        self.clock = FakeClock()
        self._make = make
        self.backend = make(self.clock)
        self.opened = [self.backend]

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    leap = advance

    async def another(self) -> CacheBackend:
        self.opened.append(self._make(self.clock))
        return self.opened[-1]


PATIENT = "&timeout=20"  # the server is a thread of a busy process
# Thousands of requests, each of which takes the server 5 ms.
LONG = {"check_deleting_while_scanning", "check_many_keys_at_once", "check_scan_finds_live_keys_by_prefix"}
CASES = [
    pytest.param(way, check, id=f"{way}-{check.__name__}", marks=[pytest.mark.soak] if slow else [])
    for way in ("memory", "file", "s3", "az")
    for check in CHECKS
    for slow in [way in ("s3", "az") and check.__name__ in LONG]
]


@pytest.fixture
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectHarness]:
    way = request.getfixturevalue("way")
    if way == "memory":
        store = MemoryStore()
        made = ObjectHarness(lambda clock: ObjectBackend(store, clock=clock))
    elif way == "file":
        made = ObjectHarness(lambda clock: from_url(f"file://{tmp_path}/a folder", clock=clock))
    elif way == "az":
        port = request.getfixturevalue("azure_server")
        address = azure_url(port, container_of(port)) + PATIENT
        made = ObjectHarness(lambda clock: from_url(address, clock=clock))
    else:
        port = request.getfixturevalue("s3_server")
        url = s3_url(port, bucket_of(port)) + PATIENT
        made = ObjectHarness(lambda clock: from_url(url, clock=clock))
    yield made
    for backend in made.opened:
        await backend.aclose()


@pytest.mark.parametrize(("way", "check"), CASES)
async def test_backend_keeps_the_contract(way: str, check: Check, harness: ObjectHarness) -> None:
    await check(harness)
