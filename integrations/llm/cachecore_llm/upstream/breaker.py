"""Whether a provider is asked at all: not while it has shown that it does not answer.

Closed, every call is let through. After `failures` passing faults in a row, or one timeout, it opens: no call passes
for `pause` seconds. Then one call is let through to probe; the others wait for nothing and go to the next provider. If
the probe fails, the pause doubles, up to `longest_pause`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import positive

Pass = Literal["call", "probe"]
"""A call that is made: as any, or as the one that finds out whether the provider is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOptions:
    """Settings of a breaker."""

    failures: int = 5
    """Passing faults in a row after which the provider is not asked for a while."""
    pause: float = 10.0
    """Seconds for which it is not asked then."""
    longest_pause: float = 300.0
    """Seconds that the pause, which doubles each time a probe fails, does not exceed."""

    def __post_init__(self) -> None:
        if type(self.failures) is not int or self.failures < 1:
            raise OptionsError(f"failures must be a whole number of at least 1, not {self.failures!r}")
        positive("pause", self.pause)
        if positive("longest_pause", self.longest_pause) < self.pause:
            raise OptionsError(f"longest_pause must be at least pause = {self.pause:g} s, not {self.longest_pause!r}")


class Breaker:
    """The breaker of one provider. Times are monotonic seconds, given by the caller. Never waits."""

    __slots__ = ("_failed", "_open_until", "_options", "_pause", "_probing", "last_error")

    def __init__(self, options: BreakerOptions) -> None:
        """Begin closed. Raises OptionsError if `options` are none."""
        given: object = options
        if not isinstance(given, BreakerOptions):
            raise OptionsError(f"the settings of a breaker are BreakerOptions(…), not {given!r}")
        self._options = options
        self._failed = 0
        self._open_until: float | None = None
        self._pause = float(options.pause)
        self._probing = False
        self.last_error: Exception | None = None
        """The fault that it counted last; None while the provider answers."""

    @property
    def is_open(self) -> bool:
        """Whether the provider is taken for dead; a probe may be due."""
        return self._open_until is not None

    def retry_in(self, now: float) -> float:
        """Return the seconds until the provider is asked again; 0 while it is."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - now)

    def admit(self, now: float) -> Pass | None:
        """Return how a call made now counts; None if the provider must not be asked.

        One of the three methods below must follow its end, with that pass.
        """
        if self._open_until is None:
            return "call"
        if self._probing or now < self._open_until:
            return None
        self._probing = True
        return "probe"

    def answered(self, admitted: Pass) -> None:
        """Say that the provider answered, or judged the request: it is alive."""
        self._failed = 0
        self._open_until = None
        self._pause = float(self._options.pause)
        self._probing = self._probing and admitted != "probe"
        self.last_error = None

    def failed(self, admitted: Pass, error: Exception, now: float, *, at_once: bool) -> None:
        """Say that the provider failed with a passing fault. `at_once`: one is enough, as after a timeout."""
        if admitted == "probe":
            self._probing = False
            self._pause = min(self._pause * 2, float(self._options.longest_pause))
        elif self._open_until is not None:
            return  # it was under way when the breaker opened, and says nothing new
        self.last_error = error
        self._failed += 1
        if admitted == "probe" or at_once or self._failed >= self._options.failures:
            self._open_until = now + self._pause

    def left(self, admitted: Pass) -> None:
        """Say that the call ended without showing anything of the provider: it was cancelled, or never sent."""
        if admitted == "probe":
            self._probing = False
