"""Error bodies and headers as both services send them. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

from cachecore_llm.testing.provider.fields import Vendor

OPENAI: Final[dict[int, tuple[str, str | None, str]]] = {
    # status: (type, code, message)
    400: ("invalid_request_error", None, "We could not parse the JSON body of your request."),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided: ***. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    408: ("server_error", "timeout", "Request timed out."),
    409: ("invalid_request_error", "conflict", "The resource is locked by another request."),
    413: ("invalid_request_error", "request_too_large", "The request body is too large."),
    422: ("invalid_request_error", "unprocessable", "The request could not be processed."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for requests. Limit 500, Used 500, Requested 1. Please try again in 1s.",
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    503: ("server_error", "overloaded", "The engine is currently overloaded, please try again later."),
}
ANTHROPIC: Final[dict[int, tuple[str, str]]] = {
    # status: (type, message)
    400: ("invalid_request_error", "The request body is not valid JSON."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit of 50 requests per minute."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
_QUOTA: Final = "You exceeded your current quota, please check your plan and billing details."


def openai_error(
    status: int, message: str | None = None, *, param: str | None = None, kind: str | None = None
) -> dict[str, Any]:
    """Return the `error` object of an OpenAI body; `kind` replaces its code."""
    form, code, usual = OPENAI.get(status, OPENAI[500] if status >= 500 else OPENAI[400])
    if kind == "insufficient_quota":
        form, usual = kind, _QUOTA
    if kind == "tokens":
        form, kind = kind, code
    return {"message": message or usual, "type": form, "param": param, "code": kind or code}


def anthropic_error(status: int, message: str | None = None, *, kind: str | None = None) -> dict[str, Any]:
    """Return the `error` object of an Anthropic body; `kind` replaces its type."""
    form, usual = ANTHROPIC.get(status, ANTHROPIC[500] if status >= 500 else ANTHROPIC[400])
    return {"type": kind or form, "message": message or usual}


def body(
    vendor: Vendor,
    status: int,
    request_id: str,
    *,
    message: str | None = None,
    param: str | None = None,
    kind: str | None = None,
) -> dict[str, Any]:
    """Return the body of an error response."""
    if vendor == "openai":
        return {"error": openai_error(status, message, param=param, kind=kind)}
    return {"type": "error", "error": anthropic_error(status, message, kind=kind), "request_id": request_id}


def usual_message(vendor: Vendor, status: int) -> str:
    """Return the usual message of that status."""
    return OPENAI[status][2] if vendor == "openai" else ANTHROPIC[status][1]


def retry_headers(status: int, retry_after: float | None) -> list[tuple[str, str]]:
    """Return `retry-after`, in whole seconds, and `retry-after-ms` where a part of a second was asked for."""
    if retry_after is None:
        return [("retry-after", "1")] if status == 429 else []
    headers = [("retry-after", str(math.ceil(retry_after)))]
    if retry_after != int(retry_after):
        headers.append(("retry-after-ms", f"{retry_after * 1000:.0f}"))
    return headers
