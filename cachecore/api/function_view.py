"""The view of a cache that one cached function asks: with the function's tags, its counts and its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cachecore.api.answers import Answers
from cachecore.api.naming import innermost, name_of, variables_around
from cachecore.contract.errors import OptionsError, UnkeyableError
from cachecore.contract.protocols import Serializer
from cachecore.engine.scope import Scope
from cachecore.memory.copies import Copy
from cachecore.memory.tier import MemoryTier


class FunctionView(Answers[Any]):
    """A view with counts of its own, which are part of the cache's.

    `advised` takes the path and the reason of an UnkeyableError, and returns them in terms of the function.
    """

    __slots__ = ("_advised",)

    def __init__(self, scope: Scope, name: str, advised: Callable[[str, str], tuple[str, str]]) -> None:
        self._advised = advised
        counted = scope.telemetry.part(f"{scope.keys.namespace}:{name}")
        self._use(replace(scope, telemetry=counted, function=name))

    def _use(self, scope: Scope) -> None:
        super()._use(scope)
        self._key_of = self._key_or_advice

    def _key_or_advice(self, request: Any) -> str:
        try:
            return self._scope.key_of(request)
        except UnkeyableError as error:
            raise UnkeyableError(*self._advised(error.path, error.reason)) from None

    @property
    def serializer(self) -> Serializer:
        """The serializer of the answers."""
        return self._scope.serializer

    @property
    def tier(self) -> MemoryTier[Copy]:
        """The tier in memory: it has the memo of known calls as well."""
        return self._engine.l1

    def use_serializer(self, serializer: Serializer) -> None:
        """Store and read answers with `serializer` from now on."""
        self._use(replace(self._scope, serializer=serializer))

    def claim_name(self, name: str, function: Any, *, named: bool) -> None:
        """Take note that `name` means `function` in this namespace; `named`: the caller chose the name.

        Two functions of one name would get each other's answers: two of them in one function, two things that were
        given one name. A function that is defined anew at the top of its module, or where it was defined, is one
        function all the same. Not so if it uses variables of the function around it, which are not part of a request:
        where other processes see its answers, their first one may be another, so it is refused at once.

        Raises OptionsError.
        """
        variables = [] if named else variables_around(function)
        if variables and self._engine.local is None:
            raise OptionsError(
                f"{name_of(innermost(function))} is defined inside a function and uses its variables "
                f"({', '.join(variables)}), which are not part of the request: defined again, it would get the answers "
                "of the first. Define it at the top of the module, pass them as arguments, or give it a name of its "
                "own: cached(name=…)"
            )
        known_names = self._engine.function_names
        place = (self._scope.keys.namespace, name)
        inner = innermost(function)
        origin = (getattr(inner, "__module__", ""), getattr(inner, "__qualname__", ""))
        plain = inspect.isfunction(function)
        this = (origin, inner.__code__ if plain and not variables else function)
        known = known_names.get(place)
        if known is not None:
            if not plain or known[0] != origin:
                clash = known != this
            else:
                clash = not named and known[1] != this[1] and "<locals>" in origin[1]
            if clash:
                raise OptionsError(
                    f"{name} would be two functions, and each would get the answers of the other. "
                    "Give each a name of its own: cached(name=…)"
                )
        known_names[place] = this
