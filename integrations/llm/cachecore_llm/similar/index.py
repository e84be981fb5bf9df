"""The index of questions that comes with the package: bounded in questions and bytes, searched off the event loop.

Remembering a question costs a dict insert: what a search looks up is made by the first one, which happens only while no
provider answers, in slices in the thread of `worker`.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from itertools import islice
from typing import Final

from cachecore_llm.similar.postings import MOST_MATCHES, Postings
from cachecore_llm.similar.protocol import Match
from cachecore_llm.similar.worker import WORKER, Job, Worker, at_once

__all__ = ["MOST_MATCHES", "GramIndex"]

_BYTES_A_QUESTION: Final = 100
_PARTITION_BYTES: Final = 1_000


class GramIndex:
    """The questions that may have answers, by partition; the partition longest without news is forgotten first.

    Safe to use from several threads. Questions over a bound are forgotten, the oldest first: in questions one at a
    time, in bytes an eighth of a partition.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.60,
        max_messages: int = 10_000,
        max_chars: int = 2_000,
        max_bytes: int = 32 * 1024 * 1024,
        worker: Worker = WORKER,
    ) -> None:
        self._threshold = threshold
        self._max_messages = max_messages
        self._max_chars = max_chars
        self._max_bytes = max_bytes
        self._worker = worker
        self._lock = threading.Lock()
        self._partitions: OrderedDict[str, _Partition] = OrderedDict()  # guarded by _lock
        self._count = 0  # guarded by _lock
        self._bytes = 0  # of texts and postings; guarded by _lock

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """The memory of texts and postings in bytes, estimated."""
        return self._bytes

    def takes(self, question: str) -> bool:
        """Return whether `question` is of a length that is matched at all."""
        return self._max_messages > 0 and 0 < len(question) <= self._max_chars

    def add(self, partition: str, question: str) -> None:
        """Remember `question`. O(1); questions over the bounds are forgotten."""
        if not self.takes(question):
            return
        with self._lock:
            found = self._partitions.get(partition)
            if found is None:
                found = self._partitions[partition] = _Partition()
                self._bytes += _PARTITION_BYTES
            self._partitions.move_to_end(partition)
            if not found.add(question):
                return
            self._count += 1
            self._bytes += _bytes_of(question)
            while self._count > self._max_messages:
                self._forget_oldest(1)
            self._make_room()

    def discard(self, partition: str, question: str) -> None:
        """Forget `question`: it has no answer any more."""
        with self._lock:
            found = self._partitions.get(partition)
            if found is not None and found.discard(question):
                self._forgotten(partition, found, [question])

    async def search(self, partition: str, question: str) -> list[Match]:
        """Return the remembered questions alike enough to `question`, the most alike first, at most `MOST_MATCHES`."""
        if not self.takes(question):
            return []
        with self._lock:
            found = self._partitions.get(partition)
        return [] if found is None else await self._worker.run(self.job(found, question))

    def matches(self, partition: str, question: str) -> list[Match]:
        """Return as `search`, in the caller's thread and at once: for a program without an event loop to spare."""
        with self._lock:
            found = self._partitions.get(partition)
        return [] if found is None or not self.takes(question) else at_once(self.job(found, question))

    def job(self, found: _Partition, question: str) -> Job[list[Match]]:
        """Bring the postings of a partition up to date, then search it."""
        postings = yield from self._built(found)
        return (yield from postings.search(question, self._threshold))

    def _built(self, found: _Partition) -> Job[Postings]:
        with self._lock:
            postings = found.postings
            if postings is not None and postings.dead > len(postings):
                self._give_up(found)
                postings = None
            if postings is None:
                postings = found.postings = Postings()
                found.news.extend((question, True) for question in reversed(found.questions))  # the newest first
        yield
        while True:
            with self._lock:
                if found.postings is not postings or not found.news:  # given up to make room, or done
                    return postings
                question, known = found.news.popleft()
            if known:
                postings.add(question)
            else:
                postings.discard(question)
            with self._lock:
                if found.postings is postings:
                    self._bytes += postings.size_bytes - found.built_bytes
                    found.built_bytes = postings.size_bytes
                    self._make_room_for(found)
            yield

    def _make_room_for(self, building: _Partition) -> None:
        """Forget other partitions, the oldest first; then of this one its oldest questions, which are not built yet."""
        while self._bytes > self._max_bytes:
            name, oldest = next(iter(self._partitions.items()))
            if oldest is not building:
                self._give_up(oldest)
                gone = list(oldest.questions)
            else:
                gone = [question for question, known in building.news if known and question in building.questions]
                building.news.clear()
                if not gone:  # texts were added that leave no room for the postings
                    self._make_room()
                    return
            for question in gone:
                oldest.questions.pop(question, None)
            self._forgotten(name, oldest, gone)

    def _make_room(self) -> None:
        while self._bytes > self._max_bytes and self._partitions:
            oldest = next(iter(self._partitions.values()))
            self._give_up(oldest)
            if self._bytes > self._max_bytes:
                self._forget_oldest(max(1, len(oldest.questions) // 8))

    def _give_up(self, found: _Partition) -> None:
        """Drop the postings of a partition: their bytes come back only all together. The next search builds them."""
        self._bytes -= found.built_bytes
        found.postings, found.built_bytes = None, 0
        found.news.clear()

    def _forget_oldest(self, count: int) -> None:
        name, oldest = next(iter(self._partitions.items()))
        gone = list(islice(oldest.questions, count))
        for question in gone:
            oldest.discard(question)
        self._forgotten(name, oldest, gone)

    def _forgotten(self, name: str, found: _Partition, gone: list[str]) -> None:
        self._count -= len(gone)
        self._bytes -= sum(map(_bytes_of, gone))
        if not found.questions:
            self._give_up(found)
            self._bytes -= _PARTITION_BYTES
            del self._partitions[name]


class _Partition:
    """The questions of one partition, oldest first, and their postings."""

    def __init__(self) -> None:
        self.questions: dict[str, None] = {}
        self.postings: Postings | None = None
        self.built_bytes = 0
        self.news: deque[tuple[str, bool]] = deque()
        """Questions added (True) or forgotten since the postings were built; empty while there are none."""

    def add(self, question: str) -> bool:
        if question in self.questions:
            return False
        self.questions[question] = None
        if self.postings is not None:
            self.news.append((question, True))
        return True

    def discard(self, question: str) -> bool:
        if question not in self.questions:
            return False
        del self.questions[question]
        if self.postings is not None:
            self.news.append((question, False))
        return True


def _bytes_of(question: str) -> int:
    return sys.getsizeof(question) + _BYTES_A_QUESTION
