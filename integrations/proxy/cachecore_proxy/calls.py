"""Calls to models: through the flow, whole and streamed, and back to the client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

from cachecore_llm.errors import NotCachedError, ReportedError
from cachecore_llm.flow import Answer, AnswerStream, Flow
from cachecore_llm.flow.batch import Batch
from cachecore_llm.http.failures import HTTPFailure
from cachecore_llm.http.told import batch_headers, status_headers
from cachecore_llm.policy.controls import Controls
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import PROTOCOLS, Call
from cachecore_llm.wire.objects import dump
from cachecore_proxy.activity import Activity, Outcome
from cachecore_proxy.clients import Client, ClientGoneError, While
from cachecore_proxy.differences import parts_of
from cachecore_proxy.heartbeat import Heartbeat
from cachecore_proxy.judged_keys import JudgedKeys
from cachecore_proxy.remembered import Requests
from cachecore_proxy.replies import JSON, stream_headers, told_of, whole_headers
from cachecore_proxy.requests import Incoming
from cachecore_proxy.settings import Bounds, Family
from cachecore_proxy.trips import GatewayCall, Pairs, Trip
from cachecore_proxy.upstreams import EventSource, Upstreams

T = TypeVar("T")

logger = logging.getLogger("cachecore.proxy")

_REPLAYED_BYTES = 64 * 1024
"""Of a stored stream that are sent at once."""


class Calls:
    """Answers calls to models."""

    def __init__(
        self, flow: Flow, upstreams: Upstreams, keys: JudgedKeys, activity: Activity, bounds: Bounds, known: Requests
    ) -> None:
        self._flow, self._upstreams, self._keys = flow, upstreams, keys
        self._activity, self._bounds, self._known = activity, bounds, known

    async def answer(self, incoming: Incoming, client: Client, call: GatewayCall, family: Family, known: bool) -> None:
        """Answer a call; `known`: whether this process knows that its key is good.

        Raises the errors of the flow before the answer has begun, and ClientGoneError.
        """
        sender = call.trip.sender
        if not known and sender.digest is not None:
            async with While(client):
                known = await self._keys.is_good(family, sender.digest)
        call.trip.known = known
        if not known and sender.controls.only_if_cached:
            raise NotCachedError("the key is not known yet")
        if call.body.get("stream") is True:
            await self._streamed(incoming, client, call, family, known)
        elif call.protocol == "openai.embeddings":
            await self._embedded(incoming, client, call, family, known)
        else:
            await self._whole(incoming, client, call, family, known)

    # Whole answers

    async def _whole(self, incoming: Incoming, client: Client, call: GatewayCall, family: Family, known: bool) -> None:
        trip, controls = call.trip, call.trip.sender.controls

        async def deliver(key: str, kept: bool) -> None:
            if trip.body is None or trip.status is None or not client.ready:
                return
            told = status_headers("miss", age_seconds=None, fresh_for=None, key=key, stored=kept, reason=None)
            incoming.answered("miss", trip.status)
            await client.whole(trip.status, [*(trip.headers or []), *_encoded(told)], trip.body)

        async def send(asked: Call) -> Sent:
            return await self._upstreams.send(_own(asked, trip), family, deliver)

        try:
            answer = await self._waited(client, self._asked(call, send, controls, known))
        except HTTPFailure as failure:
            # The key of another caller, whose call this one had joined, was refused.
            if failure.status_code not in (401, 403) or trip.asked or not known:
                raise
            answer = await self._waited(client, self._flow.alone(call, send, controls))
        except Exception as error:
            if not client.answered:
                raise
            logger.warning("an answer that was given could not be stored: %s", type(error).__name__)
            return
        incoming.reason = answer.reason
        try:
            if delivered := client.answered:
                pass
            elif trip.body is not None and trip.status is not None and answer.status in ("miss", "bypass"):
                headers = [*(trip.headers or []), *_encoded(told_of(answer, trip))]
                await client.whole(trip.status, headers, trip.body)
            else:
                body = answer.stored.body if answer.facts is None or not answer.facts.echoed else dump(answer.body())
                await client.whole(200, whole_headers(answer, trip), body)
            if not delivered:
                incoming.answered(answer.status, trip.status or 200)
        finally:  # behind the answer: the caller does not wait for the comparison with other misses
            if answer.status in ("miss", "bypass"):
                self._missed(incoming, call, answer.key, answer.reason)
        if answer.status == "hit":
            self._known.remember(call, trip.query.encode("latin-1"), answer.key, streams=False)

    def _asked(self, call: GatewayCall, send: object, controls: Controls, known: bool) -> Awaitable[Answer]:
        asked = self._flow.answer if known else self._flow.alone
        return asked(call, send, controls)  # type: ignore[arg-type]  # `send` is made by the caller, two lines away

    async def _embedded(
        self, incoming: Incoming, client: Client, call: GatewayCall, family: Family, known: bool
    ) -> None:
        trip, controls = call.trip, _controls(call, known)

        async def send(asked: Call) -> Sent:
            return await self._upstreams.send(_own(asked, trip), family)

        batch: Batch = await self._waited(client, self._flow.answer_many(call, send, controls))
        inputs = PROTOCOLS[call.protocol].parse(call.body).n if batch.bypass != "unreadable" else 1
        told = _encoded(batch_headers(batch, inputs))
        incoming.reason = batch.bypass
        outcome: Outcome = "bypass" if batch.bypass is not None else "miss" if batch.computed else "hit"
        try:
            if trip.body is not None and trip.status is not None and len(batch.computed) in (0, inputs):
                await client.whole(trip.status, [*(trip.headers or []), *told], trip.body)
            else:
                await client.whole(200, [JSON, *told], dump(batch.body))
            incoming.answered(outcome, trip.status or 200)
        finally:
            if outcome != "hit":
                self._missed(incoming, call, "", batch.bypass)

    # Streams

    async def _streamed(
        self, incoming: Incoming, client: Client, call: GatewayCall, family: Family, known: bool
    ) -> None:
        trip = call.trip

        def start(asked: Call) -> EventSource:
            return self._upstreams.stream(_own(asked, trip), family)

        stream = self._flow.stream(call, start, _controls(call, known))
        try:
            first = await self._waited(client, stream.frame())
            outcome: Outcome = stream.status or "miss"
            incoming.answered(outcome, 200)
            if outcome in ("miss", "bypass"):
                self._missed(incoming, call, stream.key, stream.reason)
            elif outcome == "hit":
                self._known.remember(call, trip.query.encode("latin-1"), stream.key, streams=True)
            shown = self._activity.stream_opened(
                outcome,
                model=incoming.model,
                tenant=incoming.tenant,
                prompt=incoming.prompt,
                counts=lambda: client.sent,
            )
            try:
                async with While(client):
                    await client.start(200, stream_headers(stream, trip, incoming.reason))
                    await self._events(client, stream, first, call)
            finally:
                self._activity.stream_closed(shown)
        finally:
            await stream.aclose()

    async def _events(self, client: Client, stream: AnswerStream, first: bytes | None, call: GatewayCall) -> None:
        """Send the events. A stream that breaks ends as a connection that breaks, never as a whole one."""
        protocol, frame = PROTOCOLS[call.protocol], first
        try:
            if stream.status in ("hit", "stale", "similar"):
                await self._replayed(client, stream, first, call)
                return
            async with Heartbeat(client, call.protocol) as heart:
                while frame is not None:
                    await client.part(frame)
                    heart.beat()
                    frame = await stream.frame()
                    if frame is None and protocol.end_frame:
                        await client.part(protocol.end_frame)
        except (ClientGoneError, asyncio.CancelledError):
            raise
        except Exception as error:
            if isinstance(error, ReportedError) and isinstance(error.came, dict):
                await client.part(protocol.frame(error.came))  # the provider's own word
            raise
        await client.end()

    async def _replayed(self, client: Client, stream: AnswerStream, first: bytes | None, call: GatewayCall) -> None:
        """Send a stored answer: its events are all there, so they go in few parts."""
        protocol, frame, frames, size = PROTOCOLS[call.protocol], first, list[bytes](), 0
        while frame is not None:
            frames.append(frame)
            size += len(frame)
            if size >= _REPLAYED_BYTES:
                await client.part(b"".join(frames))
                frames, size = [], 0
            frame = await stream.frame()
        if protocol.end_frame:
            frames.append(protocol.end_frame)
        await client.part(b"".join(frames))
        await client.end()

    # Both

    async def _waited(self, client: Client, answer: Awaitable[T]) -> T:
        """Return the result of `answer` within its time, while the client stays; the flight goes on for others."""
        async with While(client), asyncio.timeout(self._bounds.answer_timeout):
            return await answer

    def _missed(self, incoming: Incoming, call: GatewayCall, key: str, reason: str | None) -> None:
        self._activity.missed(
            reason or "absent",
            model=incoming.model,
            tenant=incoming.tenant,
            prompt=incoming.prompt,
            key=key,
            request=parts_of(call),
        )


def _own(asked: Call, trip: Trip) -> GatewayCall:
    """Return a call of the flow as one with a trip: parts of a batch are calls, too."""
    if isinstance(asked, GatewayCall):
        return asked
    return GatewayCall(
        protocol=asked.protocol,
        endpoint=asked.endpoint,
        body=asked.body,
        headers=asked.headers,
        scope=asked.scope,
        credential=asked.credential,
        tenant=asked.tenant,
        prompt=asked.prompt,
        prompt_version=asked.prompt_version,
        trip=trip,
    )


def _controls(call: GatewayCall, known: bool) -> Controls:
    """Return the controls of a call. A caller whose key is not known yet gets an answer of its own, which is kept."""
    controls = call.trip.sender.controls
    if known:
        return controls
    return replace(controls, refresh=True, similar=False)


def _encoded(told: dict[str, str]) -> Pairs:
    return [(name.encode(), value.encode()) for name, value in told.items()]
