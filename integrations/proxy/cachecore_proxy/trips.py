"""One request on its way: the call that the flow is asked, with the caller's own bytes and the answer as it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cachecore_llm.wire import AnswerFacts, Call, JsonObject
from cachecore_proxy.asking import Sender

Pairs = list[tuple[bytes, bytes]]


@dataclass(slots=True, eq=False)
class Trip:
    """The call's own request to a provider, and its answer. Callers that joined another's call have an empty one."""

    sender: Sender
    path: str
    """With `/v1`."""
    query: str
    raw: bytes
    """The body as the caller wrote it."""
    content: JsonObject
    """The same, read."""
    known: bool = False
    """Whether the caller's key is the gateway's own, or one that a provider has judged good."""
    asked: bool = False
    """Whether a provider was asked for this very request."""
    status: int | None = None
    """Of the answer, whole or streamed."""
    headers: Pairs | None = None
    """Of the answer, as it came, less those of one connection."""
    body: bytes | None = None
    """Of a whole answer."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Headers of the answer that are stored with it."""
    answer: JsonObject | None = None
    """The same, read."""
    facts: AnswerFacts | None = None
    """Of `answer`."""
    failed_status: int | None = None
    """Of the last failure: a provider's HTTP status, 504 for one that was late, else 502."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCall(Call):
    """A call with its trip, which is no part of the key."""

    trip: Trip = field(compare=False, repr=False)
