"""What a stream is asked for beyond the answer: always its usage, never obfuscation.

Some compatible servers refuse the one or the other. They are then asked once more without, and from then on at once.
"""

from __future__ import annotations

from typing import Any, Final

from cachecore_llm.wire import JsonObject, ProtocolName

_WANTED: Final[dict[ProtocolName, tuple[JsonObject, ...]]] = {
    "openai.chat": ({"include_usage": True, "include_obfuscation": False}, {"include_usage": True}),
    "openai.responses": ({"include_obfuscation": False},),
}
"""Stream options from the wanted ones down; the last resort is none at all."""


class StreamOptions:
    """The stream options that one endpoint takes, in one protocol."""

    def __init__(self, protocol: ProtocolName) -> None:
        self._wanted = _WANTED.get(protocol, ())
        self._refused = 0

    def added_to(self, body: JsonObject) -> JsonObject:
        """Return `body` with the options that the endpoint is known to take, as far as anything is known."""
        rest = {name: value for name, value in body.items() if name != "stream_options"}
        if self._refused >= len(self._wanted):
            return rest
        given = body.get("stream_options")
        return {**rest, "stream_options": {**(given if isinstance(given, dict) else {}), **self._wanted[self._refused]}}

    def refused(self, error: Any) -> bool:
        """Note that a request was refused; return whether it should be sent again, with fewer options."""
        if getattr(error, "status_code", None) not in (400, 422) or self._refused >= len(self._wanted):
            return False
        said = f"{getattr(error, 'param', '')} {getattr(error, 'message', error)} {getattr(error, 'body', '')}"
        if "include_obfuscation" in said:
            self._refused += 1
        elif "stream_options" in said or "include_usage" in said:
            self._refused = len(self._wanted)
        else:
            return False
        return True
