"""The backend keeps the contract: the suite of cachecore, on a folder of its own for each check."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

import pytest
from cachecore_folder import FolderBackend

from cachecore.testing import FakeClock
from cachecore.testing.conformance import CHECKS


class Harness:
    """One folder, one clock, and any number of backends on them."""

    ttl_rounding = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FakeClock()
        self.backend = FolderBackend(folder, clock=self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    leap = advance

    async def another(self) -> FolderBackend:
        return FolderBackend(self.folder, clock=self.clock)


@pytest.mark.asyncio
@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_the_contract_is_kept(check, tmp_path):
    await check(Harness(tmp_path))
