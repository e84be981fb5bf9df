"""An index by vectors: questions are alike if their embeddings are. It chooses candidates; the laws decide as ever.

Needs numpy. Vectors are made in the background, in batches, when a partition is first searched; a search waits a second
for them and then makes do with what there is. Where some are there and many are missing it does not wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from cachecore.contract.errors import OptionsError
from cachecore_llm.similar.embedder import BATCH, Embedder
from cachecore_llm.similar.postings import MOST_MATCHES
from cachecore_llm.similar.protocol import Match

logger = logging.getLogger("cachecore.llm")

WAIT: Final = 1.0
"""Seconds that a search waits for the question's own vector, and for those that are missing: two at most."""
_BYTES_A_QUESTION: Final = 300


class EmbeddedIndex:
    """Questions found by the cosine of their vectors. For one event loop.

    Args:
        embedder: makes the vectors.
        threshold: the least cosine, over 0 to 1; it depends on the model: `calibrate` of
            `cachecore_llm.similar.calibration` over cosines of your own pairs, or the table in `docs/similar.md`.
        max_messages: questions that are held.
        max_chars: the longest question that is compared.
        max_bytes: memory for texts and vectors.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.88,
        max_messages: int = 10_000,
        max_chars: int = 2_000,
        max_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        try:
            import numpy
        except ImportError as error:
            raise OptionsError("an index by vectors needs numpy: pip install 'cachecore-llm[vectors]'") from error
        self._numpy: Any = numpy
        self._embedder = embedder
        self._threshold = threshold
        self._max_messages = max_messages
        self._max_chars = max_chars
        self._max_bytes = max_bytes
        self._partitions: OrderedDict[str, dict[str, bytes | None]] = OrderedDict()
        self._count = 0
        self._bytes = 0
        self._making: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """The memory of texts and vectors, in bytes, estimated."""
        return self._bytes

    def takes(self, question: str) -> bool:
        """Return whether `question` is of a length that is compared at all."""
        return self._max_messages > 0 and 0 < len(question) <= self._max_chars

    def add(self, partition: str, question: str) -> None:
        """Remember `question`. O(1); no vector is made yet."""
        if not self.takes(question):
            return
        found = self._partitions.setdefault(partition, {})
        self._partitions.move_to_end(partition)
        if question not in found:
            found[question] = None
            self._count += 1
            self._bytes += _bytes_of(question)
            self._make_room()

    def discard(self, partition: str, question: str) -> None:
        """Forget `question`."""
        found = self._partitions.get(partition)
        if found is None or question not in found:
            return
        vector = found.pop(question)
        self._count -= 1
        self._bytes -= _bytes_of(question) + len(vector or b"")
        if not found:
            del self._partitions[partition]

    async def search(self, partition: str, question: str) -> Sequence[Match]:
        """Return the questions alike enough, the most alike first, at most `MOST_MATCHES`; none if vectors fail."""
        found = self._partitions.get(partition)
        if found is None or not self.takes(question):
            return []
        try:
            async with asyncio.timeout(WAIT):  # what makes vectors may be away with the provider
                asked = (await self._embedder.vectors([question]))[0]
        except Exception as error:  # noqa: BLE001 - a model of the application's: no similar answer is no error
            logger.warning("no vector for a question: %s", type(error).__name__)
            return []
        task = self._task(partition)
        missing = sum(vector is None for vector in found.values())
        if missing <= BATCH or missing == len(found):
            await asyncio.wait({task}, timeout=WAIT)
        known = [(text, vector) for text, vector in found.items() if vector is not None and text != question]
        return await asyncio.to_thread(self._ranked, asked, known)

    def _task(self, partition: str) -> asyncio.Task[None]:
        task = self._making.get(partition)
        if task is None or task.done():
            task = self._making[partition] = asyncio.get_running_loop().create_task(self._make(partition))
            task.add_done_callback(lambda _: self._making.pop(partition, None))
        return task

    async def _make(self, partition: str) -> None:
        """Make the vectors that are missing, the newest questions first."""
        found = self._partitions.get(partition, {})
        missing = [text for text, vector in reversed(found.items()) if vector is None]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            try:
                vectors = await self._embedder.vectors(batch)
            except Exception as error:  # noqa: BLE001 - as above; the next search tries again
                logger.warning("no vectors for %d questions: %s", len(batch), type(error).__name__)
                return
            for text, vector in zip(batch, vectors, strict=True):
                if text in found and found[text] is None and self._partitions.get(partition) is found:
                    found[text] = vector
                    self._bytes += len(vector)
            self._make_room()

    def _ranked(self, asked: bytes, known: list[tuple[str, bytes]]) -> list[Match]:
        numpy = self._numpy
        alike = [(text, vector) for text, vector in known if len(vector) == len(asked)]
        if not alike:
            return []
        matrix = numpy.frombuffer(b"".join(vector for _, vector in alike), numpy.float32).reshape(len(alike), -1)
        cosines = matrix @ numpy.frombuffer(asked, numpy.float32)
        best = numpy.argsort(-cosines, kind="stable")[:MOST_MATCHES]
        return [
            Match(alike[place][0], min(1.0, float(cosines[place])))
            for place in best
            if float(cosines[place]) >= self._threshold
        ]

    def _make_room(self) -> None:
        while self._partitions and (self._count > self._max_messages or self._bytes > self._max_bytes):
            name, oldest = next(iter(self._partitions.items()))
            self.discard(name, next(iter(oldest)))


def _bytes_of(question: str) -> int:
    return 4 * len(question) + _BYTES_A_QUESTION
