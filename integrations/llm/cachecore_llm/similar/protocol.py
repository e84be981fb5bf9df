"""The contract of an index of questions, for replacements by entry points of `cachecore.similarity`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

GROUP: Final = "cachecore.similarity"


class Match(NamedTuple):
    """A remembered question and how alike it is to the one asked, 0 to 1."""

    message: str
    similarity: float


@runtime_checkable
class SimilarityIndex(Protocol):
    """Questions by partition, found again by likeness. Any number of tasks and threads may call at once.

    An index holds questions only; what they mean and whether they still have answers is judged by others. Its entry
    point is a callable `(*, threshold, max_messages, max_chars, max_bytes) -> SimilarityIndex`.
    """

    @property
    def size_bytes(self) -> int:
        """The memory that it takes, in bytes, estimated; never more than it was allowed."""

    def __len__(self) -> int:
        """Return how many questions it holds."""

    def takes(self, question: str) -> bool:
        """Return whether `question` is of a length that is compared at all."""

    def add(self, partition: str, question: str) -> None:
        """Remember `question`. Within microseconds: it is called on the way of every answer."""

    def discard(self, partition: str, question: str) -> None:
        """Forget `question`: it has no answer any more."""

    async def search(self, partition: str, question: str) -> Sequence[Match]:
        """Return remembered questions alike to `question`, the most alike first; itself left out.

        Work of more than a millisecond happens off the event loop.
        """


MakeIndex = Any
"""`(*, threshold, max_messages, max_chars, max_bytes) -> SimilarityIndex`."""
