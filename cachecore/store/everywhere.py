"""One call to each of several partitions, at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from cachecore.contract.errors import BackendError
from cachecore.store.partition import Partition

T = TypeVar("T")


async def everywhere(
    parts: Iterable[tuple[Partition, Sequence[str]]],
    start: Callable[[Partition, Sequence[str]], asyncio.Future[T]],
) -> list[T]:
    """Call each partition with its keys, at the same time; raise the first error once all have ended."""
    under_way: list[asyncio.Future[T]] = []
    answers: list[T] = []
    failure: BackendError | None = None
    for partition, part in parts:
        try:
            under_way.append(start(partition, part))
        except BackendError as error:
            failure = failure or error
    for answer in under_way:
        try:
            answers.append(await answer)
        except BackendError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return answers
