"""An index filled from the store: after a restart a process knows no question, and the store knows them all.

A partition is filled when it is first searched, in the background: the answers of its namespace are read, and of those
that hold a question the key tells whether they are of this partition. Filled again only after a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cachecore import Cache, CacheError
from cachecore_llm.similar.protocol import SimilarityIndex

V = TypeVar("V")

logger = logging.getLogger("cachecore.llm")

MOST: Final = 10_000
"""Entries that are looked at for one partition."""
TIMEOUT: Final = 30.0
"""Seconds after which a filling ends with the questions it has."""
AGAIN: Final = 300.0
"""Seconds after which a partition is filled once more, when it is searched."""
_MOST_PARTITIONS: Final = 4096


class Filler:
    """Fills an index, each partition once in a while and by one task however many ask."""

    def __init__(self, index: SimilarityIndex) -> None:
        self._index = index
        self._filled: OrderedDict[str, float] = OrderedDict()  # partition -> when its filling began, by the loop's time
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def filled(
        self,
        view: Cache[V],
        partition: str,
        request: Callable[[str], Any],
        question_of: Callable[[V], str | None],
        *,
        wait: float,
    ) -> None:
        """Begin to fill `partition` unless that was done of late; wait for it for at most `wait` seconds.

        Further arguments as in `AnsweredQuestions.answer`. Never raises.
        """
        task = self._tasks.get(partition)
        loop = asyncio.get_running_loop()
        if task is None or task.get_loop() is not loop:
            began = self._filled.get(partition)
            if began is not None and began <= loop.time() < began + AGAIN:
                return
            self._filled[partition] = loop.time()
            self._filled.move_to_end(partition)
            if len(self._filled) > _MOST_PARTITIONS:
                self._filled.popitem(last=False)
            task = self._tasks[partition] = loop.create_task(self._fill(view, partition, request, question_of))
            task.add_done_callback(lambda done: self._ended(partition, done))
        if wait > 0:
            await asyncio.wait({task}, timeout=wait)

    def _ended(self, partition: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(partition) is task:
            del self._tasks[partition]

    async def _fill(
        self, view: Cache[V], partition: str, request: Callable[[str], Any], question_of: Callable[[V], str | None]
    ) -> None:
        index = self._index
        try:
            async with asyncio.timeout(TIMEOUT):
                async for key, value in view.contents(most=MOST):
                    question = question_of(value)
                    if question is not None and index.takes(question) and view.key(request(question)) == key:
                        index.add(partition, question)
        except (CacheError, TimeoutError) as error:
            logger.warning("the questions of a partition could not all be read: %s", type(error).__name__)
