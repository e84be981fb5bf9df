"""Vectors of texts by any callable, in batches, off the loop, and cached as embeddings are."""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from cachecore import Cache
from cachecore.contract.errors import CacheError, OptionsError
from cachecore_llm.similar.threads import Threads

Embed = Callable[[list[str]], Any]
"""`texts -> vectors`: one for each text, in their order, of one length; a numpy array or lists of floats. It may be a
coroutine function; one that is not runs in a thread, of which an embedder has four."""

BATCH: Final = 32
"""Texts that are embedded by one call at most."""
_THREADS: Final = 4
"""Calls of an embedder at once. Threads of its own: those that hang take none of the application's, which ends without
them."""


class EmbeddingError(CacheError):
    """An embedder did not give one vector for each text, all of one length and of finite numbers."""


class Embedder:
    """Vectors of unit length, as bytes of float32 in this machine's order.

    Args:
        embed: makes the vectors.
        cache: where they are kept; without one they are made anew by each process. Vectors of two models must not meet:
            give a `cache.scoped(…)` of its own to each.
    """

    def __init__(self, embed: Embed, cache: Cache[bytes] | None = None) -> None:
        if not callable(embed):
            raise OptionsError(f"an embedder needs a callable of a list of texts, such as MiniLM(), not {embed!r}")
        self._embed = embed
        self._cache = cache
        self._threads = Threads("cachecore-embed", _THREADS)

    async def vectors(self, texts: Sequence[str]) -> list[bytes]:
        """Return the vector of each text. Raises EmbeddingError, and the callable's own exceptions."""
        if self._cache is None:
            return await self._made(texts)
        found = await self._cache.get_or_set_many(texts, self._missing)
        return [found[text] for text in texts]

    async def _missing(self, texts: Sequence[str]) -> dict[str, bytes]:
        return dict(zip(texts, await self._made(texts), strict=True))

    async def _made(self, texts: Sequence[str]) -> list[bytes]:
        made: list[bytes] = []
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            made += await self._called(batch)
        return made

    async def _called(self, batch: list[str]) -> list[bytes]:
        """Return the vectors of one batch. Their numbers are read in the thread, too: of 32 texts up to 100,000."""
        if inspect.iscoroutinefunction(self._embed):
            return await self._threads.run(unit_vectors, await self._embed(batch), len(batch))
        made = await self._threads.run(self._embed, batch)
        return await self._threads.run(unit_vectors, await made if isinstance(made, Awaitable) else made, len(batch))


def unit_vectors(vectors: Any, count: int) -> list[bytes]:
    """Return `vectors`, whose length is `count`, each scaled to length 1 as float32. Raises EmbeddingError."""
    try:
        rows = [array("f", map(float, row)) for row in vectors]
    except (TypeError, ValueError, OverflowError):
        raise EmbeddingError(
            f"an embedder must give a list of numbers for each of {count} texts, not {type(vectors).__name__} of other "
            "values: for one text a list of one list"
        ) from None
    if len(rows) != count or len({len(row) for row in rows}) > 1 or not all(rows):
        raise EmbeddingError(f"an embedder gave {len(rows)} vectors for {count} texts, or not all of one length")
    made = []
    for row in rows:
        length = sum(value * value for value in row) ** 0.5
        if not 0 < length < float("inf"):  # NaN fails here too
            raise EmbeddingError("an embedder gave a vector of length 0, or of numbers that are not finite")
        made.append(array("f", (value / length for value in row)).tobytes())
    return made
