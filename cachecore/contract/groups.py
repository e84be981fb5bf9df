"""Calls of one event loop that wait for a connection and become one statement of a store.

A thousand callers that begin at once make a thousand calls for keys of their own. A store that takes a statement for
each answers the last one long after its deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")

_MOST: Final = 256  # rows of one statement: with more, the first would wait for the last
Columns: TypeAlias = list[list[Any]]


class Groups(Generic[T]):
    """The statements that have not been sent, by their text, and the columns of their rows."""

    def __init__(self) -> None:
        self._open: dict[bytes, tuple[asyncio.Task[T], Columns]] = {}

    def join(
        self, statement: bytes, row: Sequence[Any], begin: Callable[[Columns], asyncio.Task[T]]
    ) -> asyncio.Task[T]:
        """Add `row`, the key first, to the statement that waits, or `begin` another; return the task that sends it.

        A key is in a statement once: the second call for it may depend on the first.
        """
        waiting = self._open.get(statement)
        if waiting is None or waiting[0].done() or row[0] in waiting[1][0] or len(waiting[1][0]) == _MOST:
            columns: Columns = [[] for _ in row]
            waiting = self._open[statement] = begin(columns), columns
        for column, value in zip(waiting[1], row, strict=True):
            column.append(value)
        return waiting[0]

    def close(self, statement: bytes) -> None:
        """Let no further row join: the statement is about to be sent."""
        self._open.pop(statement, None)
