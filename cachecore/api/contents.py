"""The answers in a namespace, for readers of all of them: an index, an export, a report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from cachecore.api.view import View
from cachecore.contract.errors import OptionsError
from cachecore.contract.results import StoredEntry
from cachecore.engine import contents as engine

V = TypeVar("V")


class Contents(View[V]):
    """Reads answers without their requests."""

    __slots__ = ()

    def contents(self, *, most: int = 10_000, below: bool = False) -> AsyncIterator[tuple[str, V]]:
        """Yield key and value of each answer in this namespace that may be served.

        Fresh and stale ones, checked as every read is, in no order; counted as no hit and kept nowhere. Ends early
        where the store stops answering, and yields nothing where it cannot list its keys.

        Args:
            most: keys that are looked at, at most.
            below: whether the answers in the namespaces below this one are yielded as well.

        Raises:
            OptionsError: `most` is below 1.
            CacheError: the cache is closed.
        """
        if most < 1:
            raise OptionsError(f"most must be 1 or more, not {most!r}")
        return engine.contents(self._scope, self._open("contents"), most, below)

    def entries(
        self,
        *,
        keys: Sequence[str] | None = None,
        where: Callable[[str], bool] | None = None,
        most: int = 10_000,
    ) -> AsyncIterator[StoredEntry[V]]:
        """Yield the facts of each answer in this namespace and those below it that may be served, for an operator.

        Fresh and stale ones, checked as every read is, in no order; counted as no hit and kept nowhere. Values are
        decoded when they are asked for. Ends as `contents` does.

        Args:
            keys: only these, as a lookup or an earlier listing told them.
            where: given each namespace below this cache's own (`faq/v3`), says whether what lies there is wanted; what
                is not is not read.
            most: answers that are looked at, at most.

        Raises:
            OptionsError: `most` is below 1.
            CacheError: the cache is closed.
        """
        if most < 1:
            raise OptionsError(f"most must be 1 or more, not {most!r}")
        return engine.entries(self._scope, self._open("entries"), keys, where, most)
