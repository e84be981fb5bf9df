"""The answers that a cache may give: the history of a simulation, and the promises it must keep.

Every value is numbered and remembered with the moment from which on it is old: for a computed one the moment at which
its factory began, for a written one the moment at which its writer knew that it was there. Every invalidation, `set`
and `delete` that was acknowledged (or became pending, for the process that asked) is a *cut*: a call that starts after
it must not be given a value that was old when the cut began. Other processes are granted `l1_max_age` to hear of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_ROOT: Final = "cc:s:n"
SLACK: Final = 1.0
"""Seconds by which a process's idea of the store's clock may be wrong here, rounding included."""
LATE_WRITE: Final = 7.0
"""Seconds in which a write that was not acknowledged may still turn up: until the deletion is sent a second time."""


SLOW_READ: Final = 0.2
"""Seconds after which a call that finds no answer has joined a computation, where nothing is wrong."""


class Wrong(AssertionError):  # noqa: N818 - names the state of the cache
    """The cache broke a promise."""


@dataclass(slots=True, eq=False)
class Made:
    """A value and its origin."""

    number: int
    name: str
    process: str
    old_from: float
    """Moment from which on it is as old as a cut that begins later."""
    tags: dict[str, float]
    """Tag -> moment from which the value is protected from older invalidations of it."""
    ttl: float
    began_at: float
    at: float = math.inf
    """Second at which it was made; infinity while it is being made."""
    first_seen: float = math.inf
    """Moment at which a caller first had it."""
    unsure_until: float = -math.inf
    """Second until which it may still turn up: it was written, and the store did not say so."""
    late_tags: tuple[str, ...] = ()
    """Tags named only with the value: they count from when a caller first had it."""


@dataclass(slots=True, eq=False)
class Cut:
    """An invalidation, `set` or `delete` that the cache has answered for."""

    process: str
    kind: str
    began: float
    began_at: float
    known: float
    """Moment from which on the process that asked must heed it."""
    told: float = math.inf
    """Moment at which the store had acknowledged it."""
    told_at: float = math.inf
    """The same in seconds of the loop."""
    awaited: set[str] = field(default_factory=set)
    """Keys of the store that must be invalidated again, since a failover has undone it."""
    store_keys: tuple[str, ...] = ()
    above: frozenset[str] = frozenset()
    """Stamps of namespaces that hold all of it: invalidating one of them is as good."""
    undone_at: float = -math.inf
    """Second at which a failover undid it."""
    done_at: float = math.inf
    """Second at which the store had carried it out; its process may have learned of that later, after a stall."""
    acted_at: float = math.inf
    """Second at which its process last changed one of its keys in the store."""
    seen_at: float = math.inf
    """Second at which its process could see, by the mark, that it was undone."""
    only_fresh: bool = False
    """Whether older values may still be served as stale, as after `expire`."""


@dataclass(slots=True, eq=False)
class Asked:
    """One call under way."""

    process: str
    name: str
    moment: float
    at: float
    tags: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Streaming:
    """One stream under way."""

    began: float
    tags: set[str]
    """Those of its first reader, and those that its factory has pinned."""


class Oracle:
    """The history of a simulation, and the judgement of answers.

    `now` returns the seconds of the loop; `l1_max_age` is that of all caches, `windows` the longest time for which
    they may serve stale answers. `strict`: nothing but `disturb` lets a process compute a key twice at a time.
    """

    def __init__(self, now: Callable[[], float], *, l1_max_age: float, windows: float, strict: bool) -> None:
        self._now = now
        self._max_age = l1_max_age
        self._windows = windows
        self._strict = strict
        self.made: dict[int, Made] = {}
        self.answers = 0
        self.broken: Wrong | None = None
        """The first violation that a factory noticed."""
        self.cuts: defaultdict[str, list[Cut]] = defaultdict(list)
        self._cuts: list[Cut] = []
        self._moment = 0.0
        self._failed_over_at = -math.inf
        self._acted: dict[tuple[str, str], float] = {}  # (process, key) -> second of its last change
        self._looked: set[str] = set()  # processes that have read the mark since then
        self._computing: defaultdict[tuple[str, str], list[Asked]] = defaultdict(list)
        self._streaming: defaultdict[tuple[str, str], list[Streaming]] = defaultdict(list)
        self._failed: defaultdict[tuple[str, str], list[Made]] = defaultdict(list)
        self._disturbed: defaultdict[tuple[str, str], float] = defaultdict(lambda: -1.0)
        self._streamed: defaultdict[tuple[str, str], float] = defaultdict(lambda: -1.0)
        """Second at which a stream last began or ended: it waits for no computation, and later callers wait for it."""
        self._parted: defaultdict[tuple[str, str], float] = defaultdict(lambda: -1.0)

    def moment(self) -> float:
        """Return a number larger than all before."""
        self._moment += 1
        return self._moment

    # Events

    def make(self, process: str, name: str, tags: Iterable[str], ttl: float) -> Made:
        """Take note that a value is being made from now on."""
        born = self.moment()
        made = Made(len(self.made) + 1, name, process, born, dict.fromkeys(tags, born), ttl, self._now())
        self.made[made.number] = made
        return made

    def computing(self, asked: Asked, *, batch: bool) -> None:
        """A factory begins, for a call alone or as part of a batch."""
        process, name = asked.process, asked.name
        active = self._computing[process, name]
        calm_since = max(self._disturbed[process, name], self._disturbed[process, ""])
        unstreamed_since = max(calm_since, self._streamed[process, name])
        parted = asked.at < self._streamed[process, name]
        if self._strict and not parted and any(other.at > unstreamed_since for other in active):
            raise self._broken(f"{process} computes {name} twice at a time, and nothing asked for it")
        if not batch and self._shared_stream(asked, calm_since):
            raise self._broken(f"{process} computes {name} for a call that came while a stream of it ran")
        for failed in self._failed[process, name]:
            if self._strict and not batch and failed.began_at > max(asked.at, unstreamed_since):
                raise self._broken(
                    f"{process} computes {name} again for a call that waited for value {failed.number} to fail"
                )
        active.append(asked)

    def failed(self, process: str, made: Made) -> None:
        """The factory of a value has failed: all callers that waited for it must get the error."""
        if self._now() - made.began_at > SLOW_READ:
            self._failed[process, made.name].append(made)

    def computed(self, asked: Asked) -> None:
        """A factory has ended."""
        active = self._computing[asked.process, asked.name]
        active[:] = [one for one in active if one is not asked]

    def _broken(self, problem: str) -> Wrong:
        """Keep a violation that a factory has noticed: its caller may answer the error with a stale answer."""
        self.broken = self.broken or Wrong(problem)
        return self.broken

    def streaming(self, asked: Asked) -> Streaming:
        """A stream begins; return the argument for `streamed`."""
        process, name = asked.process, asked.name
        if self._shared_stream(asked, max(self._disturbed[process, name], self._disturbed[process, ""])):
            raise self._broken(f"{process} streams {name} for a reader that came while a stream of it ran")
        self._streamed[process, name] = self._now()
        stream = Streaming(self._now(), set(asked.tags))
        self._streaming[process, name].append(stream)
        return stream

    def _shared_stream(self, asked: Asked, calm_since: float) -> bool:
        """Whether a stream runs that the call should have joined or waited for.

        A call without a tag of the stream has not read that tag's stamp: it may have no proof that the stream is valid.
        """
        process, name = asked.process, asked.name
        since = max(calm_since, self._parted[process, name], self._parted[process, ""])
        return self._strict and any(
            since < stream.began < asked.at and stream.tags.issubset(asked.tags)
            for stream in self._streaming[process, name]
        )

    def streamed(self, asked: Asked, stream: Streaming) -> None:
        """A stream has ended, or its last reader has left."""
        self._streaming[asked.process, asked.name].remove(stream)
        self._streamed[asked.process, asked.name] = self._now()

    def disturb(self, process: str, name: str = "", seconds: float = 0.0) -> None:
        """Up to so many seconds from now the computations of `name` (or all) in this process may be parted from it."""
        self._disturbed[process, name] = self._now() + seconds

    def part(self, process: str, name: str, seconds: float) -> None:
        """Streams of `name` (or all) that begin up to so many seconds from now may be parted from later readers."""
        self._parted[process, name] = self._now() + seconds

    def ask(self, process: str, name: str, tags: tuple[str, ...] = ()) -> Asked:
        """Take note of a call that begins."""
        return Asked(process, name, self.moment(), self._now(), tags)

    def cut(
        self,
        began: Asked,
        kind: str,
        targets: Iterable[str],
        store_keys: Iterable[str],
        above: Iterable[str],
        *,
        pending: bool,
    ) -> Cut:
        """Take note that a call has invalidated `targets`, or that its process has taken it on itself (`pending`).

        In the store that is the deletion of `store_keys`, or of one of the stamps `above`.
        """
        cut = Cut(began.process, kind, began.moment, began.at, self.moment(), store_keys=tuple(store_keys))
        cut.above = frozenset(above)
        cut.only_fresh = kind == "expire"
        if not pending:
            acted = [self._acted.get((began.process, key), -math.inf) for key in cut.store_keys]
            if acted and min(acted) >= began.at:
                cut.done_at = max(acted)
            self.tell(cut)
            if began.at <= self._failed_over_at:
                self._undo(cut, cut.store_keys)  # acknowledged by the one, or the other, or half by each
        for target in targets:
            self.cuts[target].append(cut)
        self._cuts.append(cut)
        return cut

    def tell(self, cut: Cut) -> None:
        """Take note that the store has acknowledged a cut."""
        cut.told, cut.told_at = self.moment(), self._now()

    def delivered(self, process: str) -> None:
        """Nothing that `process` asked for is pending any more."""
        for cut in self._cuts:
            if cut.process == process and cut.told == math.inf and not cut.awaited and cut.known < math.inf:
                self.tell(cut)
                cut.told_at = min(cut.told_at, cut.acted_at)  # a snapshot of between has it

    def undone(self, seen: float, there: Collection[str], *, marked: bool = True) -> None:
        """A store has taken over that had seen only events before the second `seen`; `marked`: with its mark.

        `there` are the keys that it has: an invalidation is undone only by keys that came back.
        """
        self._failed_over_at = self._now()
        self._looked.clear()
        for cut in self._cuts:
            if min(cut.told_at, cut.done_at) > seen and (cut.told_at < math.inf or cut.awaited):
                self._undo(cut, there)
                if not marked:
                    cut.awaited = {""}

    def _undo(self, cut: Cut, there: Collection[str]) -> None:
        if cut.kind in ("tag", "namespace", "delete") and not cut.awaited and set(cut.store_keys).isdisjoint(there):
            return
        cut.told = cut.told_at = cut.known = cut.done_at = math.inf
        # An explicit value or mark that is lost with a failover is lost; only deletions are sent again.
        cut.awaited = set(cut.store_keys) if cut.kind in ("tag", "namespace", "delete") else {""}
        cut.undone_at = self._failed_over_at
        cut.seen_at = math.inf

    def executed(self, process: str, operation: str, keys: Sequence[str]) -> None:
        """The store has changed `keys` for `process`, or has told it its mark (`look`).

        An evicted (`evict`) or changed key is gone for every process.

        An invalidation of one process hides from another that as many were lost, as long as that has not looked.
        """
        if operation == "look":
            if process not in self._looked:
                self._looked.add(process)
                for cut in self._cuts:
                    if cut.process == process and cut.awaited and "" not in cut.awaited:
                        cut.seen_at = self._now()
            return
        self._acted.update(dict.fromkeys(((process, key) for key in keys), self._now()))
        rooted = _ROOT in keys  # no older answer is valid any more
        for cut in self._cuts:
            if cut.told == math.inf and cut.process == process and not set(keys).isdisjoint(cut.store_keys):
                cut.acted_at = self._now()
            if not cut.awaited:
                continue
            if operation == "advance" and cut.process not in {process, *self._looked}:
                cut.awaited.add("")
            # Another process may have changed it as well: the value that came back is gone.
            cut.awaited.difference_update(keys)
            if rooted or not cut.awaited or not cut.above.isdisjoint(keys):
                cut.awaited.clear()
                self.tell(cut)
                cut.known = cut.told

    def gone(self, process: str) -> None:
        """A process was killed: its undelivered invalidations are lost."""
        for cut in self._cuts:
            if cut.process == process and cut.told == math.inf:
                cut.known = math.inf
                cut.awaited = {""}

    @property
    def undelivered(self) -> list[Cut]:
        """Cuts that a failover has undone and that were not sent again, though their process lives."""
        return [cut for cut in self._cuts if cut.awaited and "" not in cut.awaited]

    # Judgement

    def check(
        self,
        asked: Asked,
        value: Any,
        *,
        outcome: str | None,
        prompt: bool = False,
        isolated_at: float = -math.inf,
        started_after: float | None = None,
    ) -> None:
        """Judge an answer. Raises `Wrong`.

        `outcome` None means that the caller was not told. `prompt`: no copy in memory was involved and the process has
        no feed, so that it must know of every cut. `isolated_at`: second at which the store last did not answer this
        process: a caller that joins a computation which could not ask the store may get its result.
        `started_after`: the moment after which its computation must have begun.
        """
        self.answers += 1
        made = self._made(asked, value)
        isolated = isolated_at >= made.began_at - 0.5 and made.at >= asked.at
        moment = self.moment()
        made.first_seen = min(made.first_seen, moment)
        for tag in made.late_tags:
            made.tags.setdefault(tag, made.first_seen)
        if not set(asked.tags) <= made.tags.keys():
            raise Wrong(f"{asked.process} asked {asked.name} with {asked.tags} and got a value with {[*made.tags]}")
        if started_after is not None and made.old_from <= started_after:
            raise Wrong(f"{asked.process} refreshed {asked.name} and got value {made.number}, which began earlier")
        age = asked.at - made.at  # a batch may have had it long before the rest of it was there
        window = 0.0 if outcome == "hit" else self._windows
        if age > made.ttl * 1.06 + window + SLACK:
            raise Wrong(f"{asked.name}: value {made.number} is {age:.3f} s old, {made.ttl:.3f} s allowed ({outcome})")
        for target, old_from in self._covers(made):
            for cut in self.cuts.get(target, ()):
                if old_from >= cut.began or made.unsure_until >= cut.began_at:
                    continue
                if not self._heeds(asked, cut, prompt=prompt, isolated=isolated):
                    continue
                if cut.only_fresh and outcome != "hit":
                    continue
                raise Wrong(
                    f"{asked.process} asked {asked.name} at {asked.at:.4f} and got value {made.number} of "
                    f"{made.process}, old from {old_from:.0f}, ({outcome}) although {cut.process} had cut {target} "
                    f"({cut.kind}) between moments {cut.began:.0f} and {cut.known:.0f}, told {cut.told_at:.4f}"
                )

    def _made(self, asked: Asked, value: Any) -> Made:
        if type(value) is not dict or set(value) != {"name", "number", "text"}:
            raise Wrong(f"{asked.name}: {value!r} is no value that anybody made, or somebody has changed it")
        made = self.made.get(value["number"])
        if made is None or value["name"] != made.name or value["text"] != made.name * 8:
            raise Wrong(f"{asked.name}: {value!r} is no value that anybody made")
        if made.name != asked.name:
            raise Wrong(f"{asked.process} asked {asked.name} and got the value of {made.name}")
        return made

    def _covers(self, made: Made) -> Iterable[tuple[str, float]]:
        yield "key:" + made.name, made.old_from
        segments = made.name.split(":")[0]
        yield "namespace:", made.old_from
        path = ""
        for segment in segments.split("/") if segments else ():
            path = f"{path}/{segment}" if path else segment
            yield "namespace:" + path, made.old_from
        for tag, since in made.tags.items():
            yield "tag:" + tag, since

    def _heeds(self, asked: Asked, cut: Cut, *, prompt: bool, isolated: bool) -> bool:
        if asked.process == cut.process:
            return asked.moment > cut.known or asked.at > cut.seen_at + self._max_age
        if prompt:
            return asked.moment > cut.told
        return not isolated and asked.at > cut.told_at + self._max_age
