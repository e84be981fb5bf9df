"""Recorded answers of one test in a file of readable JSON: what was asked, what was answered, no secret of either.

One recorded answer serves a stream and a whole answer alike, as in the cache: `stream` is no part of what is asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cachecore import OptionsError, explain
from cachecore.keys import encode
from cachecore_llm.flow.nearest import in_words, nearest_of
from cachecore_llm.http.answer_headers import kept
from cachecore_llm.http.exchange import Exchange, address_of, exchange_of, is_readable, shown_url
from cachecore_llm.key import Bypass, Digester, RefusedFieldError, key_of
from cachecore_llm.upstream.headers import shaping
from cachecore_llm.wire import PROTOCOLS, JsonObject, UnreadableRequestError, assemble
from cachecore_llm.wire.objects import UnreadableStreamError, load

_FORMAT: Final = 1
_TOOLS: Final = frozenset({"mcp_servers", "tools"})
_HIDDEN: Final = "secret:"
_SECRETS: Final = frozenset({"authorization", "authorization_token"})


class CassetteError(OptionsError):
    """A file of recorded answers cannot be read. Record it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it is recorded: without credentials."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """A JSON value, or text where the body is no JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer as it is recorded. One of `body`, `events` and `text` is given."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: JsonObject | None = None
    events: list[JsonObject] | None = None
    """Of a stream that ended well, as its data events came."""
    text: str | None = None
    """Of an answer that is neither."""


class Request:
    """A request of an SDK: what it is recorded as, and what it is found again by."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Read a request. `headers` have names in lower case."""
        self.asked = Asked(method=method, url=shown_url(url), headers=shaping(headers), body=_readable(body))
        address = address_of(method, self.asked.url)
        exchange = exchange_of(address, self.asked.headers, _bytes(self.asked.body)) if address else None
        self.exchange = exchange if exchange is not None and is_readable(exchange) else None
        self.identity: Any = _identity(self.asked, self.exchange)
        """A plain value: equal for requests that have one answer."""
        self.key = encode(self.identity)


class Cassette:
    """The recorded answers of one test."""

    def __init__(self, path: Path) -> None:
        """Read the answers in `path`, if it is there. Raises CassetteError."""
        self._path = path
        self._records: dict[bytes, tuple[Request, Answered]] = {}
        self._changed = False
        if path.exists():
            for asked, answered in _read(path):
                request = Request(asked.method, asked.url, asked.headers, _bytes(asked.body))
                self._records[request.key] = request, answered

    def __len__(self) -> int:
        return len(self._records)

    def find(self, request: Request) -> Answered | None:
        """Return the answer to `request`, in the form that it asks for; None if none is recorded."""
        found = self._records.get(request.key)
        if found is None or request.exchange is None:
            return found and found[1]
        return _in_form(found[1], request.exchange)

    def add(self, request: Request, answered: Answered) -> None:
        """Keep an answer; an earlier one to the same request is replaced."""
        self._records[request.key] = request, answered
        self._changed = True

    def missing(self, request: Request) -> str:
        """Return in words that `request` has no answer here, and in which fields the nearest differs from it.

        Fields are named and values are not: they may be prompts.
        """
        head = f"no answer is recorded for {request.asked.method} {request.asked.url} in {self._path.name}"
        way_out = "record it: pytest --llm-cache=record"
        alike = [other for other, _ in self._records.values() if _kind(other) == _kind(request)]
        nearest = nearest_of(_differences(request, other) for other in alike)
        if not self._records:
            return f"{head}, which is empty or not there; {way_out}"
        return f"{head}; {in_words(nearest or ['the address'])}; {way_out}"

    def save(self) -> None:
        """Write the file, if anything was added. It is never left half written."""
        if not self._changed:
            return
        records = [  # an answer repeats the tools of its request
            {"asked": _given(asdict(request.asked)), "answered": _given(_without_secrets(asdict(answered)))}
            for request, answered in self._records.values()
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": _FORMAT, "records": records}, indent=2, ensure_ascii=False)
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        beside.write_text(text + "\n", encoding="utf-8", errors="surrogatepass")
        beside.replace(self._path)
        self._changed = False


def answered_of(status: int, headers: Mapping[str, str], body: bytes, request: Request) -> Answered:
    """Return how an answer with this body is recorded. `headers` have names in lower case."""
    told = kept(headers)
    if status < 400 and request.exchange is not None:
        protocol = PROTOCOLS[request.exchange.call.protocol]
        try:
            return Answered(status=status, headers=told, body=protocol.neutral(load(body)))
        except UnreadableStreamError:
            pass
    return Answered(status=status, headers=told, text=body.decode(errors="replace"))


def _in_form(answered: Answered, exchange: Exchange) -> Answered:
    """Return an answer as a stream or whole, as the request asks, with what belongs to this caller only."""
    protocol, facts = PROTOCOLS[exchange.call.protocol], exchange.facts
    if answered.text is not None:
        return answered
    body, events = answered.body, answered.events
    if facts.stream:
        made = events if events is not None else list(protocol.events_of(body or {}))
        shown = [protocol.shown_to(event, facts) for event in made]
        headers = {**answered.headers, "content-type": "text/event-stream; charset=utf-8"}
        return Answered(status=200, headers=headers, events=[event for event in shown if event is not None])
    whole = body if body is not None else assemble(protocol, events or [], facts)
    return Answered(
        status=200,
        headers={**answered.headers, "content-type": "application/json"},
        body=protocol.shown_to(whole or {}, facts),
    )


def _identity(asked: Asked, exchange: Exchange | None) -> Any:
    if exchange is not None:
        try:
            keyed = key_of(exchange.call, exchange.facts)
        except (RefusedFieldError, UnreadableRequestError):
            keyed = Bypass(reason="")
        if not isinstance(keyed, Bypass):
            return keyed.request
    body = {**asked.body, "stream": None} if isinstance(asked.body, dict) and exchange else asked.body
    return {"method": asked.method, "url": asked.url, "headers": dict(asked.headers), "body": body}


def _kind(request: Request) -> str | None:
    return None if request.exchange is None else request.exchange.call.protocol


def _differences(request: Request, other: Request) -> list[str]:
    return [difference.path for difference in explain(request.identity, other.identity).differences]


def _readable(body: bytes) -> Any:
    try:
        return _without_secrets(json.loads(body)) if body else None
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _without_secrets(value: Any) -> Any:
    """Return a JSON value with digests in place of the credentials of tools and of servers that offer tools."""
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    if not isinstance(value, dict):
        return value
    shown: dict[str, Any] = {}
    for name, one in value.items():
        if name in _TOOLS and isinstance(one, list):
            shown[name] = [_tool(tool) if isinstance(tool, dict) else tool for tool in one]
        elif name in _SECRETS and isinstance(one, str):
            shown[name] = one if one.startswith(_HIDDEN) else _text(Digester().digest(one))
        else:
            shown[name] = _without_secrets(one)
    return shown


def _tool(tool: JsonObject) -> JsonObject:
    """Return a tool without secrets. One that was read from a file has none any more, and stays as it is."""
    shown = Digester().hide({name: one for name, one in tool.items() if not str(one).startswith(_HIDDEN)})
    return {name: _hidden(shown.get(name, one)) for name, one in tool.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return _text(value)
    if isinstance(value, dict):
        return {name: _hidden(one) for name, one in value.items()}
    return value


def _text(digest: list[Any]) -> str:
    return f"{_HIDDEN}{digest[1].hex()}"


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode(errors="surrogatepass") if isinstance(body, str) else json.dumps(body).encode()


def _given(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value not in (None, {})}


def _read(path: Path) -> list[tuple[Asked, Answered]]:
    way_out = "remove it and run pytest --llm-cache=record"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise CassetteError(f"{path.name} has format {content['format']!r}, not {_FORMAT}: {way_out}")
        return [(Asked(**record["asked"]), Answered(**record["answered"])) for record in content["records"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CassetteError):
            raise
        raise CassetteError(f"{path.name} is no file of recorded answers ({type(error).__name__}): {way_out}") from None
