"""Access to the page: sessions by cookie, a secret in each form, and a limit on wrong guesses."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

COOKIE: Final = "cachecore_page"
LIFE: Final = 12 * 3600.0
"""Seconds after which a session ends, used or not."""
IDLE: Final = 3600.0
"""Seconds without a request after which it ends; a page that refreshes itself makes requests."""
MOST_SESSIONS: Final = 64
MOST_FAILURES: Final = 5
"""Wrong guesses from one address within `WINDOW`."""
MOST_FAILURES_OF_ALL: Final = 60
WINDOW: Final = 60.0
_MOST_ADDRESSES: Final = 1000


@dataclass(slots=True)
class Session:
    """One browser that has logged in."""

    csrf: str
    began: float
    used: float
    news: str = ""
    """A message that the next page shows once."""


@dataclass(slots=True)
class Sessions:
    """The sessions of one process; a restart ends them. Times are monotonic seconds."""

    clock: Callable[[], float]
    _open: OrderedDict[bytes, Session] = field(default_factory=OrderedDict)

    def begin(self) -> str:
        """Return the cookie of a new session. Of too many, the one that was not used for the longest time ends."""
        cookie = secrets.token_urlsafe(32)
        now = self.clock()
        self._open[_name(cookie)] = Session(secrets.token_urlsafe(32), now, now)
        if len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return cookie

    def find(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, if it has not ended."""
        if not cookie:
            return None
        name = _name(cookie)
        session = self._open.get(name)
        now = self.clock()
        if session is None:
            return None
        if now - session.began > LIFE or now - session.used > IDLE:
            del self._open[name]
            return None
        session.used = now
        self._open.move_to_end(name)
        return session

    def end(self, cookie: str | None) -> None:
        """End the session of a cookie."""
        self._open.pop(_name(cookie or ""), None)


def is_own_form(session: Session, given: str) -> bool:
    """Return whether `given` is the secret that forms of this session carry: no other site can know it."""
    return hmac.compare_digest(session.csrf.encode(), given.encode("utf-8", "surrogatepass"))


@dataclass(slots=True)
class Guesses:
    """Wrong guesses of the last minute: too many, and no further one is looked at. Sessions go on."""

    clock: Callable[[], float]
    _all: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_FAILURES_OF_ALL))
    _by_address: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def wait(self, address: str) -> float:
        """Return the seconds for which no guess from `address` is looked at; 0 or less if it is now."""
        now = self.clock()
        mine = self._by_address.get(address)
        full = [failures for failures in (self._all, mine) if failures and len(failures) == failures.maxlen]
        return max((failures[0] + WINDOW - now for failures in full), default=0.0)

    def failed(self, address: str) -> None:
        """Count a guess. One under way counts as wrong, so that many at once are no way around the limit."""
        now = self.clock()
        mine = self._by_address.get(address)
        if mine is None:
            mine = self._by_address[address] = deque(maxlen=MOST_FAILURES)
            if len(self._by_address) > _MOST_ADDRESSES:
                self._by_address.popitem(last=False)
        self._by_address.move_to_end(address)
        mine.append(now)
        self._all.append(now)

    def right(self, address: str) -> None:
        """Forget the guesses from `address`: it has the secret."""
        mine = self._by_address.pop(address, None)
        if mine and self._all:
            self._all.pop()


def _name(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()
