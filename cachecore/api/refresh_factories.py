"""The factory that refreshes answers of a cached function behind calls that were answered already.

The session or connection of a call is closed when such a refresh runs. So this factory gets the arguments that are part
of the request, without those that the function excludes, and opens its own sessions and connections.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from cachecore.contract.errors import OptionsError

_BY_NAME = inspect.Parameter.KEYWORD_ONLY
_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
_REST = inspect.Parameter.VAR_POSITIONAL


class RefreshFactory:
    """A refresh factory and the way it is called: by name, or by position where the function takes `*args` or `/`.

    Args:
        factory: the caller's.
        function: the signature of the cached function.
        excluded: the parameters that are no part of the request.
        name: the cached function, for errors.

    Raises:
        OptionsError: `factory` is no function, or does not take the arguments that are part of the request.
    """

    def __init__(
        self, factory: Callable[..., Any], function: inspect.Signature, excluded: Collection[str], name: str
    ) -> None:
        if not callable(factory):
            raise OptionsError(
                f"refresh_factory must be a function of the arguments of {name}, not a {type(factory).__name__}"
            )
        self._factory = factory
        kept = [one for one in function.parameters.values() if one.name not in excluded]
        if not any(one.kind is _REST for one in kept):
            kept = [one.replace(kind=_BY_NAME) if one.kind is _EITHER else one for one in kept]
        bare = [one.replace(default=inspect.Parameter.empty, annotation=inspect.Parameter.empty) for one in kept]
        self._keyed = inspect.Signature(bare)
        self._check(name)

    def of(self, arguments: Mapping[str, Any]) -> Callable[[], Any]:
        """Return the factory of one call; `arguments` are all of the cached function's, by name."""
        given = {name: arguments[name] for name in self._keyed.parameters}
        # Bound already, so nothing is checked again.
        call = inspect.BoundArguments(self._keyed, given)
        return partial(self._factory, *call.args, **call.kwargs)

    def _check(self, name: str) -> None:
        parameters = self._keyed.parameters
        some: dict[str, Any] = {one.name: () if one.kind is _REST else {} for one in parameters.values()}
        call = inspect.BoundArguments(self._keyed, some)
        try:
            inspect.signature(self._factory).bind(*call.args, **call.kwargs)
        except ValueError:
            return  # a builtin that does not tell its parameters
        except TypeError as error:
            raise OptionsError(
                f"refresh_factory of {name} is called with the arguments that are part of the request "
                f"({', '.join(parameters) or 'none'}), and does not take them: {error}"
            ) from None
