"""The calls of one cached function as requests, and the memo of those that are known already.

Arguments that are immutable built-ins are recognised by type and value, without encoding or hashing them again: a hit
then is a look into the memo of the tier in memory and one at its copies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cachecore.api.compiled_calls import compiled_call, same_zeros, zeros_of
from cachecore.api.function_view import FunctionView
from cachecore.api.naming import name_of, request_name
from cachecore.api.refresh_factories import RefreshFactory
from cachecore.api.return_types import serializer_for
from cachecore.api.signatures import CallSignature, Vary
from cachecore.api.tag_templates import CallTags, Tags
from cachecore.contract.results import UNSET
from cachecore.engine.scope import Scope, stored_tags


class _Mark:
    """A mark between the parts of a call in the memo; no argument is one."""


_KEYWORDS: Final = _Mark()
_VARYING: Final = _Mark()
_ATOMS: Final = frozenset({str, bytes, int, bool, float, type(None), _Mark})
"""Types of which two equal values have one key. Floats are looked at apart: 0.0 equals -0.0, and NaN not itself."""
_FACT_BYTES: Final = 280
"""Bytes of a remembered call beside its arguments and 16 for each of them: measured."""


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
        self._tier = self.view.tier
        self._mark = _Mark()
        self._compiled = self.signature.binds_plainly
        # An argument that is no part of the request, such as a client, need not be known: unless a tag is made of it.
        self._counted = [
            one for one in self.signature.signature.parameters if self._tags or one not in self.signature.excluded
        ]
        self._kinds: tuple[type, ...] = ()  # of the call remembered last: nearly always those of the next one
        self._unresolved = options.typed

    def request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
        """Return the request that a call makes, and the tags of its answer beside the function's own.

        Raises TypeError if the function does not take these arguments.
        """
        if self._unresolved:
            self._use_annotation()
        return self._request(args, kwargs, self.signature.bind(args, kwargs))

    def asked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
        """Return the same as `request`, and remember the call if all its arguments are immutable built-ins."""
        if self._unresolved:
            self._use_annotation()
        arguments = self.signature.bind(args, kwargs)
        request, tags = self._request(args, kwargs, arguments)
        asked = self._bound(arguments) if self._compiled else self._spelled(args, kwargs)
        kinds = (*map(type, asked[1:]),)
        if not self._tags.memorable or not _ATOMS.issuperset(kinds) or (float in kinds and any(x != x for x in asked)):
            return request, tags
        memo, zeros = self._tier.memo, zeros_of(asked) if float in kinds else ()
        known = memo.young.get(asked) or memo.find_old(asked)
        if known is None or known[1] != kinds or known[2] != zeros:
            if kinds == self._kinds:
                kinds = self._kinds
            self._kinds = kinds
            size = _FACT_BYTES + 16 * len(asked) + sum(map(sys.getsizeof, asked))
            stored = tuple(stored_tags(tags))
            # Under the values alone: of 1 and True, which are equal, the last one asked for is recognised.
            fact = size, kinds, zeros, self.view.key(request), stored, self.view._find_value  # noqa: SLF001 - a view made for this
            self._tier.remember(asked, fact)
        return request, tags

    def behind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any] | None:
        """Return the factory that refreshes the answer of a call behind it; None: the function itself does."""
        return None if self._behind is None else self._behind.of(self.signature.bind(args, kwargs))

    def call(self, miss: Callable[[tuple[Any, ...], dict[str, Any]], Any], *, is_async: bool) -> Any:
        """Return a function that answers known calls from memory, and others by `miss(args, kwargs)`."""
        signature = self.signature
        if self._compiled:
            return compiled_call(
                signature.signature,
                self._counted,
                mark=self._mark,
                memo=self._tier.memo,
                varying=signature.varying if signature.vary else None,
                miss=miss,
                is_async=is_async,
            )
        known = self._known

        if is_async:

            async def call(*args: Any, **kwargs: Any) -> Any:
                value = known(args, kwargs)
                return value if value is not UNSET else await miss(args, kwargs)

            return call

        def sync_call(*args: Any, **kwargs: Any) -> Any:
            value = known(args, kwargs)
            return value if value is not UNSET else miss(args, kwargs)

        return sync_call

    def _known(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the answer to a call that is known and in memory, or UNSET."""
        asked, memo = self._spelled(args, kwargs), self._tier.memo
        try:
            fact = memo.young.get(asked) or memo.find_old(asked)
        except TypeError:  # an argument has no hash, so it cannot be recognised
            return UNSET
        if fact is None:
            return UNSET
        _, kinds, zeros, key, tags, find_value = fact
        if (*map(type, asked[1:]),) == kinds and (not zeros or same_zeros(zeros, asked)):
            return find_value(key, tags, True)
        return UNSET

    def _request(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], arguments: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[str]]:
        tags = self._tags.of(args, kwargs, arguments) if self._tags else ()
        return self.signature.request(arguments), tags

    def _bound(self, arguments: dict[str, Any]) -> tuple[Any, ...]:
        """Return a call as a key of the memo, as the compiled function makes it."""
        varying = self.signature.varying() if self.signature.vary else ()
        return (self._mark, *(arguments[name] for name in self._counted), *varying)

    def _spelled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return a call as a key of the memo: in a word, its arguments as they were written."""
        if kwargs:
            args = (*args, _KEYWORDS, *kwargs, *kwargs.values())
        return (self._mark, *args, _VARYING, *self.signature.varying()) if self.signature.vary else (self._mark, *args)

    def _use_annotation(self) -> None:
        """Let the return annotation say how answers are stored; at the first call, when its names are defined."""
        serializer = serializer_for(self.function, self.view.serializer)
        if serializer is not None:
            self.view.use_serializer(serializer)
        self._unresolved = False
