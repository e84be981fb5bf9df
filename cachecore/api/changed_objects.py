"""The log of methods that change their own object while they compute.

Attributes of a method's object are part of the request. A method that counts its calls in one of them, or fills a
list there, makes another request each time: its answers are stored and never found again.
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Callable
from typing import Any, Final

from cachecore.api.naming import name_of
from cachecore.api.signatures import CallSignature

logger = logging.getLogger("cachecore")

_WATCHED: Final = 8
"""Computations of a function that are watched; a method that always changes its object is seen at once."""


def watched(function: Any, signature: CallSignature, key: Callable[[Any], str], *, is_async: bool) -> Any:
    """Return the function that computes; of a method, one that logs changes of its object, at most once.

    `key` returns the key of a request.
    """
    if not signature.is_of_methods:
        return function
    watch = _Watch(name_of(function), signature, key)

    if is_async:

        @functools.wraps(function)
        async def computed(*args: Any, **kwargs: Any) -> Any:
            before = watch.marks(args)
            value = await function(*args, **kwargs)
            watch.compare(before, args)
            return value

        return computed

    @functools.wraps(function)
    def computed_here(*args: Any, **kwargs: Any) -> Any:
        before = watch.marks(args)
        value = function(*args, **kwargs)
        watch.compare(before, args)
        return value

    return computed_here


class _Watch:
    """The first computations of one method."""

    def __init__(self, name: str, signature: CallSignature, key: Callable[[Any], str]) -> None:
        self._name, self._signature, self._key = name, signature, key
        self._left = _WATCHED
        self._changed: weakref.ref[Any] | None = None
        """The object that was changed last. Its second change counts: a first one may make what is needed later."""

    def marks(self, args: tuple[Any, ...]) -> dict[str, str] | None:
        """Return a key for each attribute that counts; None where there is nothing to watch."""
        if self._left <= 0 or not args:
            return None
        self._left -= 1
        return self._marks(args)

    def _marks(self, args: tuple[Any, ...]) -> dict[str, str] | None:
        try:
            form = self._signature.object_form(args[0]) or {}
            parts = form.get("attributes", {"": form["self"]} if "self" in form else {})
            return {name: self._key({"attribute": value}) for name, value in parts.items()}
        except Exception:  # noqa: BLE001 - the call itself says what cannot be keyed
            return None

    def compare(self, before: dict[str, str] | None, args: tuple[Any, ...]) -> None:
        """Log attributes that have other keys than before, once it was so twice for one object."""
        if before is None:
            return
        after = self._marks(args)
        if after is None or after == before:
            return
        if self._changed is None or self._changed() is not args[0]:
            try:
                self._changed = weakref.ref(args[0])
            except TypeError:  # slots without `__weakref__`
                self._left = 0
            return
        self._left = 0
        first = next(iter(self._signature.signature.parameters))
        names = [
            f"{first}.{name}" for name in sorted({*before, *after}) if name and before.get(name) != after.get(name)
        ]
        logger.warning(
            "%s changes its object while it computes (%s), which is part of the request: later calls do not find the "
            "answer. Leave what does not shape the answer out with cached(exclude=%s). Said once",
            self._name, ", ".join(names) or "its fields", names or [f"{first}.…"],
        )  # fmt: skip
