"""A scan of a store, of which each page is guarded by itself: a scan takes as long as the store is large."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import SupportsScan
from cachecore.store.call import Call
from cachecore.store.dispatch import Dispatch
from cachecore.store.partition import WHOLE_STORE

SCAN_DEADLINES: Final = 20
"""Deadlines that one page of a scan gets: a store may look at many keys to find a few."""


async def guarded_pages(calls: Dispatch, backend: SupportsScan, prefix: str) -> AsyncIterator[Sequence[str]]:
    """Yield the pages of the store's scan. Raises `BackendError` where one fails or is late."""
    whole = calls.partition(WHOLE_STORE)
    pages = backend.scan(prefix)
    budget = whole.patience * SCAN_DEADLINES
    between_pages = True
    try:
        while True:
            between_pages = False
            page = await calls.start(Call("scan", whole, budget, partial(anext, pages, None), prefix))
            between_pages = True
            if page is None:
                return
            yield page
    finally:
        close = getattr(pages, "aclose", None)
        if between_pages and close is not None and not calls.closed:
            with suppress(BackendError):  # counted where it happened; a scan that is left is of no use
                await calls.start(Call("scan", whole, whole.patience, close, prefix))
