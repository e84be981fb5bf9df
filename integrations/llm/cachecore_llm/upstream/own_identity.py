"""The identity of providers that an application writes itself: it keeps their answers apart.

A provider's `identity` says it. Without one, class, name and attributes do, as they were when the object was first
seen: an attribute that changes later counts calls or remembers them, and is no setting.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from types import MemberDescriptorType
from typing import Any, Final
from weakref import WeakKeyDictionary

from cachecore.contract.errors import OptionsError, UnkeyableError
from cachecore.keys import encode
from cachecore_llm.upstream.provider import name_of

_MACHINERY: Final = frozenset({"_asyncio", "_contextvars", "_queue", "_thread", "asyncio", "logging", "threading"})
"""Modules of locks, events, queues, tasks and loggers: they steer a program, and shape no answer."""

_seen: WeakKeyDictionary[object, str] = WeakKeyDictionary()


def endpoint_of(provider: object) -> str:
    """Return the text in the place of an endpoint for a provider that has only `generate`.

    Raises OptionsError naming an attribute that has no canonical form.
    """
    if isinstance(getattr(provider, "identity", None), Mapping):
        return ""  # the identity is keyed with the parameters, and the name is not
    try:
        known = _seen.get(provider)
    except TypeError:  # it has no weak references, or no hash
        return _endpoint(provider)
    if known is None:
        known = _seen[provider] = _endpoint(provider)
    return known


def _endpoint(provider: object) -> str:
    kind, name = type(provider), name_of(provider)
    held = _attributes(provider)
    digest = hashlib.sha256()
    for attribute in sorted(held):
        try:
            digest.update(encode([attribute, held[attribute]]))
        except UnkeyableError:
            raise OptionsError(
                f"the provider {name!r} has an attribute {attribute!r} of type {type(held[attribute]).__qualname__}, "
                "which cannot be part of a key, so its answers could be given out for those of another provider: give "
                f"{kind.__qualname__} a property `identity` that returns the settings that shape its answers, such as "
                "{'model': …, 'endpoint': …}"
            ) from None
    return f"plain:{kind.__module__}.{kind.__qualname__}/{name}/{digest.hexdigest()[:32]}"


def _attributes(provider: Any) -> dict[str, Any]:
    """Return the attributes of an object, those in slots included, less machinery."""
    held: dict[str, Any] = dict(getattr(provider, "__dict__", ()))
    for parent in type(provider).__mro__:
        for name, member in vars(parent).items():
            if isinstance(member, functools.cached_property):
                held.pop(member.attrname or name, None)
            elif type(member) is MemberDescriptorType and parent.__module__ != "builtins":
                try:
                    held[name] = getattr(provider, name)
                except AttributeError:
                    pass  # never set
    return {name: value for name, value in held.items() if not _is_machinery(value)}


def _is_machinery(value: object) -> bool:
    """Return whether `value` is no setting: a lock, an event, a logger, or an exception that was kept."""
    return isinstance(value, BaseException) or type(value).__module__.partition(".")[0] in _MACHINERY
