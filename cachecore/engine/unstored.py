"""The log of answers that were not stored and of refreshes that failed: each cause once for each function."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from cachecore.engine.unshared import code_of

logger = logging.getLogger("cachecore")

_MOST: Final = 10_000


class UnstoredLog:
    """Functions and causes that have been logged."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str, object]] = set()

    def warn(self, namespace: str, factory: Callable[..., Any], reason: str, why: str, error: Exception | None) -> None:
        """Log that an answer of `factory` was not stored, and `why`: at WARNING the first time, at DEBUG each time.

        `why` holds neither the value nor the text of `error`, which may quote it: those are for DEBUG.
        """
        code = code_of(factory)
        if self._is_new(namespace, reason, code):
            logger.warning(
                "an answer of %s in namespace %r was returned but not stored: %s. Said once; all are counted in "
                "stats.not_stored under %r",
                name_of(code), namespace, why, reason,
            )  # fmt: skip
        logger.debug("an answer was returned but not stored: %s", why, exc_info=error)

    def warn_behind(self, namespace: str, factory: Callable[..., Any], error: Exception) -> None:
        """Log that a refresh by `factory` failed, which no caller waits for: at WARNING the first time.

        The text of `error` may quote a prompt: it is for DEBUG.
        """
        code, kind = code_of(factory), type(error).__qualname__
        if self._is_new(namespace, f"behind {kind}", code):
            logger.warning(
                "a refresh behind an old answer failed in %s in namespace %r: %s. The old answer is served until its "
                "time is over. If it used a session of a request that has ended, open one there, or give cached, "
                "get_or_set or lookup a refresh_factory that does. Said once",
                name_of(code), namespace, kind,
            )  # fmt: skip
        logger.debug("a refresh behind an old answer failed", exc_info=error)

    def _is_new(self, namespace: str, reason: str, code: object) -> bool:
        if (namespace, reason, code) in self._said:
            return False
        if len(self._said) >= _MOST:
            self._said.clear()
        self._said.add((namespace, reason, code))
        return True


def name_of(code: object) -> str:
    """Return how a function is called in its source."""
    name = getattr(code, "co_qualname", None) or getattr(code, "__qualname__", None)
    return name if isinstance(name, str) else type(code).__qualname__
