"""An exception for each caller of one failed computation.

A raised exception is changed by its raising: its traceback grows with each frame it passes, `from` and notes are added.
So callers that share a failure get an exception of their own, equal to the factory's in type, text and attributes, with
the factory's frames, cause, context and notes. A class that cannot be copied so is left alone: its callers share one.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

_MISSING: Final = object()
_OF_THE_RAISING: Final = frozenset(
    {"__dict__", "__weakref__", "__traceback__", "__cause__", "__context__", "__suppress_context__", "__notes__"}
)
_SLOTS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)


def own_error(error: BaseException) -> BaseException | None:
    """Return an exception that equals `error` and is another object; None if there is none to be had."""
    for make in (_group,) if isinstance(error, BaseExceptionGroup) else (copy.copy, _anew):
        own = _made(make, error)
        if own is not None:
            return own
    return None


def _made(make: Callable[[Any], Any], error: BaseException) -> BaseException | None:
    try:
        own = make(error)
        if own is error or type(own) is not type(error):
            return None
        _complete(own, error)
        if not _equal(own, error):
            return None
    except Exception:  # noqa: BLE001 - the class's own code runs, which is not made for this
        return None
    # Set last: a constructor may have set others.
    own.__cause__, own.__context__ = error.__cause__, error.__context__
    own.__suppress_context__ = error.__suppress_context__
    copied: BaseException = own.with_traceback(error.__traceback__)
    return copied


def _anew(error: BaseException) -> BaseException:
    """Return an exception of the same class that its constructor has not seen: it may want other arguments."""
    own = type(error).__new__(type(error), *error.args)
    own.__dict__.update(error.__dict__)
    return own


def _group(error: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return a group of copies: a caller may raise one of them by itself."""
    parts = [own_error(part) or part for part in error.exceptions]
    own = type(error).__new__(type(error), error.message, parts)
    own.__dict__.update(error.__dict__)
    return own


def _complete(own: BaseException, error: BaseException) -> None:
    """Give `own` the attributes outside `__dict__` that its constructor did not, and notes of its own."""
    cls: Any = type(error)  # hashable, though its instances' own `__hash__` makes mypy think otherwise
    for name in _slots(cls):
        value = getattr(error, name, _MISSING)
        if value is not _MISSING and not _alike(getattr(own, name, _MISSING), value):
            setattr(own, name, value)
    notes = error.__dict__.get("__notes__")
    if isinstance(notes, list):
        own.__dict__["__notes__"] = list(notes)


def _equal(own: BaseException, error: BaseException) -> bool:
    """Return whether text and attributes are equal, those that the interpreter keeps outside `__dict__` included."""
    cls: Any = type(error)
    mine, theirs = own.__dict__, error.__dict__
    return (
        str(own) == str(error)
        and mine.keys() == theirs.keys()
        and all(_alike(mine[name], theirs[name]) for name in mine)
        and all(_alike(getattr(own, name, _MISSING), getattr(error, name, _MISSING)) for name in _slots(cls))
    )


@lru_cache(maxsize=512)
def _slots(cls: type[BaseException]) -> tuple[str, ...]:
    """Return the names of the attributes that exceptions of a class keep outside `__dict__`."""
    left_out = _OF_THE_RAISING
    if issubclass(cls, BaseExceptionGroup):
        left_out |= {"args", "exceptions"}  # they hold the copies
    names = [name for base in cls.__mro__ for name, kept in vars(base).items() if isinstance(kept, _SLOTS)]
    return tuple(name for name in dict.fromkeys(names) if name not in left_out)


def _alike(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)
