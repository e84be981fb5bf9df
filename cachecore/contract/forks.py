"""Parts that begin anew in a forked child. One handler calls them all, in the order in which they were entered.

A part is entered after the parts that it is made of: their locks are sound again when it uses them.
"""

from __future__ import annotations

import inspect
import itertools
import os
import weakref
from collections.abc import Callable
from typing import Final

Callback = Callable[[], object]

_numbers: Final = itertools.count()
_in_child: Final[dict[int, Callable[[], Callback | None]]] = {}  # ordered; each change is one C call, so atomic
_around: Final[list[tuple[Callback, Callback]]] = []


def in_child(callback: Callback) -> None:
    """Call `callback` in each forked child; a method for as long as its object lives."""
    number = next(_numbers)
    if inspect.ismethod(callback):
        _in_child[number] = weakref.WeakMethod(callback, lambda _: _in_child.pop(number, None))
    else:
        _in_child[number] = lambda: callback


def around(before: Callback, after_in_parent: Callback) -> None:
    """Call `before` before each fork, the latest first, and `after_in_parent` after it in the parent."""
    _around.append((before, after_in_parent))


def _before() -> None:
    for before, _ in reversed(_around):
        before()


def _after_in_parent() -> None:
    for _, after_in_parent in _around:
        after_in_parent()


def _after_in_child() -> None:
    for reference in list(_in_child.values()):
        callback = reference()
        if callback is not None:
            callback()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
