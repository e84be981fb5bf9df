"""All calls that read and write the answers of one view, and the names of the functions that are cached in it."""

from __future__ import annotations

import inspect
from typing import TypeVar

from cachecore.api.many import Many
from cachecore.api.writes import Writes
from cachecore.contract.errors import OptionsError

V = TypeVar("V")


class Answers(Many[V], Writes[V]):
    """What a decorated function asks; `Cache` adds how one is built and closed."""

    __slots__ = ()

    def claim_name(self, name: str, function: object, *, named: bool) -> None:
        """Take note that `name` means `function` in this namespace.

        Two functions of one name would get each other's answers: a definition that is run again with other variables
        around it, two of them in one function, two things that were given one name. What is defined anew at the top of
        its module is one function all the same. Raises OptionsError.
        """
        known_names = self._engine.function_names
        place = (self._scope.keys.namespace, name)
        origin = (getattr(function, "__module__", ""), getattr(function, "__qualname__", ""))
        code = getattr(function, "__code__", None)
        plain = inspect.isfunction(function)
        this, known = (origin, code if plain else function), known_names.get(place)
        if known is not None:
            if not plain or known[0] != origin:
                clash = known != this
            elif named:
                clash = False
            elif known[1] is code:
                clash = getattr(function, "__closure__", None) is not None
            else:
                clash = "<locals>" in origin[1]
            if clash:
                raise OptionsError(
                    f"{name} would be two functions, and each would get the answers of the other. "
                    "Give each a name of its own: cached(name=…)"
                )
        known_names[place] = this
