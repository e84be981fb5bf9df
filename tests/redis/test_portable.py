"""Where there are no forks, as on Windows, the backend is imported and works."""

from __future__ import annotations

import subprocess
import sys

from cachecore.testing.servers import Server

PROGRAM = """
import os
import sys

for name in ("fork", "register_at_fork"):
    vars(os).pop(name, None)

import asyncio

import cachecore_redis


async def main(url):
    backend = cachecore_redis.from_url(url)
    await backend.set_many({"k": b"v"}, ttl=60)
    print(await backend.get_many(["k", "none"]))
    await backend.aclose()


asyncio.run(main(sys.argv[1]))
"""


def test_without_forks(any_server: Server) -> None:
    """A set and a get on a real server, in a process in which `os` can neither fork nor tell of it."""
    program = [sys.executable, "-W", "error", "-c", PROGRAM, any_server.url]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "[b'v', None]\n"), done.stderr
