"""Purges: the selections, the number of their entries, and the purge itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple, get_args

from cachecore import Cache, InvalidationPending, OptionsError
from cachecore_llm import ResponseCache
from cachecore_llm.policy.prompts import Selection
from cachecore_proxy.activity import Name
from cachecore_proxy.admin.listing import Line, Wanted, entries_of, line_of, ordered
from cachecore_proxy.admin.places import Places, prompt_segments, tenant_segment

logger = logging.getLogger("cachecore.proxy.page")

Kind = Literal["entry", "prompt", "tenant", "tag", "model"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
MOST_COUNTED: Final = 50_000
COUNT_SECONDS: Final = 5.0
PATIENCE: Final = 10.0
"""Seconds that a page waits for a purge."""
_SHOWN: Final = 5
_MOST_TEXT: Final = 1000


class Target(NamedTuple):
    """The entries to purge. Made by `target_of`."""

    kind: Kind
    name: str

    @property
    def words(self) -> str:
        """Return it in words."""
        return {
            "entry": "one entry",
            "prompt": f"every answer to the prompt {self.name}, and to those named below it",
            "tenant": f"every answer of the tenant {self.name}",
            "tag": f"every answer with the tag {self.name}",
            "model": f"every answer of the model {self.name}",
        }[self.kind]


class Counted(NamedTuple):
    """How many entries a target is."""

    number: int
    complete: bool
    """Whether that is all of them; else there may be more."""
    examples: list[Line]


def target_of(kind: str, name: str) -> Target:
    """Return a target. Raises OptionsError if there is no such kind, or `name` can be no name of it."""
    if kind not in KINDS:
        raise OptionsError(f"one of {', '.join(KINDS)} can be purged, not {kind[:40]!r}")
    if not name or len(name) > _MOST_TEXT:
        raise OptionsError(f"the {kind} to purge needs a name of 1 to {_MOST_TEXT} characters")
    if kind == "prompt":
        prompt_segments(name)
    return Target(kind, name)  # type: ignore[arg-type]  # it is one of KINDS


async def count(root: Cache[Any], target: Target, names: Iterable[Name]) -> Counted:
    """Return how many entries a purge of `target` makes invalid. Bounded in entries and seconds."""
    if target.kind == "entry":
        places = Places(names)
        lines = [line_of(entry, places) async for entry in root.entries(keys=[target.name])]
        return Counted(len(lines), True, lines)
    wanted = {
        "prompt": Wanted(prompt=target.name),
        "tenant": Wanted(tenant=target.name),
        "tag": Wanted(tag=target.name),
        "model": Wanted(model=target.name),
    }[target.kind]
    found = await entries_of(root, wanted, names, most=MOST_COUNTED, keep=_SHOWN, seconds=COUNT_SECONDS)
    return Counted(found.matched, found.complete, ordered(found.lines, "newest"))


class Purges:
    """Purges of one cache, those that go on behind their requests included."""

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self._under_way: set[asyncio.Task[int | None]] = set()

    async def purge(self, target: Target) -> str:
        """Make the answers of `target` invalid in every process, at once; return how that ended, in words."""
        logger.info("the page purges a %s: %r", target.kind, target.name[:200])
        task = asyncio.ensure_future(_purged(self._cache, target))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if not done:
            return f"Purging {target.words}: the store is slow, and it goes on behind this page."
        try:
            deleted = task.result()
        except InvalidationPending:
            return (
                f"The store has not acknowledged the purge of {target.words}. In this process it holds already; it is "
                "delivered by itself as soon as the store answers."
            )
        if deleted is None:
            return f"Purged {target.words}."
        return f"Purged {target.words}: {deleted:,} deleted."

    async def aclose(self) -> None:
        """Cancel the purge under way; answers already invalid stay so."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _ended(self, task: asyncio.Task[int | None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a purge ended with %s", type(error).__name__)


async def _purged(cache: ResponseCache, target: Target) -> int | None:
    """Purge; return how many entries were deleted, None if that is not known. Raises InvalidationPending."""
    root, name = cache.flow.root, target.name
    if target.kind == "entry":
        return await root.delete_keys([name])
    if target.kind == "prompt":
        segments = prompt_segments(name)
        return await cache.invalidate_selections([Selection("/".join(segments), "name", segments)])
    if target.kind == "tenant":
        return await root.invalidate_prefix(tenant_segment(name))
    if target.kind == "model":
        await cache.invalidate_model(name)
    else:
        await root.invalidate_tags(name)
    return None
