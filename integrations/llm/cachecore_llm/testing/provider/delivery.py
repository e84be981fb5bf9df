"""How an answer leaves: late, slowly, in pieces, or broken off, as its directives tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from cachecore_llm.testing.provider.calls import Call, CallLog, Outcome
from cachecore_llm.testing.provider.connection import Exchange, Headers
from cachecore_llm.testing.provider.directives import Directives
from cachecore_llm.testing.provider.gate import Gate
from cachecore_llm.testing.provider.protocol import Event, Protocol

_encode = msgspec.json.Encoder().encode
_COMMENT = b": PROCESSING"
_YIELD_EVERY = 8  # events after which other tasks of the loop get a turn


class Delivery:
    """Sends answers. One for each server."""

    def __init__(self, log: CallLog, gate: Gate) -> None:
        self._log = log
        self._gate = gate

    async def begin(self, told: Directives) -> None:
        """Wait as told before anything is sent."""
        if told.delay:
            await asyncio.sleep(told.delay)
        if told.hang == 0:
            await forever()

    async def whole(
        self, exchange: Exchange, call: Call, told: Directives, headers: Headers, body: Any, status: int = 200
    ) -> Outcome:
        """Send one body; half of it where it is to be cut, ended or hung."""
        data = _encode(body)
        half = data[: len(data) // 2]
        await self._gate.passing(None)
        if told.cut == 0:
            exchange.cut()
            return "cut"
        outcome: Outcome = "complete" if status < 400 else "error"
        if told.end is not None or told.truncate is not None:
            data, outcome = half, "cut"
        call.status = status
        if told.hang or told.cut:
            exchange.start(status, [*headers, ("content-length", str(len(data)))])
            await exchange.send(half)
            if told.hang:
                await forever()
            exchange.cut()
            return "cut"
        await exchange.respond(status, headers, data)
        return outcome

    async def stream(
        self,
        exchange: Exchange,
        call: Call,
        told: Directives,
        headers: Headers,
        events: Iterator[Event],
        protocol: Protocol,
    ) -> Outcome:
        """Send events, each in a chunk of its own. A fault that is told after the last event comes at the end."""
        if told.cut == 0:
            await self._gate.passing(0)
            exchange.cut()
            return "cut"
        frame = Frame(told)
        fail = None if told.fail is None else told.fail.after
        faults = {n for n in (fail, told.hang, told.cut, told.end, told.truncate) if n is not None}
        for sent, event in enumerate(events):
            await self._gate.passing(sent)
            if sent == 0:
                exchange.start(200, headers)
                call.status = 200
            if sent in faults and (outcome := await self._fault(exchange, told, frame(event), sent, protocol, frame)):
                return outcome
            if told.pace and sent:
                await asyncio.sleep(told.pace)
            data = frame(event)
            call.events = sent + 1
            if told.pings and call.events % told.pings == 0:
                data += frame.ping(protocol)
            await exchange.send(data)
            self._log.changed()
            if call.events % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if faults and (outcome := await self._fault(exchange, told, b"", max(faults), protocol, frame)):
            return outcome
        exchange.end()
        return "complete"

    async def _fault(
        self, exchange: Exchange, told: Directives, data: bytes, sent: int, protocol: Protocol, frame: Frame
    ) -> Outcome | None:
        """Break off where a directive says so."""
        if told.fail is not None and told.fail.after == sent and protocol.failure is not None:
            for event in protocol.failure(told.fail.kind, sent):
                await exchange.send(frame(event))
            exchange.end()
            return "error"
        if told.hang == sent:
            await forever()
        if told.truncate == sent and data:
            await exchange.send(data[: len(data) // 2])
        if told.cut == sent:
            exchange.cut()
            return "cut"
        if sent in (told.end, told.truncate):
            exchange.end()
            return "cut"
        return None


class Frame:
    """Events as bytes of `text/event-stream`, with the deviations that are told."""

    def __init__(self, told: Directives) -> None:
        newline = b"\r\n" if "crlf" in told.compat else b"\n"
        self._data = b"data:" if "no-space" in told.compat else b"data: "
        self._newline = newline
        self._end = newline + newline
        self._before = _COMMENT + self._end if "comments" in told.compat else b""

    def __call__(self, event: Event) -> bytes:
        """Return one event."""
        data = event.data.encode() if isinstance(event.data, str) else _encode(event.data)
        name = b"" if event.name is None else b"event: %b%b" % (event.name.encode(), self._newline)
        return b"%b%b%b%b%b" % (self._before, name, self._data, data, self._end)

    def ping(self, protocol: Protocol) -> bytes:
        """Return a sign of life: an event where the protocol has one, else a comment."""
        if protocol.vendor == "anthropic":
            return self(Event("ping", {"type": "ping"}))
        return b": ping" + self._end


async def forever() -> None:
    """Wait until the client leaves or the server stops."""
    await asyncio.get_running_loop().create_future()
