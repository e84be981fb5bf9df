"""Check every peer that is installed: `python -m benchmarks.peers`.

An answer is absent until it is stored, and that to another request stays absent. A peer with misses that look like hits
would be measured at work that it does not do.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from typing import Final

from benchmarks.peers.interface import Store, SyncStore
from benchmarks.running.work import ANSWER, chat_request, server, with_part

PARTS: Final = ("memory", "redis", "disk")


async def wrong(store: Store) -> str:
    """Return what is wrong with an empty store; nothing if all is right."""
    if await store.get(chat_request(1)) is not None:
        return "an answer that was not stored is there"
    await store.set(chat_request(1), ANSWER)
    if await store.get(chat_request(1)) is None:
        return "an answer that was stored is not there"
    if await store.get(chat_request(2)) is not None:
        return "the answer to one request is given to another"
    return ""


def wrong_in_plain_code(store: SyncStore) -> str:
    """Return the same for a store for plain code."""

    async def get(number: int) -> object:
        return store.get(chat_request(number))

    async def put() -> object:
        return store.set(chat_request(1), ANSWER)

    async def check() -> str:
        return await wrong(Store(lambda request: get(1 if request == chat_request(1) else 2), lambda *_: put()))

    return asyncio.run(check())


async def checked(url: str, folder: str) -> int:
    failed = 0
    for part in PARTS:
        for database, (peer, opens) in enumerate(with_part(part), 1):
            place = {"memory": "", "redis": f"{url.removesuffix('/0')}/{database}", "disk": folder}[part]
            async with opens(place) as store:
                fault = await wrong(store)
            print(f"{peer.name:44}{part:8}{fault or 'right'}")
            failed += bool(fault)
    return failed


def main() -> int:
    """Check all peers; return how many are wrong."""
    with server() as url, tempfile.TemporaryDirectory() as folder:
        failed = asyncio.run(checked(url, folder))
        for peer, opens in with_part("disk_sync"):
            with opens(folder) as store:
                fault = wrong_in_plain_code(store)
            print(f"{peer.name:44}{'plain':8}{fault or 'right'}")
            failed += bool(fault)
    return failed


if __name__ == "__main__":
    sys.exit(main())
