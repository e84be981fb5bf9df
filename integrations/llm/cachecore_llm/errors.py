"""Every error of the LLM integration, in one tree.

LLMError
├── NotCachedError         (LookupError)  only a stored answer was wanted, and there is none
├── AllProvidersFailedError               no provider answered, and the cache could not step in
├── ProviderTimeoutError   (TimeoutError) a provider did not answer in its time
├── ProviderUnavailableError              a provider has failed so often that it is not asked for a while
├── UnusableAnswerError                   a provider answered with something that is no answer
│   └── ReportedError                     it reported an error under HTTP 200, or inside a stream
└── UnsupportedRequestError (ValueError)  the request asks for what this version cannot give honestly
    └── UnknownParameterError             it has a parameter that the protocol does not know
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class LLMError(Exception):
    """The root of the errors of this package."""


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """Which provider failed, and how."""

    provider: str
    error: Exception


class AllProvidersFailedError(LLMError):
    """Every provider failed; `failures` says which and why, in the order they were asked.

    The text names providers and kinds of error, HTTP statuses, and the reason of an error of this package. A provider's
    own message is not told: it may hold a prompt or a part of a key.
    The errors themselves are in `causes`, and chained.
    """

    def __init__(self, failures: Sequence[ProviderFailure]) -> None:
        super().__init__(tuple(failures))
        self.failures = tuple(failures)

    @property
    def causes(self) -> tuple[Exception, ...]:
        """Return the providers' own errors, in the order they were asked."""
        return tuple(failure.error for failure in self.failures)

    def __str__(self) -> str:
        each = "; ".join(f"{failure.provider}: {_told(failure.error)}" for failure in self.failures)
        return f"all {len(self.failures)} providers failed: {each}"


def _told(error: Exception) -> str:
    name = type(error).__name__
    if isinstance(error, UnusableAnswerError):
        return f"{name} ({error.reason})"
    if isinstance(error, UnsupportedRequestError):  # it names fields, and how to go on without them
        return f"{name} ({error})"
    if isinstance(error, ProviderTimeoutError):
        return f"{name} (no answer within {error.timeout:g} s)"
    if isinstance(error, ProviderUnavailableError):
        last = f", last with {_told(error.__cause__)}" if isinstance(error.__cause__, Exception) else ""
        return f"{name} (not asked again for {error.retry_in:.3g} s, because it has failed repeatedly{last})"
    status = getattr(error, "status_code", None)
    return f"{name} (HTTP status {status})" if type(status) is int else name


class NotCachedError(LLMError, LookupError):
    """The call takes only what is in the cache, and there is nothing to take; `reason` says why, as a lookup does."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"only_if_cached: there is no answer in the cache ({self.reason})"


class ProviderTimeoutError(LLMError, TimeoutError):
    """The provider did not answer within `timeout` seconds."""

    def __init__(self, provider: str, timeout: float) -> None:
        super().__init__(provider, timeout)
        self.provider = provider
        self.timeout = timeout

    def __str__(self) -> str:
        return f"{self.provider} did not answer within {self.timeout:g} s"


class UnusableAnswerError(LLMError):
    """The provider answered in a form that holds no answer; `reason` names the fault in a word."""

    came: object = None
    """What the provider sent, for faces that pass it on; no part of the text, because it may hold a prompt."""

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(provider, reason)
        self.provider = provider
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.provider} answered without an answer: {self.reason}"


class ReportedError(UnusableAnswerError):
    """The provider reported an error where an answer should be: under HTTP 200, or inside a stream.

    `status`, `kind` and `code` are the provider's own words for it, None where it says nothing. Its message is left
    out: it may hold a part of the prompt.
    """

    def __init__(
        self, provider: str, status: int | None = None, kind: str | None = None, code: str | None = None
    ) -> None:
        said = ", ".join(str(word) for word in (status, kind, code) if word is not None)
        super().__init__(provider, f"it reported an error ({said})" if said else "it reported an error")
        self.args = (provider, status, kind, code)
        self.status, self.kind, self.code = status, kind, code


class ProviderUnavailableError(LLMError):
    """The provider has failed so often that it is not asked for another `retry_in` seconds.

    Chained to it is the error that it failed with last.
    """

    def __init__(self, provider: str, retry_in: float) -> None:
        super().__init__(provider, retry_in)
        self.provider = provider
        self.retry_in = retry_in

    def __str__(self) -> str:
        return f"{self.provider} has failed repeatedly and is not asked again for {self.retry_in:.3g} s"


class UnsupportedRequestError(LLMError, ValueError):
    """The request asks for something that would be lost or wrong if it were answered."""


class UnknownParameterError(UnsupportedRequestError):
    """A request has a parameter that the protocol does not know: misspelt, or newer than the installed SDK."""

    def __init__(self, protocol: str, parameter: str, nearest: str | None = None) -> None:
        super().__init__(protocol, parameter, nearest)
        self.protocol, self.parameter, self.nearest = protocol, parameter, nearest

    def __str__(self) -> str:
        meant = f"; did you mean {self.nearest!r}?" if self.nearest else "."
        return (
            f"{self.protocol} has no parameter {self.parameter!r}{meant} One that is newer than the installed SDK goes "
            f"through extra_body={{{self.parameter!r}: …}}, which is sent and keyed"
        )
