"""The calls of one cached function as requests, and a bounded memory of the calls that are known already.

Arguments that are immutable built-ins are recognised by type and value, without binding, encoding or hashing them
again: a hit then is a look into a dict and one into the tier in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cachecore.api.function_view import FunctionView
from cachecore.api.naming import name_of, request_name
from cachecore.api.refresh_factories import RefreshFactory
from cachecore.api.return_types import serializer_for
from cachecore.api.signatures import CallSignature, Vary
from cachecore.api.tag_templates import CallTags, Tags
from cachecore.contract.results import UNSET
from cachecore.engine.scope import Scope, stored_tags

Known = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""Returns the answer to a call that is known and in memory, or UNSET."""


class _Mark:
    """A mark between the parts of a call in the memo; no argument is one."""


_KEYWORDS: Final = _Mark()
_VARYING: Final = _Mark()
_ATOMS: Final = frozenset({str, bytes, int, bool, float, type(None), _Mark})
"""Types of which two equal values have one key. Floats are looked at apart: 0.0 equals -0.0, and NaN not itself."""
_MEMO_ENTRIES: Final = 4096
_MEMO_BYTES: Final = 8 * 1024 * 1024


class Face(Protocol):
    """The calls that a cached function makes: a `Cache`, which returns awaitables, or a `SyncCache`."""

    def get_or_set(
        self,
        request: Any,
        factory: Callable[[], Any],
        *,
        tags: Sequence[str],
        refresh_factory: Callable[[], Any] | None = None,
    ) -> Any:
        """Return the stored answer, or compute it."""

    def lookup(
        self,
        request: Any,
        factory: Callable[[], Any],
        *,
        tags: Sequence[str],
        refresh_factory: Callable[[], Any] | None = None,
    ) -> Any:
        """Return the answer and where it came from."""

    def refresh(self, request: Any, factory: Callable[[], Any], *, tags: Sequence[str]) -> Any:
        """Compute the answer anew."""

    def delete(self, request: Any) -> Any:
        """Delete the answer."""

    def invalidate_tags(self, *tags: str) -> Any:
        """Make every answer that carries one of the tags invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The options of `cached` that concern requests, tags and names, not how long answers hold."""

    tags: Tags = ()
    name: str | None = None
    exclude: Sequence[str] = ()
    vary: Vary = ()
    refresh_factory: Callable[..., Any] | None = None
    typed: bool = True
    """Whether the return annotation says how answers are stored."""


class CachedCalls:
    """The calls of one function as requests to a view of its own; `scope` makes that for the tags of all answers.

    Raises:
        OptionsError: an option is wrong, or one name would mean two functions.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        binds: type | None,
        options: CallOptions,
        scope: Callable[[Sequence[str]], Scope],
    ) -> None:
        self.function = function
        self.binds = binds
        self.name = options.name or request_name(function)
        self.signature = CallSignature(function, binds, name=self.name, exclude=options.exclude, vary=options.vary)
        self.tag = f"function:{self.name}"
        """The tag of all answers of the function."""
        self._tags = CallTags(options.tags, self.signature.signature, self.name)
        behind, signature = options.refresh_factory, self.signature
        self._behind = (
            None
            if behind is None
            else RefreshFactory(behind, signature.signature, signature.excluded, name_of(function))
        )
        self.view = FunctionView(scope((self.tag, *self._tags.fixed)), self.name, self.signature.advised)
        self.view.claim_name(self.name, function, named=options.name is not None)
        self.memo: dict[tuple[Any, ...], tuple[tuple[type, ...], str, Sequence[str], Any]] = {}
        """A call to its types, its key, its tags as entries store them, and the way to its value in memory."""
        self._memo_bytes = 0
        self._unresolved = options.typed

    def request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
        """Return the request that a call makes, and the tags of its answer beside the function's own.

        Raises TypeError if the function does not take these arguments.
        """
        if self._unresolved:
            self._use_annotation()
        arguments = self.signature.bind(args, kwargs)
        tags = self._tags.of(args, kwargs, arguments) if self._tags else ()
        return self.signature.request(arguments), tags

    def asked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
        """Return the same as `request`, and remember the call if all its arguments are immutable built-ins."""
        request, tags = self.request(args, kwargs)
        spelled = self._spelled(args, kwargs)
        kinds = (*map(type, spelled),)
        if not self._tags.memorable or not _ATOMS.issuperset(kinds) or (float in kinds and _odd_float(spelled)):
            return request, tags
        known = self.memo.get(spelled)
        if known is None or known[0] != kinds:
            key = self.view.key(request)
            # The memo is bounded; starting over costs one encoding for each call that comes back.
            self._memo_bytes += 300 + sum(map(sys.getsizeof, spelled))
            if len(self.memo) >= _MEMO_ENTRIES or self._memo_bytes > _MEMO_BYTES:
                self.memo.clear()
                self._memo_bytes = 0
            # Under the values alone: of 1 and True, which are equal, the last one asked for is recognised.
            self.memo[spelled] = kinds, key, tuple(stored_tags(tags)), self.view._find_value  # noqa: SLF001 - a view made for this
        return request, tags

    def behind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any] | None:
        """Return the factory that refreshes the answer of a call behind it; None: the function itself does."""
        return None if self._behind is None else self._behind.of(self.signature.bind(args, kwargs))

    def known(self) -> Known:
        """Return the way to answers of known calls. A closure, because looking up attributes is a part of a hit."""
        recall, spell, bare = self.memo.get, self._spelled, not self.signature.vary

        def known(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if kwargs or not bare:
                args = spell(args, kwargs)
            try:
                recalled = recall(args)
            except TypeError:  # an argument has no hash, so it cannot be recognised
                return UNSET
            if recalled is None:
                return UNSET
            kinds, key, tags, find_value = recalled
            # The same as `kinds == tuple(map(type, args))`, in a third of the time for the usual one or two.
            count = len(kinds)
            if (
                (not count or type(args[0]) is kinds[0])
                and (count < 2 or type(args[1]) is kinds[1])
                and (count < 3 or (*map(type, args[2:]),) == kinds[2:])
            ):
                return find_value(key, tags, True)
            return UNSET

        return known

    def _spelled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return a call as a key of the memo: in a word, its arguments as they were written."""
        if kwargs:
            args = (*args, _KEYWORDS, *kwargs, *kwargs.values())
        return (*args, _VARYING, *self.signature.varying()) if self.signature.vary else args

    def _use_annotation(self) -> None:
        """Let the return annotation say how answers are stored; at the first call, when its names are defined."""
        serializer = serializer_for(self.function, self.view.serializer)
        if serializer is not None:
            self.view.use_serializer(serializer)
        self._unresolved = False


def _odd_float(values: tuple[Any, ...]) -> bool:
    return any(type(value) is float and (value == 0 or value != value) for value in values)
