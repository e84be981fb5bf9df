"""Which kind of fault an error is: the caller's own, one that passes, or an answer that is none.

SDKs are not imported: their errors carry `status_code`, and everything that is not known to be somebody's mistake is
taken for an outage that passes.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from cachecore.contract.errors import OptionsError, UnkeyableError
from cachecore_llm.errors import ReportedError, UnsupportedRequestError, UnusableAnswerError
from cachecore_llm.key import RefusedFieldError
from cachecore_llm.wire import UnreadableRequestError

Fault = Literal["caller", "passing", "unusable"]
"""`caller`: the request or the settings are wrong; it reaches the caller as it is, and no other provider is asked.
`passing`: the provider cannot answer now; the next one is asked, and the cache may step in.
`unusable`: the provider answered, and the answer holds none; as `passing`, but the provider is not taken for dead."""

_PASSING_STATUSES: Final = frozenset({402, 408, 409, 423, 424, 425, 429, 498, 499})
"""Of the statuses from 400 to 499, those that are no mistake of this request.

402 is a bill that somebody has to pay: the request is right and every other provider can answer it, as with OpenAI's
429 `insufficient_quota`, which means the same. 409 is a lock of another request; both SDKs ask again after it. 424 is
how Bedrock says that the model failed. 498 and 499 are gateways that lost patience. 401 and 403 are settings: a wrong
key, a model or a country that is not allowed. They do not pass, and answers from the cache would hide them.
"""

_CALLER_KINDS: Final = frozenset(
    {
        *("invalid_request_error", "authentication_error", "permission_error", "not_found_error"),
        *("request_too_large", "unknown_parameter", "invalid_api_key", "model_not_found"),
    }
)
"""Words of an error that came under HTTP 200, or inside a stream, and so has no status."""

_FILTERED: Final = frozenset({"content_filter", "content_policy_violation"})
"""Azure and OpenAI answer 400 where their filter has stopped the prompt: another provider may answer it."""

_CALLER: Final = (
    *(UnsupportedRequestError, OptionsError, UnkeyableError, UnreadableRequestError, RefusedFieldError),
    *(TypeError, AttributeError, NameError, NotImplementedError, AssertionError, ImportError, SyntaxError),
)
"""Mistakes of the program, which asking again, or elsewhere, does not mend."""


def fault_of(error: BaseException) -> Fault:
    """Return the kind of `error`. Pure; reads attributes of the error only."""
    if isinstance(error, ReportedError):
        return _reported(error)
    if isinstance(error, UnusableAnswerError):
        return "unusable"
    status = status_of(error)
    if status is not None:
        return _of_status(status, _word(error))
    if isinstance(error, _CALLER):
        return "caller"
    # A body that is no JSON, or lacks what the provider's code reads from it.
    return "unusable" if isinstance(error, ValueError | LookupError) else "passing"


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an SDK's error carries; None if it has none."""
    for holder in (error, getattr(error, "response", None)):
        for field in ("status_code", "status"):
            status = getattr(holder, field, None)
            if isinstance(status, int) and not isinstance(status, bool) and 300 <= status < 600:
                return int(status)
    return None


def shows_life(error: BaseException) -> bool:
    """Whether the error proves that the provider was reached and works: it judged the request."""
    return status_of(error) is not None or isinstance(error, UnusableAnswerError)


def timed_out(error: BaseException) -> bool:
    """Whether the provider let its time pass: each call to one that hangs costs that time, so one is enough."""
    return any("Timeout" in kind.__name__ for kind in type(error).__mro__)


def _of_status(status: int, word: str | None) -> Fault:
    if word in _FILTERED:
        return "unusable"
    if 400 <= status < 500 and status not in _PASSING_STATUSES:
        return "caller"
    return "passing"


def _word(error: Any) -> str | None:
    if type(error).__name__ == "ContentPolicyViolationError":  # LiteLLM's name; it has no code
        return "content_policy_violation"
    for field in ("code", "type"):
        word = getattr(error, field, None)
        if isinstance(word, str):
            return word
    return None


def _reported(error: ReportedError) -> Fault:
    if error.status is not None:
        return _of_status(error.status, error.code or error.kind)
    if error.code in _FILTERED:
        return "unusable"
    return "caller" if error.kind in _CALLER_KINDS or error.code in _CALLER_KINDS else "passing"
