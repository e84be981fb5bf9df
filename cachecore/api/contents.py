"""The answers in a namespace, for readers of all of them: an index, an export, a report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from cachecore.api.view import View
from cachecore.contract.errors import OptionsError
from cachecore.contract.results import StoredEntry
from cachecore.engine import contents as engine
from cachecore.engine import delete as deleting
from cachecore.engine.writing import carried

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

    async def delete_key(self, key: str) -> bool:
        """Delete the answer under `key`, as `entries` tells it; return whether there was one.

        Raises:
            OptionsError: `key` is none of this namespace or of those below it.
            InvalidationPending: as `delete`.
        """
        given: object = key
        if not isinstance(given, str) or not key.startswith(self._scope.keys.scan_prefixes()):
            prefix = self._scope.keys.scan_prefixes()[0]
            raise OptionsError(f"delete_key takes keys of this cache, which begin with {prefix!r}, not {key!r}")
        with self._span("cachecore.delete"):
            return bool(
                await carried(self._open("delete_key"), deleting.delete(self._scope, self._engine.state(), [key]))
            )
