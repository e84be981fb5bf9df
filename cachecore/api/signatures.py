"""Which calls of a function are one request: what `@cache.cached` knows of the function it decorates.

The request is the function's name and its arguments as it binds them, defaults included: `f(1)`, `f(a=1)` and
`f(a=1, b=<its default>)` are one request. Of a method's own object its class counts, and nothing else unless the class
has `__cachecore_key__`; of a class method the class it is called on. Arguments that are immutable built-ins are
recognised by type and value, without encoding or hashing them again.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any, Final

from xxhash import xxh3_128

from cachecore.api.answers import Answers
from cachecore.contract.errors import OptionsError
from cachecore.keys.classes import PROGRAM, PROGRAMS, class_name, importable_module, program_file

Tags = Sequence[str] | Callable[..., Sequence[str]]

_ATOMS: Final = frozenset({str, bytes, int, bool, type(None)})
"""Types whose equal values are one value. Not float: 0.0 == -0.0, and NaN is not even itself."""
_MEMO_ENTRIES: Final = 4096
_MEMO_BYTES: Final = 8 * 1024 * 1024


def unbound(function: Any) -> tuple[type | None, Any]:
    """Return `classmethod`, `staticmethod` or None, and the function itself: they bind what they hold, uncalled."""
    if isinstance(function, classmethod | staticmethod):
        return type(function), function.__func__
    return None, function


class CallSignature:
    """The calls of one function, as requests to one cache.

    `binds` is what bound the function in its class, as `unbound` tells.

    Raises:
        OptionsError: a parameter to exclude is unknown, or one name would mean two functions.
    """

    def __init__(
        self,
        cache: Answers[Any],
        function: Callable[..., Any],
        binds: type | None,
        *,
        tags: Tags,
        name: str | None,
        exclude: Sequence[str],
    ) -> None:
        self.binds = binds
        self.function = function
        self.memo: dict[tuple[Any, ...], tuple[tuple[type, ...], str]] = {}
        """By arguments, their types and the key of the call."""
        self.static = not callable(tags) and not tags
        """Whether all answers have the tags of the view alone; others must be checked on each hit."""
        self._cache = cache
        self._tags = tags
        self._signature = inspect.signature(function)
        parameters = list(self._signature.parameters)
        unknown = [one for one in exclude if one not in parameters]
        if unknown:
            raise OptionsError(f"{name_of(function)} has no parameter {unknown[0]!r} to exclude")
        self._exclude = frozenset(exclude)
        self._first = parameters[0] if parameters and binds is not staticmethod else None
        self.owner: type | None = None
        """The class whose method it is, once that has been made."""
        if name is None and (inspect.ismethod(function) or not hasattr(function, "__code__")):
            # A partial, an object that can be called or its method: others like it give other answers by that name.
            raise OptionsError(f"{name_of(function)} is one of several of that name: give it one with cached(name=…)")
        self.name = name or f"{_module_of(function)}.{name_of(function)}"
        cache.claim_name(self.name, function, named=name is not None)
        self._memo_bytes = 0

    def request(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = False) -> dict[str, Any]:
        """Return what the answer depends on; `bound`: the first argument is the object of the method.

        Raises TypeError if the function does not take these arguments.
        """
        call = self._signature.bind(*args, **kwargs)
        call.apply_defaults()
        arguments = {name: value for name, value in call.arguments.items() if name not in self._exclude}
        request: dict[str, Any] = {"function": self.name, "arguments": arguments}
        first = self._first
        if first in arguments:
            whose = self._class_of(arguments[first], bound=bound)
            if whose is not None:
                del arguments[first]
                request["class"] = ".".join(class_name(whose))
        return request

    def _class_of(self, first: object, *, bound: bool) -> type | None:
        """Return the class that stands for the first argument in the request; None if that counts for itself."""
        if isinstance(first, type):
            # A class method's, whether it comes bound or, from Python 3.13 on, as an argument.
            return first if bound or self._first == "cls" else None
        if hasattr(type(first), "__cachecore_key__") or hasattr(first, "__cachecore_key__"):
            return None
        if self._first == "cls" and _in_class(self.function):
            raise TypeError(
                f"{self.name} does not know its class here: decorate with cached above classmethod, not below"
            )
        method = bound or (self.owner is not None and isinstance(first, self.owner))
        return type(first) if method else None

    def tags(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[str]:
        """Return the tags of the answer to a call."""
        return self._tags(*args, **kwargs) if callable(self._tags) else self._tags

    def recall(self, args: tuple[Any, ...]) -> str | None:
        """Return the key of a call whose arguments are all immutable built-ins, without encoding known ones again."""
        kinds = (*map(type, args),)
        if not _ATOMS.issuperset(kinds):
            return None
        known = self.memo.get(args)
        if known is not None and known[0] == kinds:
            return known[1]
        key = self._cache.key(self.request(args, {}))
        # What the memo keeps alive is bounded; starting over costs one encoding for each call that comes back.
        self._memo_bytes += 200 + sum(map(sys.getsizeof, args))
        if len(self.memo) >= _MEMO_ENTRIES or self._memo_bytes > _MEMO_BYTES:
            self.memo.clear()
            self._memo_bytes = 0
        # Under the values alone: of 1 and True, which are equal, the last one asked for is recognised.
        self.memo[args] = kinds, key
        return key


class Decorated:
    """What cached functions of either kind have in common."""

    signature: CallSignature

    def __repr__(self) -> str:
        return f"<cached {self.signature.name}>"

    def __set_name__(self, owner: type, name: str) -> None:
        self.signature.owner = owner

    def bound_by(self, bound: type, instance: object, owner: type | None) -> Any:
        """Return what an attribute of a class or of its instance is: `bound` to one of them, or this itself."""
        if self.signature.binds is staticmethod:
            return self
        if self.signature.binds is classmethod:
            return bound(self, owner)
        return self if instance is None else bound(self, instance)


def _module_of(function: Callable[..., Any]) -> str:
    """Return the name under which others import the function's module, if it is the program itself.

    Of what was typed into an interpreter or a notebook the code counts: its `__main__` is no one module.
    """
    module, code = function.__module__, function.__code__
    if module in PROGRAMS:
        file = program_file(module)
        if file is None or os.path.abspath(file) != os.path.abspath(code.co_filename):
            return f"{PROGRAM}:{_digest(code).hexdigest()}"
    return importable_module(module)


def _digest(code: CodeType) -> xxh3_128:
    names = (code.co_names, code.co_varnames, code.co_freevars)
    digest = xxh3_128(code.co_code)
    digest.update(f"{names} {[_text(constant) for constant in code.co_consts]}".encode())
    return digest


def _text(constant: object) -> str:
    """Return what tells a constant of a function from others, in every process the same."""
    if isinstance(constant, CodeType):
        return _digest(constant).hexdigest()
    if isinstance(constant, frozenset):  # its order is another in each process
        return f"frozenset {sorted(map(_text, constant))}"
    if isinstance(constant, tuple):
        return f"tuple {[_text(one) for one in constant]}"
    return repr(constant)


def _in_class(function: object) -> bool:
    """Return whether a function was defined in the body of a class, by its name."""
    outer = name_of(function).rpartition(".")[0]
    return outer != "" and not outer.endswith("<locals>")


def name_of(function: object) -> str:
    """Return the qualified name of a function, or of the type of another object that can be called."""
    return getattr(function, "__qualname__", None) or type(function).__qualname__
