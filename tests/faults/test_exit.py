"""Programs that end without closing their cache: what pends is tried once more, and what is left is said."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server
from tests.faults.callers import PATIENT, cache_at
from tests.integration.children import ROOT


@pytest.mark.parametrize("back", [True, False], ids=["store is back", "store stays away"])
@pytest.mark.parametrize("face", ["Cache", "Cache, collected", "SyncCache", "SyncCache, closing"])
async def test_end_of_the_interpreter_delivers(face: str, back: bool, any_server: Server, link: Proxy) -> None:
    """Within `write_timeout`; a store that stays away keeps no program from ending."""
    async with cache_at(any_server.url, l1_max_entries=0, **PATIENT) as cache:
        await cache.set("q", "old", required=True)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.exit_child",
            face,
            link.url,
            "5" if back else "1",  # time for a busy machine to deliver, and none to wait for in vain
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=ROOT,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        async with asyncio.timeout(60):
            assert await child.stdout.readline() == b"ready\n"
            link.blackhole()
            child.stdin.write(b"\n")
            assert await child.stdout.readline() == b"pending\n"
            if back:
                link.heal()
            child.stdin.write(b"\n")
            _, told = await child.communicate()
        assert child.returncode == 0, told
        assert await cache.get("q") == (None if back else "old")
        left = b"1 invalidations were never acknowledged by the store and end with this process"
        assert (left in told) is not back, told
