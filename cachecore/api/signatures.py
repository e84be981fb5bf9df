"""The request of each call of a function.

The request is the function's name and its arguments as it binds them, defaults included: `f(1)`, `f(a=1)` and
`f(a=1, b=<its default>)` are one request. Added to it are the object of a method (see `method_objects`) and the values
that the answer varies by without being an argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from cachecore.api.compiled_calls import can_compile
from cachecore.api.method_objects import MethodObject
from cachecore.api.naming import innermost, name_of
from cachecore.contract.errors import OptionsError

Varying = ContextVar[Any] | Callable[[], Any]
Vary = Varying | Iterable[Varying]
"""A ContextVar, a function without arguments, or several of them."""

_PLAIN_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_NOT_SET: Final = object()


def unbound(function: Any) -> tuple[type | None, Any]:
    """Return `classmethod`, `staticmethod` or None, and the function inside."""
    if isinstance(function, classmethod | staticmethod):
        return type(function), function.__func__
    return None, function


class CallSignature:
    """The calls of one function, as requests.

    `binds` is `classmethod`, `staticmethod` or None, as `unbound` returns it; `name` is the name in requests.

    Raises:
        OptionsError: a parameter to exclude is unknown, or `vary` is neither a ContextVar nor a function.
    """

    def __init__(
        self, function: Callable[..., Any], binds: type | None, *, name: str, exclude: Sequence[str], vary: Vary
    ) -> None:
        self.name = name
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters
        first = next(iter(parameters), None) if binds is not staticmethod and _is_whole(function) else None
        self.excluded, attributes = _excluded(function, parameters, first, exclude)
        """The parameters that are no part of a request."""
        self._object = None if first is None else MethodObject(function, first, attributes)
        self._first = first
        self.vary = _checked_vary(vary)
        # For a function without `*args`, `**kwargs` and `/`, binding is merging dicts, ten times as fast as
        # `Signature.bind`, which then only raises the error.
        self._mergeable = all(one.kind in _PLAIN_KINDS for one in parameters.values())
        self.binds_plainly = can_compile(function, self.signature) and (
            self._object is None or not self._object.may_be_one
        )
        """Whether Python may bind the calls; not those of methods, which have an error for a forgotten object."""
        self._positional = tuple(name for name, one in parameters.items() if one.kind is _PLAIN_KINDS[0])
        self._names = frozenset(parameters)
        self._defaults = {
            name: one.default for name, one in parameters.items() if one.default is not inspect.Parameter.empty
        }

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name. Raises TypeError if the function does not take them."""
        if self._mergeable and len(args) <= len(self._positional):
            given = dict(zip(self._positional, args, strict=False))
            if given.keys().isdisjoint(kwargs):
                merged = {**self._defaults, **given, **kwargs}
                if merged.keys() == self._names:
                    return merged
        if args and self._object is not None:
            self._object.form(args[0], whole=False)  # a forgotten object explains more than a missing argument
        call = self.signature.bind(*args, **kwargs)
        call.apply_defaults()
        return call.arguments

    def request(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the request of a call with these arguments.

        Raises TypeError if the function is a method and the first argument is no object of its class.
        """
        excluded, first = self.excluded, self._first
        counted = {name: value for name, value in arguments.items() if name not in excluded} if excluded else arguments
        request: dict[str, Any] = {"function": self.name, "arguments": counted}
        if first is not None:
            form = self.object_form(arguments[first])
            if form is not None:
                request["arguments"] = {name: value for name, value in counted.items() if name != first}
                request.update(form)
        if self.vary:
            request["vary"] = [[] if value is _NOT_SET else [value] for value in self.varying()]
        return request

    @property
    def is_of_methods(self) -> bool:
        """Whether the first argument may be a method's object."""
        return self._object is not None and self._object.may_be_one

    def object_form(self, value: object) -> dict[str, Any] | None:
        """Return the part of the request for the first argument, if that is a method's object. Raises as `request`."""
        return None if self._object is None else self._object.form(value, whole=self._first not in self.excluded)

    def varying(self) -> list[Any]:
        """Return the values that the answer varies by now, in this context."""
        return [one.get(_NOT_SET) if isinstance(one, ContextVar) else one() for one in self.vary]

    def advised(self, path: str, reason: str) -> tuple[str, str]:
        """Return where and why a request cannot be keyed in terms of the function, with the ways out."""
        root, _, rest = path.partition(".")
        name = rest.partition(".")[0].partition("[")[0]
        if root in ("self", "attributes") and name:
            path = f"{self._first}.{rest}"
            reason += (
                f"; the object of {self.name} counts by its attributes: give its class a __cachecore_key__ method that "
                f"returns the settings that shape the answer, or leave this one out with "
                f"cached(exclude=['{self._first}.{name}'])"
            )
        if root == "arguments" and name in self.signature.parameters:
            reason += f"; if {name} does not shape the answer of {self.name}: cached(exclude=['{name}'])"
        return path, reason


def _is_whole(function: Any) -> bool:
    """Return whether the first parameter is that of the function itself: not of a bound method or a partial."""
    inner = innermost(function)
    if not inspect.isfunction(inner):
        return False
    return next(iter(inspect.signature(inner).parameters), None) == next(
        iter(inspect.signature(function).parameters), None
    )


def _excluded(
    function: Any, parameters: Iterable[str], first: str | None, exclude: Sequence[str]
) -> tuple[frozenset[str], list[str]]:
    """Return the excluded parameters, and the excluded attributes of the first one (`self.client`)."""
    if isinstance(exclude, str):
        raise OptionsError(f"exclude must be a sequence of names, not the one text {exclude!r}: write [{exclude!r}]")
    known, names, attributes = set(parameters), set[str](), list[str]()
    for one in exclude:
        given: object = one
        name, _, attribute = one.partition(".") if isinstance(given, str) else (one, "", "")
        if name not in known or (attribute and name != first):
            have = ", ".join(parameters) or "none"
            raise OptionsError(f"{name_of(function)} has no parameter {one!r} to exclude; it has {have}")
        if attribute:
            attributes.append(attribute)
        else:
            names.add(name)
    return frozenset(names), attributes


def _checked_vary(vary: Vary) -> tuple[Varying, ...]:
    given: Any = vary
    several = (given,) if isinstance(given, ContextVar) or callable(given) else given
    if isinstance(several, str) or not isinstance(several, Iterable):
        raise OptionsError(f"vary must be a ContextVar, a function without arguments, or several of them, not {vary!r}")
    ones = tuple(several)
    for one in ones:
        if not isinstance(one, ContextVar) and not callable(one):
            raise OptionsError(f"vary takes ContextVars and functions without arguments, not {one!r}")
    return ones
