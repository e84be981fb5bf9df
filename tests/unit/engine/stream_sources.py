"""Factories of streams that the tests of streams share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from cachecore import Cache, Stream

WORDS = ("one ", "two ", "three ", "four ")


class Source:
    """A stream of `words`, each after `gap` seconds, that counts how often it began, ended, and was broken off.

    `fails_at` is the number of the chunk in place of which it raises, `hangs_at` that in place of which it waits.
    """

    def __init__(
        self, *words: str, gap: float = 0.01, fails_at: int | None = None, hangs_at: int | None = None
    ) -> None:
        self.words = words or WORDS
        self.gap = gap
        self.fails_at = fails_at
        self.hangs_at = hangs_at
        self.begun = 0
        self.ended = 0
        self.broken = 0

    async def __call__(self) -> AsyncIterator[str]:
        self.begun += 1
        try:
            for number, word in enumerate(self.words):
                await asyncio.sleep(self.gap)
                if number == self.fails_at:
                    raise ConnectionError("the provider cut")
                if number == self.hangs_at:
                    await asyncio.sleep(1e6)
                yield word
        except BaseException:
            self.broken += 1
            raise
        self.ended += 1


def joined(chunks: list[str]) -> str:
    return "".join(chunks)


def split(text: str) -> Iterator[str]:
    return (word + " " for word in text.split())


def ask(cache: Cache[Any], source: Any, request: Any = "q", **options: Any) -> Stream[str]:
    """Return a stream of words whose answer is their text."""
    return cache.stream(request, source, assemble=joined, replay=split, **options)


async def read(stream: Stream[Any], *, many: int | None = None, pause: float = 0.0) -> list[Any]:
    """Return the first `many` chunks of a stream, or all; then leave. Waits `pause` seconds before each."""
    chunks: list[Any] = []
    async with stream:
        while many is None or len(chunks) < many:
            if pause:
                await asyncio.sleep(pause)
            chunk = await anext(stream, None)
            if chunk is None:
                break
            chunks.append(chunk)
    return chunks
