"""The bytes of a stream through the cache: events as the provider frames them, heartbeats as comment lines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from cachecore_llm.flow.heartbeats import HEARTBEAT, Heartbeat, HeartbeatStream, WaitedTooLong
from cachecore_llm.http.failures import HTTPFailure
from cachecore_llm.sdk.forward import Forward
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.wire import JsonObject, WireProtocol, encode_comment
from cachecore_llm.wire.objects import UnreadableStreamError, load

_COMMENT: Final = encode_comment("cachecore")


class Frames:
    """The body of one response. It breaks off as a connection does; it never ends as a whole one before its answer."""

    def __init__(self, library: Library, protocol: WireProtocol, events: HeartbeatStream, request: Any) -> None:
        self._library, self._protocol, self._events, self._request = library, protocol, events, request
        self._first: JsonObject | Heartbeat | None = None
        self._bytes = self._all()

    async def begin(self, forward: Forward) -> None:
        """Wait until the response may begin: for the first event, or for the first heartbeat of one that succeeded.

        A caller that asked the provider itself gets no heartbeat before the provider's status is known, because the SDK
        asks again after an error in place of a response. One that joined another caller's stream knows no status: it
        gets heartbeats at once, and an error as an event.
        """
        while True:
            self._first = await self._next()
            if self._first is not HEARTBEAT or forward.response is not None or not forward.asked:
                return

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._bytes

    async def aclose(self) -> None:
        """Leave the stream. Idempotent."""
        await self._bytes.aclose()
        await self._events.aclose()  # the generator does it only if it was begun

    async def _all(self) -> AsyncGenerator[bytes, None]:
        event = self._first
        try:
            while event is not None:
                yield _COMMENT if isinstance(event, Heartbeat) else self._protocol.frame(event)
                event = await self._next()
        except HTTPFailure as failure:  # the response has begun with heartbeats
            yield self._protocol.frame(error_event(failure))
            return
        except Exception as error:
            if isinstance(error, self._library.module.TransportError):
                raise
            raise self._library.module.RemoteProtocolError(
                f"the provider's stream ended before its answer ({type(error).__name__})", request=self._request
            ) from error
        finally:
            await self._events.aclose()
        if self._protocol.end_frame:
            yield self._protocol.end_frame

    async def _next(self) -> JsonObject | Heartbeat | None:
        try:
            return await self._events.next()
        except WaitedTooLong as error:
            raise self._library.module.ReadTimeout("the answer took too long", request=self._request) from error


def error_event(failure: HTTPFailure) -> JsonObject:
    """Return an HTTP error as an event, in a form that both SDKs raise: with the provider's own words if it is JSON."""
    try:
        error = load(failure.body).get("error")
    except UnreadableStreamError:
        error = None
    if not isinstance(error, dict):
        error = {"type": "api_error", "message": str(failure)}
    return {"type": "error", "error": error}
