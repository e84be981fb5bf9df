"""How one call uses the cache: as an argument, `cache=Controls(max_age="1h")`, or as a `Cache-Control` header."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration, lifetime, seconds
from cachecore.contract.results import UNSET, Unset

_MAX_SAMPLE: Final = (1 << 63) - 1
_DIRECTIVE: Final = re.compile(r'\s*([\w-]+)\s*(?:=\s*(?:"([^"]*)"|([^\s,;"]*)))?\s*(?:[,;]|$)')
_MAX_HEADER: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """How one call uses the cache. Durations are seconds, a `timedelta` or text such as `"24h"`; read as seconds.

    A control that there is not is an error, and is never sent to the provider. Raises OptionsError.
    """

    ttl: Duration | Unset | None = UNSET
    """How long the answer that this call makes is fresh; None means for ever. Not given: as configured."""
    no_store: bool = False
    """Do not store the answer that this call makes. A stored one may still be served; not with `refresh`."""
    refresh: bool = False
    """Ask the provider although a fresh answer is stored, and replace it."""
    max_age: Duration | None = None
    """Take a stored answer only if it is at most this old; None: as old as its ttl allows."""
    max_stale: Duration | None = None
    """Take a stored answer that is past its ttl by at most this, and ask no provider; None: as configured."""
    min_fresh: Duration | None = None
    """Take a stored answer only if it stays fresh for at least this; None: as long as it is fresh at all."""
    only_if_cached: bool = False
    """Never ask a provider: the answer is in the cache, or there is none."""
    stale_if_error: Duration | None = None
    """For how long past its ttl a stored answer may be served if every provider fails; 0: not at all; None: as
    configured. If over 0, it also allows the stale answer to a request that offers tools, or one with tool calls."""
    similar: bool | None = None
    """Whether the answer to a similar question may be served: True: before a provider is asked; False: never; None: as
    configured."""
    sample: int = 0
    """Which of several answers to one request: 0, 1, 2, … are kept apart."""

    def __new__(cls, *_: object, **controls: object) -> Self:
        """Refuse controls that there are not, with the name that was meant. Raises OptionsError."""
        known = cls.__dataclass_fields__
        for name, value in controls.items():
            if name not in known:
                near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
                way_out = f"did you mean {near[0]}={value!r}?" if near else f"there are {', '.join(known)}"
                raise OptionsError(f"Controls has no control {name!r}: {way_out}")
        return object.__new__(cls)  # `super()` knows the class without slots, which is another one

    def __post_init__(self) -> None:
        if not isinstance(self.ttl, Unset):
            object.__setattr__(self, "ttl", lifetime("ttl", self.ttl))
        for name in ("max_age", "max_stale", "min_fresh", "stale_if_error"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _window(name, value))
        for name in ("no_store", "refresh", "only_if_cached"):
            switch: object = getattr(self, name)
            if not isinstance(switch, bool):
                raise OptionsError(f"{name} must be True or False, not {switch!r}")
        likely: object = self.similar
        if likely is not None and not isinstance(likely, bool):
            raise OptionsError(f"similar must be True, False or None, not {likely!r}")
        sample: object = self.sample
        if isinstance(sample, bool) or not isinstance(sample, int) or not 0 <= sample <= _MAX_SAMPLE:
            raise OptionsError(f"sample must be a whole number, 0 or more and below 2**63, not {sample!r}")
        if self.only_if_cached and self.refresh:
            raise OptionsError(
                "only_if_cached=True never asks a provider and refresh=True always does: give one of them"
            )

    @classmethod
    def from_cache_control(cls, header: str) -> Controls:
        """Return the controls that the value of a `Cache-Control` request header asks for.

        `no-store`, `no-cache`, `max-age`, `max-stale`, `min-fresh`, `only-if-cached`, `stale-if-error` (RFC 9111 and
        5861); and as extensions (RFC 9111, section 5.2.3) `ttl` and `sample` with a number, `similar` and `no-similar`
        (which wins). Any other directive is ignored, and so is a value that cannot be read; of two with one name the
        first counts. Never raises.
        """
        given: dict[str, Any] = {}
        for name, value in _directives(header):
            read = _READ.get(name)
            if read is None or (told := read[1](value)) is None:
                continue
            if name == "no-similar":  # the careful one wins, wherever it stands
                given[read[0]] = told
            given.setdefault(read[0], told)
        if given.get("only_if_cached") and given.pop("refresh", False):
            given["max_age"] = 0.0  # RFC 9111: no stored answer satisfies both, and no provider may be asked
        return cls(**given) if given else DEFAULT

    @property
    def bounds_freshness(self) -> bool:
        """Whether the call says how fresh a stored answer must be."""
        return self.max_stale is not None or self.min_fresh is not None


DEFAULT: Final = Controls()
"""The controls of a call that gives none."""


def _window(name: str, value: Duration) -> float:
    window = seconds(name, value)
    if not 0 <= window < float("inf"):  # NaN fails here too
        raise OptionsError(f"{name} must be 0 seconds or more and finite, not {value!r}")
    return window


def _directives(header: str) -> Iterator[tuple[str, str | None]]:
    """Yield the directives of a header with their values; text that is none is skipped up to the next comma."""
    header, at = header[:_MAX_HEADER], 0
    while at < len(header):
        match = _DIRECTIVE.match(header, at)
        if match is None:
            comma = header.find(",", at)
            at = len(header) if comma < 0 else comma + 1
            continue
        yield match[1].lower(), match[2] if match[2] is not None else match[3]
        at = match.end()


def _flag(value: str | None) -> bool | None:
    return True if not value else None


def _not_flag(value: str | None) -> bool | None:
    return None if value else False


def _whole_number(value: str | None) -> int | None:
    # RFC 9111: delta-seconds are decimal digits; more than nine of them mean "very long".
    return min(int(value), 10**9) if value and value.isascii() and value.isdigit() and len(value) <= 18 else None


def _seconds(value: str | None) -> float | None:
    number = _whole_number(value)
    return None if number is None else float(number)


def _staleness(value: str | None) -> float | None:
    return _seconds(value) if value else 1e9  # RFC 9111: without a value, however stale


def _ttl(value: str | None) -> float | None:
    return _seconds(value) or None  # a ttl of 0 is none; `no-store` is the way to say it


_READ: Final[dict[str, tuple[str, Callable[[str | None], Any]]]] = {
    "no-store": ("no_store", _flag),
    "no-cache": ("refresh", _flag),
    "only-if-cached": ("only_if_cached", _flag),
    "max-age": ("max_age", _seconds),
    "max-stale": ("max_stale", _staleness),
    "min-fresh": ("min_fresh", _seconds),
    "stale-if-error": ("stale_if_error", _seconds),
    "similar": ("similar", _flag),
    "no-similar": ("similar", _not_flag),
    "ttl": ("ttl", _ttl),
    "sample": ("sample", _whole_number),
}
