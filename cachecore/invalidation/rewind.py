"""The marks: counters in the store that each invalidation advances, by which a process sees that the store is older.

A store that is restored from a snapshot, or replaced by a replica that lagged, has its old answers back and its
old mark with them. A process that knows a higher number than it reads knows that as many invalidations are lost.
`mark.Mark` keeps the knowledge of one mark and judges it, without I/O; `Marks` checks all reads, and repairs.

A number begins with the store's clock, in microseconds, and rises by one. So a mark that is made again is above every
number that any process knows of the lost one, and a mark that a snapshot brings back is below. One that rises by a leap
was made again, or raised by a process that has invalidated everything: the known stamps may be too old then.

**An absent mark proves nothing.** Where the store evicts, the mark may go like any other key, and where it was
flushed or came back empty there is no answer that could come back. A store that went back to a time before its first
mark would have no mark either, but no answer of ours is older than the mark: it is made before the first answer is
stored. So a missing mark is made again and nothing is invalidated, and eviction costs no answers. The exception is a
snapshot taken in the moment between the eviction of a mark and its return, at most a heartbeat later.

**Limits of a mark.** It counts invalidations without naming them: where invalidations are lost, and a process
that had known none of them makes as many new ones before any process that had has read the mark, the number is as high
as before. A process sends its own invalidations of the last seconds again in any case when its feed comes back.

Each read of the store carries its mark, in the same command where the store has one for several keys. So the values are
judged by the mark of the same moment, over any connection, new or old. The heartbeat of the feed reads the mark too, so
that a process that reads nothing else knows how far the store has come.

A process that finds the store behind trusts none of its values. If it remembers all that was lost, it sends that again.
Else it deletes the stamp of the root, by a swap from the stamp that came back, so that one process succeeds, and then
raises the mark, which lets every process trust the store again. The order matters: if the process dies in between, the
low mark alarms the others. At most once a minute: where the store goes back again sooner, which a snapshot does not
do but a balancer before two servers does, its answers are computed until the minute is over.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import CacheBackend, SupportsMarks
from cachecore.invalidation.mark import FLOOR, Mark, number_of
from cachecore.invalidation.outbox.backlog import Invalidation, Root
from cachecore.invalidation.outbox.sender import FULL

logger = logging.getLogger("cachecore")

REWOUND: Final = "rewound"
"""The reason of a read with untrusted values: the mark has gone back, or was made again since the last look."""
CALM: Final = 60.0
"""Seconds between two invalidations of the root because the store has gone back."""
_TRIES: Final = 8
_SHARE: Final = 4
"""Heartbeats in which the marks of a store with many are read in turn."""

T = TypeVar("T")


class Marks:
    """The marks of one store in one process. Safe to use from several threads.

    Args:
        backend: the store; without `SupportsMarks` there are no marks, and nothing here does anything.
        root: the root of all keys; the marks lie outside its prefix, where the feed does not report them.
        now, unix: monotonic seconds, and the store's clock.
        send_again: called with the remembered invalidations that the store has lost.
        distrust: told the stamp keys of the root when the store has gone back: nothing known of it holds.
    """

    def __init__(
        self,
        backend: CacheBackend,
        *,
        root: Root,
        now: Callable[[], float],
        unix: Callable[[], float],
        send_again: Callable[[list[Invalidation]], None],
        distrust: Callable[[Collection[str]], None],
    ) -> None:
        self._backend = backend
        self._advance: Callable[[str], Awaitable[int]] | None = None
        if isinstance(backend, SupportsMarks):
            self._advance = backend.advance
        self._now = now
        self._unix = unix
        self._send_again = send_again
        self._distrust = distrust
        stamp_keys = root.stamp_keys
        self._sharded = len(stamp_keys) > 1
        tags = [f"{{{n}}}" if self._sharded else "" for n in range(len(stamp_keys))]
        self._marks = [Mark(f"{root.prefix}.m:{tag}", key) for tag, key in zip(tags, stamp_keys, strict=True)]
        self._repairing: set[Mark] = set()
        self._said_at = -math.inf
        self._turn = 0

    @property
    def state(self) -> str:
        """`none`: the store has no marks; `behind`: it has gone back and is not trusted now; else `ok`."""
        if self._advance is None:
            return "none"
        return "behind" if any(mark.behind for mark in self._marks) else "ok"

    def after_fork(self) -> None:
        """Start anew in a child process: repairs that the parent has begun are left to the parent."""
        self._repairing = set()

    # Reads

    def of(self, keys: Iterable[str]) -> dict[Mark, int]:
        """Return the marks that a read of `keys` must carry, each with its known number before the read is sent."""
        if self._advance is None:
            return {}
        if not self._sharded:
            mark = self._marks[0]
            return {mark: mark.known}
        return {mark: mark.known for mark in {self._of(key) for key in keys}}

    def _of(self, key: str) -> Mark:
        if not self._sharded:
            return self._marks[0]
        opened = key.rindex("{")
        return self._marks[int(key[opened + 1 : key.index("}", opened)])]

    def due(self) -> list[str]:
        """Return the keys of the marks that this heartbeat reads."""
        if self._advance is None:
            return []
        if not self._sharded:
            return [self._marks[0].key]
        self._turn = (self._turn + 1) % _SHARE
        return [mark.key for mark in self._marks[self._turn :: _SHARE]]

    def stand(self, marks: Mapping[Mark, int], values: Mapping[str, bytes | None]) -> bool:
        """Return whether the values of a read can be trusted and `judge` has nothing to do; `marks` as for it."""
        for mark, expected in marks.items():
            number = number_of(values[mark.key])
            if number is None or number < expected or mark.behind or mark.missing or mark.owed or mark.leaps_to(number):
                return False
            mark.known = max(mark.known, number)
        return True

    def judge(
        self,
        marks: Mapping[Mark, int],
        values: Mapping[str, bytes | None],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> bool:
        """Return whether the values of a read can be trusted; `marks` is the result of `of` before it was sent."""
        trusted = True
        for mark, expected in marks.items():
            data = values[mark.key]
            verdict = mark.see(data, expected)
            if verdict == "behind" and not self._remembered(mark, number_of(data)):
                trusted = False
                self._alarm(mark, spawn)
            elif verdict == "leapt":
                trusted = False
                self._distrust([mark.root])
            if mark.owed:
                mark.owed = False
                spawn(self._pay(mark), "cachecore-mark")
        return trusted

    def _remembered(self, mark: Mark, number: int | None) -> bool:
        """Send again the invalidations lost since the mark was at `number`, if all of them are remembered here."""
        lost = None if number is None or mark in self._repairing else mark.lost(number, self._now())
        if number is None or lost is None:
            return False
        mark.go_back(number)
        logger.info("the store has gone back in time and is told %d invalidations again", len(lost))
        self._send_again(lost)
        return True

    def _alarm(self, mark: Mark, spawn: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        if mark in self._repairing:
            return
        now = self._now()
        if now < mark.invalidated_at + CALM:
            if now >= self._said_at + CALM:
                self._said_at = now
                left = mark.invalidated_at + CALM - now
                logger.warning("the store has gone back in time again: nothing in it is trusted for %.0f s", left)
            return
        self._repairing.add(mark)
        self._distrust([mark.root])
        spawn(self._repair(mark), "cachecore-mark")

    async def _repair(self, mark: Mark) -> None:
        """Invalidate the root, unless another process has, and raise the mark. A failure is left to the next read."""
        try:
            data, stamp = await self._backend.get_many([mark.key, mark.root])
            number = number_of(data)
            if number is not None and mark.leaps_to(number):
                mark.repaired(number)  # by another process
                return
            won = stamp is not None and await self._backend.swap(mark.root, stamp, None, ttl=None)
            mark.invalidated_at = self._now()
            while not await self._backend.swap(mark.key, data, b"%d" % (above := mark.above(self._unix())), ttl=None):
                (data,) = await self._backend.get_many([mark.key])
            mark.repaired(above)
            if won:
                logger.warning(
                    "the store has gone back in time, as after a snapshot or with a replica that lagged: "
                    "every answer under %s is invalidated",
                    mark.root,
                )
        except BackendError:
            mark.invalidated_at = -math.inf
        finally:
            self._repairing.discard(mark)
            self._distrust([mark.root])

    # Writes

    async def beside(self, items: Sequence[Invalidation], begin: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the write that `begin` starts, and advance the marks of the `items` that it removes.

        The write begins in here: a caller that is cancelled before leaves no coroutine that is never awaited.
        A store that is full may have no room for an advance: it is made up for later. Raises BackendError.
        """
        if self._advance is None or not items:
            return await begin()
        by_mark: dict[Mark, list[Invalidation]] = {}
        for item in items:
            by_mark.setdefault(self._of(item.name), []).append(item)
        write = begin()
        if isinstance(write, asyncio.Future):  # under way by now
            return await self._behind(write, by_mark)
        advances = [self._advanced(mark, part) for mark, part in by_mark.items()]
        first, *outcomes = await asyncio.gather(write, *advances, return_exceptions=True)
        for outcome in (first, *outcomes):
            if isinstance(outcome, BaseException):
                raise outcome
        return first  # type: ignore[return-value] # no exception, by the lines above

    async def within(self, items: Sequence[Invalidation], write: Callable[[str], Awaitable[int | None]]) -> None:
        """Carry out a write that removes `items` in a store with one mark, and advances that in the same call.

        `write` gets the key of the mark, and returns its number, None if there was no room for it. Raises BackendError.
        """
        mark = self._marks[0]
        expected = mark.known
        number = await write(mark.key)
        if number is None:
            mark.owed = True
        else:
            await self._advanced(mark, items, (expected, _given(number)))

    async def _behind(self, write: asyncio.Future[T], by_mark: Mapping[Mark, Sequence[Invalidation]]) -> T:
        """Advance marks right behind a write that has begun, without a task for each."""
        assert self._advance is not None  # noqa: S101 - asked by the caller
        failure: BackendError | None = None
        advances = []
        for mark, items in by_mark.items():
            try:
                advances.append((mark, items, (mark.known, self._advance(mark.key))))
            except BackendError as error:  # refused at once
                failure = failure or error
        result: T | None = None
        try:
            result = await write
        except BackendError as error:
            failure = error
        for mark, items, begun in advances:
            try:
                await self._advanced(mark, items, begun)
            except BackendError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value] # the result of the write, which has not failed

    async def _advanced(
        self, mark: Mark, items: Sequence[Invalidation], begun: tuple[int, Awaitable[int]] | None = None
    ) -> None:
        """Raise a mark for `items`; `begun` is a first advance under way, and the number that was known before it."""
        assert self._advance is not None  # noqa: S101 - asked by the callers
        expected, advance = begun or (mark.known, None)
        for _ in range(_TRIES):
            try:
                number = await (advance or self._advance(mark.key))
                advance = None
            except BackendError as error:
                if error.reason != FULL:
                    raise
                mark.owed = True
                return
            if number < FLOOR:  # it was not there
                above = mark.above(self._unix())
                if not await self._backend.swap(mark.key, b"%d" % number, b"%d" % above, ttl=None):
                    continue
                number = above
            elif number <= min(expected, mark.known):
                if mark.is_old_news(expected):
                    expected = mark.known
                    continue
                mark.behind = not self._remembered(mark, number - 1)  # the next read sees to it
            mark.advanced(number, items, self._now())
            return
        raise BackendError("advance", transient=True)

    async def _pay(self, mark: Mark) -> None:
        try:
            await self._advanced(mark, ())
        except BackendError:
            mark.owed = True

    async def create(self, keys: Iterable[str]) -> None:
        """See that there are marks for `keys` before anything is stored under them. Raises BackendError."""
        for mark in [mark for mark in self.of(keys) if mark.missing]:
            above = mark.above(self._unix())
            if await self._backend.swap(mark.key, mark.there, b"%d" % above, ttl=None):
                mark.known = above
            mark.missing = False  # else another process has made it, and the next read says which it is

    def lacks(self, keys: Iterable[str]) -> bool:
        """Return whether `create` has something to do. Cheap."""
        return any(mark.missing for mark in self.of(keys))


async def _given(number: int) -> int:
    return number
