"""The gateway as an ASGI application: which request goes where, within which bounds, and how it is counted.

It is written against ASGI alone, because a hit is answered in less time than a stack of middlewares takes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cachecore import Cache
from cachecore_llm import CacheConfig, ResponseCache
from cachecore_llm.http.exchange import shown_url
from cachecore_llm.wire import PROTOCOLS, JsonObject, ProtocolName, UnreadableRequestError
from cachecore_llm.wire.objects import UnreadableStreamError, load
from cachecore_proxy.access_log import AccessLog
from cachecore_proxy.activity import Activity
from cachecore_proxy.asking import AccessError, Asking, check_query
from cachecore_proxy.calls import Calls
from cachecore_proxy.clients import BodyError, Client, ClientGoneError, Receive, Send
from cachecore_proxy.failures import reply_to
from cachecore_proxy.judged_keys import JudgedKeys
from cachecore_proxy.metrics import CONTENT_TYPE, Metrics
from cachecore_proxy.passing import Passing
from cachecore_proxy.prompts import Prompts
from cachecore_proxy.remembered import Requests
from cachecore_proxy.requests import Incoming, call_of, family_of, path_of
from cachecore_proxy.settings import Family, Settings
from cachecore_proxy.slots import OverloadError, Slots
from cachecore_proxy.trips import GatewayCall, Trip
from cachecore_proxy.upstreams import Upstreams

logger = logging.getLogger("cachecore.proxy")

_FACTORY_TIMEOUT = 900.0


class Gateway:
    """Answers the requests of one process. Belongs to one event loop."""

    def __init__(self, settings: Settings, *, log: AccessLog | None = None) -> None:
        self.settings = settings
        given: dict[str, Any] = {"factory_timeout": _FACTORY_TIMEOUT, **settings.cache}
        config = CacheConfig(**given)
        self._store: Cache[Any] = Cache(settings.store, ttl=config.ttl_seconds, **settings.store_options)
        self.cache = ResponseCache(self._store, config)
        self.activity = Activity()
        self._keys = JudgedKeys(self._store)
        self._upstreams = Upstreams(settings, self._keys, self.activity)
        self._known = Requests(self.cache.flow)
        self._calls = Calls(self.cache.flow, self._upstreams, self._keys, self.activity, settings.bounds, self._known)
        self._asking = Asking(settings.access, self._keys.entry)
        self._passing = Passing(settings.access, settings.bounds)
        self.prompts = Prompts(settings.prompts, self.cache)
        self._metrics = Metrics(self.activity, self.cache)
        self._log = log
        self._requests = Slots(settings.bounds.max_requests, "requests")
        self._streams = Slots(settings.bounds.max_streams, "streams")
        self.stopping = False
        """Whether `/readyz` says that no more requests should be sent here."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request of ASGI."""
        if scope["type"] != "http":
            return
        own = _OWN.get(scope["path"])
        if own is not None and scope["method"] in ("GET", "HEAD"):
            await own(self, send)
            return
        incoming = Incoming(scope)
        client = Client(scope, receive, send, self.settings.bounds)
        found = call_of(scope)
        family = found[2] if found is not None else family_of(incoming)
        self.activity.began()
        try:
            await self._handled(incoming, client, found, family)
        finally:
            seconds = incoming.seconds or 0.0
            self.activity.ended(
                incoming.outcome, seconds, model=incoming.model, tenant=incoming.tenant, prompt=incoming.prompt
            )
            self._metrics.count(incoming)
            if self._log is not None:
                self._log.write(incoming, client)

    async def _handled(
        self, incoming: Incoming, client: Client, found: tuple[str, ProtocolName, Family] | None, family: Family
    ) -> None:
        try:
            if found is not None:
                await self._call(incoming, client, found)
            else:
                await self._other(incoming, client, family)
        except ClientGoneError:
            if incoming.seconds is None:
                incoming.outcome = "left"
        except asyncio.CancelledError:
            if incoming.seconds is None:
                incoming.outcome = "left"
            if not self.stopping:
                raise
            client.abort()  # its time at the end of the gateway is over
        except Exception as error:  # noqa: BLE001 - every failure is an answer, and none may show its text in a log
            await self._failed(incoming, client, family, error)

    async def _failed(self, incoming: Incoming, client: Client, family: Family, error: Exception) -> None:
        incoming.reason = type(error).__name__
        if client.started:
            logger.info("a stream broke off: %s", type(error).__name__)
            await client.cut()
            return
        reply = reply_to(error, family)
        refused = isinstance(error, AccessError | BodyError | OverloadError) or reply.status == 400
        outcome = "only_if_cached" if reply.status == 504 and incoming.reason == "NotCachedError" else "failed"
        if isinstance(error, BodyError) and incoming.header(b"expect") is None:
            await client.discard()
        await client.whole(reply.status, list(reply.headers), reply.body)
        incoming.answered("refused" if refused else outcome, reply.status)  # type: ignore[arg-type]  # of two literals
        if reply.status >= 500 and outcome == "failed" and not refused:
            logger.warning("%s: %s", incoming.scope["path"], type(error).__name__)

    # Calls to models

    async def _call(self, incoming: Incoming, client: Client, found: tuple[str, ProtocolName, Family]) -> None:
        path, protocol, family = found
        scope = incoming.scope
        check_query(scope["query_string"])
        sender = incoming.sender = self._asking.sender(family, scope["headers"])
        incoming.protocol = protocol
        with self._requests:
            raw = await client.body(incoming.header(b"content-length"))
            known = not sender.forwarded or self._keys.is_good_here(sender.entry)
            if known and await self._again(incoming, client, path, raw):
                return
            provider = self._upstreams.first(family)
            if provider is None:
                raise AccessError(404, "not_found_error", f"no upstream of this gateway speaks {protocol}")
            content = _content(raw, protocol)
            if content is None or sender.bypass is not None:
                detail = None if sender.bypass is None else "rotating_credential"
                await self._passing(incoming, client, provider, path, body=raw, detail=detail)
                return
            query: str = scope["query_string"].decode("latin-1")
            address = provider.address(path, query)
            call = GatewayCall(
                protocol=protocol,
                endpoint=shown_url(address) if query else address,
                body=content,
                headers=sender.shaping,
                scope=sender.scope,
                credential=sender.credential,
                tenant=sender.tenant,
                prompt=sender.prompt,
                trip=Trip(sender, path, query, raw, content),
            )
            if call.prompt is None and (name := self.prompts.name_of(call)) is not None:
                call = replace(call, prompt=name)
            model = content.get("model")
            incoming.model = model if isinstance(model, str) else None
            incoming.prompt, incoming.streams = call.prompt, content.get("stream") is True
            if not incoming.streams:
                await self._calls.answer(incoming, client, call, family, known)
                return
        with self._streams:
            await self._calls.answer(incoming, client, call, family, known)

    async def _again(self, incoming: Incoming, client: Client, path: str, raw: bytes) -> bool:
        """Answer a request whose very bytes hit before; return whether it did again."""
        if incoming.sender is None:
            return False
        hit = self._known.find(incoming.sender, path, incoming.scope["query_string"], raw)
        if hit is None:
            return False
        known = hit.remembered
        incoming.model, incoming.prompt, incoming.streams = known.model, known.prompt, known.streams
        await client.whole(200, hit.headers, hit.body)
        incoming.answered("hit", 200)
        return True

    # Everything else

    async def _other(self, incoming: Incoming, client: Client, family: Family) -> None:
        scope = incoming.scope
        check_query(scope["query_string"])
        path = path_of(scope)
        incoming.sender = self._asking.sender(family, scope["headers"])
        if incoming.header(b"upgrade") is not None:
            raise AccessError(501, "invalid_request_error", "WebSockets and other upgrades are not passed on")
        provider = self._upstreams.first(family) or self._upstreams.first(_OTHER[family])
        if provider is None:
            raise AccessError(404, "not_found_error", "this gateway has no upstream")
        with self._requests:
            await self._passing(incoming, client, provider, path)

    # The gateway's own

    async def _healthy(self, send: Send) -> None:
        await _sent(send, 200, {"status": "ok"})

    async def _ready(self, send: Send) -> None:
        """A sick store does not make a gateway unready: it answers, from its memory and the providers."""
        health = await self.cache_health()
        told = {"status": "stopping" if self.stopping else "ready", "store": health["store"]}
        await _sent(send, 503 if self.stopping else 200, told)

    async def _measured(self, send: Send) -> None:
        if not self.settings.metrics:
            await _sent(send, 404, {"error": "metrics are off"})
            return
        body = self._metrics.text(await self.cache_health())
        headers = [(b"content-type", CONTENT_TYPE), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def cache_health(self) -> Mapping[str, object]:
        """Return the state of cache and store; see `Cache.health`."""
        return await self._store.health()

    async def take(self, settings: Settings) -> None:
        """Take keys, tenants and prompts of other settings. Everything else needs a new process."""
        asking = Asking(settings.access, self._keys.entry)
        self._passing = Passing(settings.access, self.settings.bounds)
        self._asking = asking
        self._known.forget()
        await self.prompts.replace(settings.prompts)

    async def aclose(self) -> None:
        """Close the connections to the providers, and the cache."""
        await self._upstreams.aclose()
        await self.cache.aclose()
        await self._store.aclose()
        if self._log is not None:
            self._log.flush()


_OTHER: Final[dict[Family, Family]] = {"openai": "anthropic", "anthropic": "openai"}
_OWN: Final = {"/healthz": Gateway._healthy, "/readyz": Gateway._ready, "/metrics": Gateway._measured}  # noqa: SLF001 - routes


async def _sent(send: Send, status: int, told: Mapping[str, object]) -> None:
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _content(raw: bytes, protocol: ProtocolName) -> JsonObject | None:
    """Return the body, read; None if it cannot be, so that the provider's own error says more."""
    try:
        content = load(raw)
        if content.get("stream") is True:
            PROTOCOLS[protocol].parse(content)
    except (UnreadableStreamError, UnreadableRequestError):
        return None
    return content
