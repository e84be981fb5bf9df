"""A request as data: the call itself, and the facts of its body that do not depend on the provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

JsonObject = dict[str, Any]
"""A JSON object as `json.loads` makes it. A request body, an answer's body and an event are each one."""

ProtocolName = Literal["openai.chat", "openai.responses", "openai.embeddings", "anthropic.messages", "plain"]

OutputKind = Literal["text", "json", "schema"]
"""Free text; any JSON; JSON of the schema that the request gives."""

MediaKind = Literal["image", "audio", "video", "file"]


class UnreadableRequestError(ValueError):
    """A request body does not have the shape of its protocol, so nothing is known about it.

    The text names the field and the type that was found, never the value: a value may be a prompt. Pass such a request
    to the provider unchanged, past the cache; the provider's own error says more.
    """

    def __init__(self, protocol: str, path: str, expected: str, found: str) -> None:
        super().__init__(protocol, path, expected, found)
        self.protocol, self.path, self.expected, self.found = protocol, path, expected, found

    def __str__(self) -> str:
        return f"{self.protocol}: {self.path} must be {self.expected}, not {self.found}; send it past the cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a provider. The controls of the cache are no part of it: they are an argument of the flow."""

    protocol: ProtocolName
    endpoint: str
    """Scheme, host, path and API version, without credentials."""
    body: JsonObject
    headers: Mapping[str, str] = field(default_factory=dict)
    """Only those that shape the answer, with names in lower case."""
    scope: str | None = None
    """The credential scope that the key is bound to."""
    credential: str | None = None
    """A digest of the credential itself, where `scope` is a name that several share; empty if it is not known. None:
    `scope` is such a digest. It is keyed where the body names objects that the provider keeps for its customer."""
    tenant: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOffer:
    """A tool that a request offers to the model."""

    kind: str
    """The protocol's own word: `function`, `custom`, `web_search`, `mcp`, `bash_20250124`, …"""
    name: str | None = None
    by_caller: bool = True
    """Whether the caller runs it. If not, the provider does while it answers."""
    needs_arguments: bool = False
    """Whether the schema of its parameters requires any, or may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """The facts of a request body that the flow needs. Whether the body may be cached is decided elsewhere."""

    model: str | None
    stream: bool = False
    include_usage: bool = False
    """Whether the caller of a stream asked for usage in it. True where the protocol always sends it."""
    n: int = 1
    """How many answers are asked for."""
    tools: tuple[ToolOffer, ...] = ()
    output: OutputKind = "text"
    schema: JsonObject | None = None
    """The JSON schema of the output, if `output` is `schema`."""
    media: frozenset[MediaKind] = frozenset()
    """Kinds of media in the input, and `audio` if audio is asked for."""
    user_turns: int = 0
    """Messages of the user; results of tools are not counted."""
    max_output_tokens: int | None = None
    inputs: tuple[Any, ...] = ()
    """Embeddings only: the inputs, one vector each. A list of token ids is one input."""
    echoed: JsonObject = field(default_factory=dict)
    """Fields that the answer repeats although they are not part of the key (`metadata`, `user`, …)."""
