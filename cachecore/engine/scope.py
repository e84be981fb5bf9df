"""One view of a cache (namespace, tags, serializer, policy), and one key as a call asks for it through that view.

Knows which tags and stamp keys a read needs and works them out once: a read of the cache's own tags costs one dict
look-up and no encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Policy
from cachecore.contract.protocols import Serializer
from cachecore.contract.results import UNSET, Computed, Unset
from cachecore.encoding.header import Stamps
from cachecore.engine.bypass import bypassed
from cachecore.engine.ending import Owner, owner_of
from cachecore.engine.engine import Engine
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.telemetry import Telemetry
from cachecore.invalidation.outbox.outbox import Parents
from cachecore.keys import KeySpace, user_tag
from cachecore.memory.copies import FindCopy, FindValue, Reader, copy_reader, value_reader

RescueIf = Callable[[Exception], bool]
Admit = Callable[[Any], "bool | Computed[Any]"]
_MOST_NAMES = 50_000
_MOST_AGES: Final = 64
_PLAIN_FORMAT: Final = "msgpack"
"""The serializer of the answers under the keys of `make_key`."""


@dataclass(slots=True, eq=False)
class TagSet:
    """Tags as entries store them, and the stamp keys they have in the store, in the same order.

    Remembers the verdict by the table of a live feed, for as long as no stamp changes: `generation` is the table's.
    """

    tags: tuple[str, ...]
    stamp_keys: tuple[str, ...]
    concerns: tuple[str, ...]
    """The stamp keys and the kind of value that a flight must have to be joined."""
    complete_at: int = -1
    """The generation at which the table had all of them."""
    noted_at: int = 0
    """The turn of `Warmth` in which its stamps were noted last."""
    held: tuple[Stamps | None, tuple[tuple[str, bytes], ...], int] = (None, (), -1)
    """Stamps of an entry that all were in the table, the same by stamp key, and the generation at which they were.

    One value, so that threads see all of it or none.
    """


@dataclass(slots=True, eq=False)
class Scope:
    """The parts of a `Cache` besides the engine that it shares."""

    engine: Engine
    keys: KeySpace
    policy: Policy
    serializer: Serializer
    tags: tuple[str, ...]
    """The caller's own tags that every entry here carries, as given."""
    telemetry: Telemetry
    admit: Admit | None
    rescue_if: RescueIf | None = None
    """Told the exception of a failed computation; returns whether an old answer may be served in its place."""
    function: str = ""
    """The name of the cached function that this view belongs to, if any."""
    key_of: Callable[[Any], str] = field(init=False)
    """Gives the key of a request, as `keys.key` does, and remembers those of copies in memory."""
    reader: Reader = field(init=False)
    """Serves copies in memory that fit this view."""
    find_copy: FindCopy = field(init=False)
    """Returns the copy in memory that may be served now, or None."""
    find_value: FindValue = field(init=False)
    """Returns the value of that copy, counted as a hit, or UNSET."""
    owner: Owner = field(init=False)
    only: TagSet | None = field(init=False)
    """The tag set of every call without tags of its own; None where that depends on the key."""
    permanent: frozenset[str] = field(init=False)
    """Stamp keys without a ttl: the root's, and where lives cannot be lengthened the namespaces' too."""
    _parents: Parents = field(init=False)
    _names: dict[tuple[str, int | None], str] = field(init=False, default_factory=dict)
    _sharded: dict[int, TagSet] = field(init=False, default_factory=dict)
    _aged: dict[float, Scope] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        engine, name = self.engine, self.serializer.name
        self.owner = owner_of(engine)
        self.keys = self.keys.of_format("" if name == _PLAIN_FORMAT else name)
        l1 = engine.l1
        self.key_of = self.keys.recalling(l1.memo, l1.remember, l1.__contains__) if engine.keeps else self.keys.key
        self.reader = Reader(self.serializer, frozenset(map(user_tag, self.tags)))
        adopt = None if engine.local is None or engine.adopt is None else partial(engine.adopt, self)
        oldest = self.policy.max_age
        self.find_copy = copy_reader(engine, self.reader, max_age=oldest, bypassed=bypassed, adopt=adopt)
        self.find_value = value_reader(self.find_copy, self.reader, self.telemetry.counts)
        if not engine.keeps:
            self.find_value = _nothing
        self.only = None if engine.shards else self._tagset((), None)
        self.engine.observer.keeps_for_ever |= self.policy.ttl is None
        self.engine.allow_computations(self.policy.factory_timeout)
        shards: Sequence[int | None] = range(self.engine.shards) if self.engine.shards else (None,)
        self.permanent = frozenset(
            self.keys.stamp_key(tag, shard)
            for tag in (self.keys.namespace_tags()[:1] if engine.extends else self.keys.namespace_tags())
            for shard in shards
        )
        self._parents = tuple(tuple(self.stamp_keys([tag])) for tag in reversed(self.keys.namespace_tags()))

    def aged(self, max_age: float) -> Scope:
        """Return the same view for a caller that takes nothing older than `max_age` seconds as fresh."""
        scope = self._aged.get(max_age)
        if scope is None:
            if len(self._aged) >= _MOST_AGES:
                self._aged.clear()
            scope = self._aged[max_age] = replace(self, policy=replace(self.policy, max_age=max_age))
        return scope

    def tagset(self, key: str, tags: Sequence[str] = ()) -> TagSet:
        """Return the tags and stamp keys that an entry under `key` must have, `tags` of the call included."""
        if self.only is not None:
            return self._tagset(tags, None) if tags else self.only
        shard = self.keys.shard_of(key)
        if tags or shard is None:
            return self._tagset(tags, shard)
        tagset = self._sharded.get(shard)
        if tagset is None:
            tagset = self._sharded[shard] = self._tagset((), shard)
        return tagset

    def name(self, tag: str, shard: int | None) -> str:
        """Return the stamp key of a tag as entries store it."""
        name = self._names.get((tag, shard))
        if name is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            name = self._names[tag, shard] = self.keys.stamp_key(tag, shard)
        return name

    def names(self, tags: Iterable[str], key: str) -> list[str]:
        """Return the stamp keys of tags as the entry under `key` stores them, in their order."""
        shard = self.keys.shard_of(key) if self.engine.shards else None
        return [self.name(tag, shard) for tag in tags]

    def stamp_keys(self, tags: Sequence[str]) -> list[str]:
        """Return the keys of all copies of the stamps of these tags, which an invalidation deletes."""
        shards: Sequence[int | None] = range(self.engine.shards) if self.engine.shards else (None,)
        return [self.keys.stamp_key(tag, shard) for tag in tags for shard in shards]

    def namespace_of(self, key: str) -> str:
        """Return the namespace in an entry's key, below that of this view. A prefix may have colons of its own."""
        below = 0 if not self.keys.namespace else len(self.keys.namespace.split("/"))
        return "/".join(unquote(segment) for segment in key.split(":")[-2].split("/")[below:])

    def parents(self) -> Parents:
        """Return the stamp keys of the namespaces this view lies in, nearest first."""
        return self._parents

    def _tagset(self, tags: Sequence[str], shard: int | None) -> TagSet:
        given = (*self.tags, *checked_tags(tags))
        stored = (*self.keys.namespace_tags(), *(user_tag(tag) for tag in dict.fromkeys(given)))
        stamp_keys = tuple([self.name(tag, shard) for tag in stored])
        return TagSet(stored, stamp_keys, (*stamp_keys, self.serializer.name))


def _nothing(_key: str, _tags: Sequence[str] = (), _unless_due: bool = False, /) -> Any:
    """Return the value of a copy where memory keeps none."""
    return UNSET


Ttl = float | Unset | None
"""Seconds, None for ever, UNSET for the ttl of the policy."""


@dataclass(slots=True, eq=False)
class Question:
    """A key, the tags that its entry must carry, and the view and event loop that ask for it."""

    scope: Scope
    state: LoopState
    key: str
    tagset: TagSet
    lasts: float | None
    """The ttl of an answer that is computed or set: the call's, or the policy's; seconds, None for ever."""


def question(scope: Scope, state: LoopState, key: str, tags: Sequence[str] = (), ttl: Ttl = UNSET) -> Question:
    """Return the question for `key` with the call's `tags`. Raises OptionsError for tags that are none."""
    lasts = scope.policy.ttl if isinstance(ttl, Unset) else ttl
    only = scope.only
    return Question(scope, state, key, scope.tagset(key, tags) if only is None or tags else only, lasts)


def stored_tags(tags: Sequence[str]) -> list[str]:
    """Return a caller's tags as entries store them. Raises OptionsError."""
    return [user_tag(tag) for tag in checked_tags(tags)]


def checked_tags(tags: Sequence[str]) -> Sequence[str]:
    """Return `tags` if they are a sequence of non-empty strings. Raises OptionsError."""
    if isinstance(tags, str):
        raise OptionsError(f"tags must be a sequence of strings, not the one string {tags!r}: write [{tags!r}]")
    if not isinstance(tags, Iterable):
        raise OptionsError(f"tags must be a sequence of strings, not {tags!r}")
    for tag in tags:
        given: object = tag
        if not isinstance(given, str) or not tag:
            raise OptionsError(f"a tag must be a non-empty string, not {tag!r}")
    return tags
