"""JSON bodies through the client of an official SDK, as they are: whole, or event by event.

The SDK brings credentials, retries, proxies and its errors; its types are left out, because they drop unknown fields.
Both SDKs are made by one generator, so this serves both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from cachecore.contract.errors import OptionsError
from cachecore_llm.errors import UnsupportedRequestError
from cachecore_llm.upstream.headers import credentials, is_credential, scope_digest, shaping
from cachecore_llm.upstream.parameters import sendable, unwritable
from cachecore_llm.upstream.provider import extra_query
from cachecore_llm.wire import PROTOCOLS, Call, EventDecoder, JsonObject, ProtocolName, load

_RAW: Final = {"X-Stainless-Raw-Response": "stream"}
"""Asks the SDK for the HTTP response, before anything of its body is read."""


class SDKClient:
    """A client of an SDK, and its part of the keys of its answers."""

    def __init__(self, client: Any, *, facts: tuple[object, ...], rotates: bool, scope: str | None) -> None:
        """Use `client`; closing it is left to the caller.

        Args:
            client: an `AsyncOpenAI`, an `AsyncAnthropic` or a subclass.
            facts: credential, organisation, project, and the like.
            rotates: whether the client gets a new credential from time to time.
            scope: stands for the credential in keys; a digest of `facts` if not given.

        Raises OptionsError if the credential rotates and there is no `scope`, for a client for threads, and for an
        address that is none of HTTP.
        """
        kind = type(client)
        if any(base.__name__ == "SyncAPIClient" for base in kind.__mro__):
            raise OptionsError(
                f"client must be asynchronous, not {kind.__name__}: give client=Async{kind.__name__}(…), "
                "to SyncLLMService too"
            )
        self._client = client
        query = {name: str(value) for name, value in client.default_query.items()}
        url = urlsplit(str(client.base_url))
        if url.scheme not in ("http", "https"):
            raise OptionsError(
                f"base_url must begin with https:// or http://, as in http://localhost:11434/v1, not {url.scheme}:"
            )
        host = url.hostname or ""
        address = f"[{host}]" if ":" in host else host
        port = f":{url.port}" if url.port else ""
        shown = sorted(pair for pair in query.items() if not is_credential(pair[0].lower()))
        self.endpoint = f"{url.scheme}://{address}{port}{url.path.rstrip('/')}" + (
            f"?{urlencode(shown)}" if shown else ""
        )
        headers: Mapping[str, object] = client.default_headers
        self.shaping: Mapping[str, str] = shaping(headers)
        self._names = {name.lower(): name for name in headers}
        self.scope = scope
        if scope is None and rotates:
            raise OptionsError(
                "the credential of this client changes while it is used, so a digest of it would never find an answer "
                "again: give scope='…', a text that all users of these answers have in common"
            )
        self.credential: str | None = None
        """A digest of the credential where `scope` was given, empty if the credential changes; None: `scope` is one."""
        if scope is not None and rotates:
            self.credential = ""
        else:
            more = {**credentials(headers), **credentials(query), "userinfo": url.username}
            more.pop("authorization", None)  # the key itself is one of the facts, in either of these headers
            more.pop("x-api-key", None)
            digest = scope_digest([*facts, *(f"{name}={value}" for name, value in sorted(more.items()) if value)])
            if scope is None:
                self.scope = digest
            else:
                self.credential = digest or ""

    async def aclose(self) -> None:
        """Close the client's connections."""
        await self._client.close()

    async def whole(self, path: str, call: Call, body: JsonObject) -> JsonObject:
        """Return the body of the answer to `body`. Raises the SDK's errors and UnreadableStreamError."""
        response = await self._post(path, call, sendable(body))
        try:
            return load(await response.read())
        finally:
            await response.close()

    async def events(
        self, path: str, call: Call, body: JsonObject, protocol: ProtocolName
    ) -> AsyncGenerator[JsonObject, None]:
        """Yield the events of the answer to `body`, which ends with the HTTP body, or with the protocol's own mark.

        Raises the SDK's errors, those of its HTTP client if the body is cut, and UnreadableStreamError.
        """
        wire = PROTOCOLS[protocol]
        response = await self._post(path, call, {**sendable(body), "stream": True})
        try:
            decoder = EventDecoder()
            async for chunk in response.http_response.aiter_bytes():
                for sent in decoder.feed(chunk):
                    if wire.is_end(sent):
                        return
                    event = wire.event_of(sent)
                    if event is not None:
                        yield event
        finally:
            await response.close()

    async def _post(self, path: str, call: Call, sent: JsonObject) -> Any:
        # By the client's own spelling: the SDK merges headers by their names as they are written.
        headers = {self._names.get(name, name): value for name, value in call.headers.items()}
        options: dict[str, Any] = {"headers": {**headers, **_RAW}}
        for option in ("timeout", "max_retries", "idempotency_key"):
            if call.body.get(option) is not None:
                options[option] = call.body[option]
        if query := extra_query(call.endpoint, self.endpoint):
            options["params"] = query
        try:
            return await self._client.post(path, cast_to=object, body=sent, options=options)
        except TypeError as error:
            if "JSON serializable" not in str(error):  # the SDK writes more types than JSON has
                raise
            raise unwritable(sent, "") from error
        except ValueError as error:
            if type(error) not in (
                ValueError,
                UnicodeEncodeError,
            ):  # JSON that is read raises other types
                raise
            raise UnsupportedRequestError(
                "the request holds a value that JSON cannot: NaN, an infinity, or half of a surrogate pair in a text"
            ) from error
