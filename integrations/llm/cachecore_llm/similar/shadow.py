"""Whether similar answers are right, judged while they could still be checked: against the provider's own.

Of the calls that a provider answers a sampled share is looked up as if it had not: if an answer would have been served
as similar, a judge of the application's compares the two, behind the caller. When the judged answers show, with
confidence, more errors than the limit, similar answers are switched off until `reset`.
"""

from __future__ import annotations

import inspect
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import metrics

from cachecore.contract.errors import OptionsError
from cachecore_llm.similar.intervals import lower_bound, upper_bound
from cachecore_llm.similar.threads import Threads

logger = logging.getLogger("cachecore.llm")

Judge = Callable[[str, str, str, str], Any]
"""`(question, matched question, similar answer, provider's answer) -> bool`, or a coroutine of one: whether the similar
answer is right for the question. A function that is no coroutine function runs in a thread, of which a check has four.
It sees texts of users: what it keeps is its own affair."""

WINDOW: Final = 1_000
"""Judged answers that count; older ones are forgotten, as the questions change."""
_THREADS: Final = 4
"""Calls of a judge at once. Threads of its own: in those of the loop, which a slow judge would fill, names of providers
are looked up."""


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """The result of the check so far."""

    judged: int
    wrong: int
    failed: int
    """Comparisons that the judge did not decide: it raised, or gave neither True nor False."""
    error: float | None
    """The part that was wrong; None before the first."""
    at_least: float
    """The error that is sure, with the confidence of the check."""
    at_most: float
    """The error that is not ruled out, with the same confidence."""
    off: bool
    """Whether similar answers are switched off."""


class ShadowCheck:
    """Draws calls, has their similar answers judged, and counts. For one event loop; several caches may share one.

    Args:
        judge: decides whether a similar answer is right. An error of its own is counted and judges nothing, nor does
            anything but True or False, such as the text "no" or the number 1.
        share: the part of the calls that is drawn, over 0 to 1. Each costs the judge's work; of calls that a similar
            answer would have served first, the provider's as well.
        max_error: the part of wrong answers above which similar answers are switched off.
        confidence: how sure that has to be.
        chance: draws.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        share: float = 0.01,
        max_error: float = 0.01,
        confidence: float = 0.95,
        chance: random.Random | None = None,
    ) -> None:
        if not 0 < share <= 1:
            raise OptionsError(f"share must be over 0 and at most 1, not {share!r}")
        for name, value in (("max_error", max_error), ("confidence", confidence)):
            if not 0 < value < 1:
                raise OptionsError(f"{name} must be over 0 and under 1, not {value!r}")
        if not callable(judge):
            raise OptionsError(f"judge must be a callable of four texts, not {judge!r}")
        self._judge = judge
        self._threads = Threads("cachecore-judge", _THREADS)
        self._share = share
        self._max_error = max_error
        self._confidence = confidence
        self._chance = chance or random.Random()  # noqa: S311 - a sample, not a secret
        self._wrong: deque[bool] = deque(maxlen=WINDOW)
        self._failed = 0
        self.off = False
        """Whether similar answers are switched off."""
        meter = metrics.get_meter("cachecore.llm")
        self._checks = meter.create_counter("cachecore.llm.similar.checks", "{check}", "Similar answers judged.")
        self._errors = meter.create_gauge(
            "cachecore.llm.similar.error", "1", "Part of the similar answers judged wrong."
        )
        self._bounds = meter.create_gauge("cachecore.llm.similar.error_bound", "1", "Error that is not ruled out.")

    def draws(self) -> bool:
        """Return whether the next call is drawn."""
        return self._chance.random() < self._share

    async def judge(self, question: str, matched: str, similar: str, own: str) -> None:
        """Have one similar answer judged, and switch off if that is one too many. Never raises."""
        try:
            right = await self._verdict(question, matched, similar, own)
            if not isinstance(right, bool):  # a number may be a grade
                raise TypeError("a judge returns True or False")
        except Exception as error:  # noqa: BLE001 - the application's code, behind its caller's back
            self._failed += 1
            self._checks.add(1, {"result": "failed"})
            logger.warning("the judge of similar answers gave no True or False: %s", type(error).__name__)
            return
        self.note(right=right)

    async def _verdict(self, *texts: str) -> Any:
        if inspect.iscoroutinefunction(self._judge):
            return await self._judge(*texts)
        verdict = await self._threads.run(self._judge, *texts)
        return await verdict if inspect.isawaitable(verdict) else verdict

    def note(self, *, right: bool) -> None:
        """Count one judged answer."""
        self._wrong.append(not right)
        self._checks.add(1, {"result": "right" if right else "wrong"})
        found = self.report
        self._errors.set(found.error or 0.0)
        self._bounds.set(found.at_most)
        if not self.off and found.at_least > self._max_error:
            self.off = True
            logger.warning(
                "similar answers are switched off: %d of %d judged ones were wrong, and at most %g may be",
                found.wrong,
                found.judged,
                self._max_error,
            )

    @property
    def report(self) -> ShadowReport:
        """Return the result so far; a snapshot."""
        judged, wrong = len(self._wrong), sum(self._wrong)
        return ShadowReport(
            judged=judged,
            wrong=wrong,
            failed=self._failed,
            error=wrong / judged if judged else None,
            at_least=lower_bound(wrong, judged, self._confidence),
            at_most=upper_bound(wrong, judged, self._confidence),
            off=self.off,
        )

    def reset(self) -> None:
        """Forget all judgements, and switch similar answers on again."""
        self._wrong.clear()
        self.off = False
