"""Two forms of a provider: one with a single method, easy to write, and one that speaks a wire protocol.

Everything behind this border works with the second form; `wired` gives the first one its shape.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from cachecore.contract.errors import OptionsError
from cachecore_llm.response import LLMResponse
from cachecore_llm.wire import Call, JsonObject, ProtocolName


@runtime_checkable
class Provider(Protocol):
    """Something that answers: an API, a local model, a simulation.

    Any number of tasks may call at once. Every failure is an exception, never an answer that says so. Deadlines and
    other providers are the orchestrator's business, not a provider's.
    """

    @property
    def name(self) -> str:
        """Return a short name, unique among the providers that stand in for each other; it is stored with answers."""

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return the answer. `params` are the request's own parameters, as the caller named them."""


@runtime_checkable
class SupportsIdentity(Protocol):
    """A provider with settings that shape its answers, such as a default model or the address it asks."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return those settings by parameter name; they are keyed wherever a request does not name them itself."""


@runtime_checkable
class WireProvider(Protocol):
    """A provider that takes calls in wire protocols and answers in the same one, whole or as a stream.

    The properties do not change while the provider is in use: they are part of the keys of its answers.
    """

    @property
    def name(self) -> str:
        """Return a short name, unique among the providers that stand in for each other; it is stored with answers."""

    @property
    def model(self) -> str | None:
        """Return the model that is asked where a call names none."""

    @property
    def endpoint(self) -> str:
        """Return scheme, host, path and API version, without credentials; the `endpoint` of a `Call`."""

    @property
    def scope(self) -> str | None:
        """Return a digest of the credential, organisation and project; None if there is none."""

    @property
    def shaping(self) -> Mapping[str, str]:
        """Return the client's own headers and query that shape answers; they belong into `Call.headers`."""

    @property
    def speaks(self) -> frozenset[ProtocolName]:
        """Return the protocols in which it takes calls, natively or by translation."""

    async def send(self, call: Call) -> JsonObject:
        """Return the whole answer's body, in the protocol of `call`, also if its body asks for a stream.

        Raises UnsupportedRequestError if the call cannot be sent without loss, else the SDK's errors.
        """

    def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the answer's events in the protocol of `call`; it ends where the HTTP body ended cleanly.

        Raises as `send` does.
        """


def name_of(provider: object) -> str:
    """Return the name of `provider`. Raises OptionsError if it has none, or is no provider at all."""
    name = getattr(provider, "name", None)
    answers = speaks_wire(provider) or callable(getattr(provider, "generate", None))
    if name is None and not answers:
        raise OptionsError(
            f"a provider is an object such as OpenAIProvider('gpt-4o-mini'), or a list of such, "
            f"not {type(provider).__name__}"
        )
    if not isinstance(name, str) or not name:
        raise OptionsError(
            f"the provider {type(provider).__name__} has no name: give it an attribute name, a short text such as "
            f"'openai', not {name!r}"
        )
    if not answers:
        raise OptionsError(f"the provider {name!r} has no method generate, which returns an LLMResponse")
    return name


def speaks_wire(provider: object) -> bool:
    """Whether `provider` is a `WireProvider`. Reads no property of it."""
    kind = type(provider)
    return all(callable(getattr(kind, method, None)) for method in ("send", "stream")) and (
        hasattr(kind, "speaks") or "speaks" in getattr(provider, "__dict__", {})
    )


def at_endpoint(call_endpoint: str, of: str, to: str) -> str:
    """Return `to` with the query that `call_endpoint` has beyond that of `of`, its provider's own."""
    query = extra_query(call_endpoint, of)
    return with_query(to, query) if query else to


def with_query(endpoint: str, query: Mapping[str, str]) -> str:
    """Return `endpoint` with `query` added to its own: the place of `extra_query=` in a `Call`."""
    parts = urlsplit(endpoint)
    joined = "&".join(filter(None, (parts.query, urlencode(query))))
    return urlunsplit(parts._replace(query=joined))


def extra_query(call_endpoint: str, own: str) -> dict[str, str]:
    """Return the query that a call's endpoint has beyond that of its provider."""
    if call_endpoint == own or "?" not in call_endpoint:
        return {}
    known = set(parse_qsl(urlsplit(own).query, keep_blank_values=True))
    asked = parse_qsl(urlsplit(call_endpoint).query, keep_blank_values=True)
    return dict(pair for pair in asked if pair not in known)
