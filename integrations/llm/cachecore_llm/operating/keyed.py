"""From a request of a log to the value that a cache keys it by, without a cache."""

from __future__ import annotations

from cachecore.contract.errors import OptionsError
from cachecore_llm.call_writer import CallWriter
from cachecore_llm.key import Bypass, RefusedFieldError, key_of, simple_key
from cachecore_llm.request import LLMRequest
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, UnreadableRequestError

_WRITER = CallWriter()


def keyed(request: LLMRequest | Call) -> JsonObject | str:
    """Return the value that `request` is keyed by, or the reason for which it passes the cache by."""
    try:
        call = call_of(request)
        simple = simple_key(call)
        if simple is not None:
            return simple
        found = key_of(call, PROTOCOLS[call.protocol].parse(call.body))
    except UnreadableRequestError:
        return "unreadable"
    except (OptionsError, RefusedFieldError) as error:
        return str(error)
    return found.reason if isinstance(found, Bypass) else found.request


def call_of(request: LLMRequest | Call) -> Call:
    """Return the call that `request` is keyed by. Raises OptionsError."""
    return _WRITER.keyed(request) if isinstance(request, LLMRequest) else request
