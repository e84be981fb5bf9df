"""The events in the body of an HTTP answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from cachecore_llm.wire import EventDecoder, JsonObject, WireProtocol

_DRAIN_SECONDS: Final = 0.02
"""How long the end of a body is waited for after its last event: a connection that is read to its end is used again."""


async def decoded(protocol: WireProtocol, chunks: AsyncIterator[bytes]) -> AsyncIterator[JsonObject]:
    """Yield the events in `chunks`, up to the protocol's own mark of the end. Raises UnreadableStreamError."""
    decoder = EventDecoder()
    async for chunk in chunks:
        for sent in decoder.feed(chunk):
            if protocol.is_end(sent):
                return
            event = protocol.event_of(sent)
            if event is not None:
                yield event


async def drained(chunks: AsyncIterator[bytes]) -> None:
    """Read the end of a body whose last event has come."""
    with contextlib.suppress(Exception):  # the answer is whole; a connection that breaks now is not used again
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                pass
