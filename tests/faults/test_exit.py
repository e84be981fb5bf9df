"""Programs that end without closing their cache: what pends is tried once more, and what is left is said."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from cachecore import Cache
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server
from tests.integration.children import ROOT


@pytest.mark.parametrize("back", [True, False], ids=["store is back", "store stays away"])
@pytest.mark.parametrize("face", ["Cache", "Cache, collected", "SyncCache", "SyncCache, closing"])
async def test_end_of_the_interpreter_delivers(face: str, back: bool, any_server: Server, link: Proxy) -> None:
    """Within `write_timeout`; a store that stays away keeps no program from ending."""
    async with Cache(any_server.url, ttl=600, l1_max_entries=0) as cache:
        await cache.set("q", "old", required=True)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.exit_child",
            face,
            link.url,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=ROOT,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        async with asyncio.timeout(30):
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
