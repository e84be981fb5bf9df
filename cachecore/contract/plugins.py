"""Plugins by name: which are installed, which one a name or a URL means, and which package to install if none is.

Plugins are entry points of four groups, and of those that other distributions open. Each is a callable, imported when
it is asked for by name and not before:

    cachecore.backends     scheme of a URL -> (url) -> CacheBackend; may take `clock=`, of a cache that was given one
    cachecore.hashers      name -> (**options) -> KeyHasher
    cachecore.serializers  name -> (**options) -> Serializer; one that wraps another takes it as `inner`
    cachecore.eviction     name -> (max_entries) -> policy of the L1 tier

URLs hold passwords, so none is ever shown as it is: every message goes through `redaction.redact_url`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cachecore.contract.clock import Clock
from cachecore.contract.errors import CacheError, OptionsError, PluginNotFound
from cachecore.contract.protocols import CacheBackend, KeyHasher, Serializer
from cachecore.contract.redaction import HIDDEN, URL, redact_url, tells, untold

if TYPE_CHECKING:
    # Imported where it is used: it costs as much as the rest of the library together.
    from importlib.metadata import EntryPoint

    from cachecore.contract.eviction import PolicyFactory

BACKENDS: Final = "cachecore.backends"
HASHERS: Final = "cachecore.hashers"
SERIALIZERS: Final = "cachecore.serializers"
EVICTION: Final = "cachecore.eviction"

_PLACE: Final = re.compile(r"[A-Za-z0-9.-]+:\d{2,5}(?:/\d{1,3})?|localhost")
_FILE: Final = re.compile(r"[\w./~-]+\.(?:db|sqlite|sqlite3)")

_WORDS: Final = {BACKENDS: "backend", HASHERS: "hasher", SERIALIZERS: "serializer", EVICTION: "eviction policy"}
_INSTALL: Final[Mapping[str, Mapping[str, str]]] = {
    BACKENDS: {
        "redis": "pip install cachecore-redis",
        "rediss": "pip install cachecore-redis",
        "unix": "pip install cachecore-redis",
        "redis+sentinel": "pip install cachecore-redis",
        "rediss+sentinel": "pip install cachecore-redis",
        "redis+cluster": "pip install cachecore-redis",
        "rediss+cluster": "pip install cachecore-redis",
        "sqlite": "pip install cachecore-sqlite",
        "postgres": "pip install 'cachecore-postgres[binary]'",
        "postgresql": "pip install 'cachecore-postgres[binary]'",
        "s3": "pip install cachecore-objects",
        "gs": "pip install cachecore-objects",
        "az": "pip install cachecore-objects",
        "file": "pip install cachecore-objects",
    },
}


def backend_from_url(url: str, *, clock: Clock | None = None, required: bool = True) -> CacheBackend:
    """Return a new backend at `url`; its scheme names the plugin. Nothing is connected yet.

    A `clock` is handed to the plugin. If that is `required`, its callable must take one: a cache and its store must not
    tell other times.

    Raises:
        PluginNotFound: no plugin takes that scheme, or it cannot be imported.
        OptionsError: the plugin does not accept the URL, or has no use for a clock.
    """
    match = URL.fullmatch(url)
    if match is None:
        raise _no_url(url)
    scheme = match[1].lower()
    make = _load(BACKENDS, scheme)
    follows = clock is not None and _takes(make, "clock")
    own: dict[str, Any] = {"clock": clock} if follows else {}
    if clock is not None and required and not follows:
        raise OptionsError(
            f"clock= does not move the store at {redact_url(url)!r}, which has a clock of its own: use memory://, "
            "whose store follows it, or build a backend that takes one and give it here"
        )
    try:
        made = make(url, **own)
    except Exception as error:
        if isinstance(error, CacheError) and not tells(error, url):
            raise
        # Not chained: the plugin's message may quote the URL with its password.
        raise OptionsError(f"the backend {scheme!r} does not accept {redact_url(url)!r}: {_why(error, url)}") from None
    if not isinstance(made, CacheBackend):
        raise _misfit(made, CacheBackend, BACKENDS, scheme)
    return made


def _no_url(text: str) -> OptionsError:
    """Return the error for a text that is no URL; it is shown only if it can be no password."""
    known = "memory://, sqlite:///answers.db or redis://host:6379/0"
    if not text:
        return OptionsError(f"the backend is an empty text: give a URL such as {known}; is a variable not set?")
    if _PLACE.fullmatch(text):
        return OptionsError(f"a backend is named by a URL such as {known}, not {text!r}: is it redis://{text}?")
    if _FILE.fullmatch(text):
        return OptionsError(f"a backend is named by a URL such as {known}, not {text!r}: is it sqlite:///{text}?")
    return OptionsError(
        f"a backend is named by a URL such as {known}, not {HIDDEN!r} (not shown: it may hold a password)"
    )


def _why(error: Exception, url: str) -> str:
    text = untold(error, url)
    if text is None:
        return (
            f"{type(error).__name__}, whose text may hold a password. Special characters of a password are "
            "percent-encoded: / as %2F, # as %23, ? as %3F, @ as %40"
        )
    return text if isinstance(error, CacheError) else f"{type(error).__name__}: {text}"


def hasher(name: str, **options: Any) -> KeyHasher:
    """Return the hasher called `name`, made with `options`.

    Raises:
        PluginNotFound: none is called that, or it cannot be imported.
        OptionsError: it has no such options.
    """
    make = _load(HASHERS, name)
    _bind(make, options, HASHERS, name)
    made = make(**options)
    if not isinstance(made, KeyHasher):
        raise _misfit(made, KeyHasher, HASHERS, name)
    return made


def serializer(name: str, **options: Any) -> Serializer:
    """Return the serializer called `name`, made with `options`.

    Serializers that wrap others are joined with `+`, the outermost first: `encrypted+compressed+json` encrypts the
    compressed bytes. Each option goes to all that take one of that name, as a limit of size should.

    Raises:
        PluginNotFound: none is called that, or it cannot be imported.
        OptionsError: no serializer takes an option, or it does not accept its value.
    """
    links = [(link, _load(SERIALIZERS, link)) for link in name.split("+")]
    own: list[dict[str, Any]] = [{} for _ in links]
    for option, value in options.items():
        takers = [position for position, (_, make) in enumerate(links) if _takes(make, option)]
        if not takers:
            known = sorted({known for _, make in links for known in _parameters(make)})
            raise OptionsError(
                f"none of the serializers in {name!r} takes the option {option!r}; the options are: "
                f"{', '.join(known) or 'none'}"
            )
        for taker in takers[-1:] if option == "inner" else takers:  # `inner` is the last of the chain
            own[taker][option] = value
    inner: dict[str, Serializer] = {}  # holds one under that name, once there is one
    for (link, make), chosen in reversed(list(zip(links, own, strict=True))):
        if inner and not _takes(make, "inner"):
            raise OptionsError(f"the serializer {link!r} wraps no other, so it can only come last in {name!r}")
        chosen.update(inner)
        _bind(make, chosen, SERIALIZERS, link)
        made = make(**chosen)
        if not isinstance(made, Serializer):
            raise _misfit(made, Serializer, SERIALIZERS, link)
        inner["inner"] = made
    return inner["inner"]


def eviction(name: str) -> PolicyFactory:
    """Return the factory of the eviction policy called `name`; it takes the number of entries of its tier.

    Raises:
        PluginNotFound: none is called that, or it cannot be imported.
    """
    return _load(EVICTION, name)


def made(group: str, name: str, **options: Any) -> object:
    """Return the object that the plugin `name` of `group` makes of `options`. The caller checks its type.

    Raises:
        PluginNotFound: none is called that, or it cannot be imported.
        OptionsError: it has no such options.
    """
    make = _load(group, name)
    _bind(make, options, group, name)
    result: object = make(**options)
    return result


def installed(group: str) -> dict[str, str]:
    """Return the names of `group` and the distribution that brings each. Imports none of them.

    Where several bring one name, all are given, separated by commas; asking for that name is an error.
    """
    owners_of: dict[str, list[str]] = {}
    for entry in _entries(group):
        owners_of.setdefault(entry.name, []).append(_distribution(entry))
    return {name: ", ".join(sorted(owners_of[name])) for name in sorted(owners_of)}


_scanned: dict[str, tuple[list[str], list[EntryPoint]]] = {}  # group -> the path it was looked for on, and its plugins


def _entries(group: str) -> list[EntryPoint]:
    from importlib.metadata import entry_points

    entries = list(entry_points(group=group))
    _scanned[group] = list(sys.path), entries
    return entries


def _entries_with(group: str, name: str) -> list[EntryPoint]:
    """Return the plugins of `group`, as of the last look if `name` was among them: a look reads every distribution."""
    path, entries = _scanned.get(group, (None, []))
    if path == sys.path and any(entry.name == name for entry in entries):
        return entries
    return _entries(group)


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def _load(group: str, name: str) -> Callable[..., Any]:
    word = _word(group)
    entries = _entries_with(group, name)
    matching = [entry for entry in entries if entry.name == name]
    install = _INSTALL.get(group, {}).get(name)
    if not matching:
        known = ", ".join(sorted({entry.name for entry in entries})) or "none"
        hint = f"; to install it: {install}" if install else ""
        raise PluginNotFound(f"no {word} is called {name!r}; installed are: {known}{hint}")
    if len(matching) > 1:
        owners = " and ".join(sorted(map(_distribution, matching)))
        raise OptionsError(f"the {word} {name!r} is brought by more than one distribution: {owners}; uninstall one")
    try:
        made = matching[0].load()
    except Exception as error:
        hint = f"; to install what it needs: {install}" if install and isinstance(error, ImportError) else ""
        raise PluginNotFound(
            f"the {word} {name!r} of {_distribution(matching[0])} cannot be imported: "
            f"{type(error).__name__}: {error}{hint}"
        ) from error
    if not callable(made):
        raise PluginNotFound(f"the {word} {name!r} of {_distribution(matching[0])} is no callable but {type(made)!r}")
    loaded: Callable[..., Any] = made
    return loaded


def _word(group: str) -> str:
    return _WORDS.get(group, f"plugin of {group}")


def _parameters(make: Callable[..., Any]) -> list[str]:
    from inspect import Parameter, signature

    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return [name for name, parameter in signature(make).parameters.items() if parameter.kind in named]


def _takes(make: Callable[..., Any], option: str) -> bool:
    return option in _parameters(make)


def _bind(make: Callable[..., Any], options: Mapping[str, Any], group: str, name: str) -> None:
    """Tell a wrong option from a plugin that fails: the first is the caller's to mend."""
    from inspect import signature

    try:
        signature(make).bind(**options)
    except TypeError as error:
        known = ", ".join(_parameters(make)) or "none"
        raise OptionsError(f"the {_word(group)} {name!r}: {error}; its options are: {known}") from None


def _misfit(made: object, protocol: type, group: str, name: str) -> OptionsError:
    members = (member for member in vars(protocol) if not member.startswith("_"))
    lacks = ", ".join(member for member in members if not hasattr(made, member))
    return OptionsError(f"the {_word(group)} {name!r} made a {type(made).__name__}, which has no {lacks}")
