"""LangChain's cache in memory: a prompt and a description of the model as text, a list of generations as value."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.peers.interface import Peer, Request, Store


@asynccontextmanager
async def _opened(place: str) -> AsyncIterator[Store]:
    from langchain_core.caches import InMemoryCache
    from langchain_core.outputs import Generation

    cache = InMemoryCache()

    def parts(request: Request) -> tuple[str, str]:
        model = {name: value for name, value in request.items() if name != "messages"}
        return json.dumps(request["messages"]), json.dumps(model, sort_keys=True)

    yield Store(
        lambda request: cache.alookup(*parts(request)),
        lambda request, value: cache.aupdate(*parts(request), [Generation(text=value["content"])]),
    )


PEERS = [
    Peer(name="LangChain", module="langchain_core", package="langchain-core", memory=_opened),
]
