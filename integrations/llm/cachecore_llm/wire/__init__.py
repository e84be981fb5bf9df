"""The wire formats of LLM providers as pure functions: requests, answers, streams.

Nothing here opens a connection, reads a clock or needs a provider's SDK.
"""

from collections.abc import Mapping

from cachecore_llm.wire.anthropic_messages import ANTHROPIC_MESSAGES
from cachecore_llm.wire.call import Call, JsonObject, ProtocolName, RequestFacts, ToolOffer, UnreadableRequestError
from cachecore_llm.wire.facts import AnswerFacts, ChoiceFacts, ErrorFacts, Finish, ToolCallFacts, UsageFacts
from cachecore_llm.wire.objects import UnreadableStreamError, load
from cachecore_llm.wire.openai_chat import OPENAI_CHAT
from cachecore_llm.wire.openai_embeddings import OPENAI_EMBEDDINGS, NoStreamError
from cachecore_llm.wire.openai_responses import OPENAI_RESPONSES
from cachecore_llm.wire.pieces import Pieces, UnreadablePiecesError
from cachecore_llm.wire.plain import PLAIN
from cachecore_llm.wire.protocol import (
    Assembly,
    Recording,
    WireProtocol,
    assemble,
    is_complete,
    record,
    replays_exactly,
)
from cachecore_llm.wire.sse import EventDecoder, ServerEvent, encode_comment, encode_event

PROTOCOLS: Mapping[ProtocolName, WireProtocol] = {
    protocol.name: protocol
    for protocol in (OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_EMBEDDINGS, ANTHROPIC_MESSAGES, PLAIN)
}
"""Every protocol under its name."""

__all__ = [
    "ANTHROPIC_MESSAGES",
    "OPENAI_CHAT",
    "OPENAI_EMBEDDINGS",
    "OPENAI_RESPONSES",
    "PLAIN",
    "PROTOCOLS",
    "AnswerFacts",
    "Assembly",
    "Call",
    "ChoiceFacts",
    "ErrorFacts",
    "EventDecoder",
    "Finish",
    "JsonObject",
    "NoStreamError",
    "Pieces",
    "ProtocolName",
    "Recording",
    "RequestFacts",
    "ServerEvent",
    "ToolCallFacts",
    "ToolOffer",
    "UnreadablePiecesError",
    "UnreadableRequestError",
    "UnreadableStreamError",
    "UsageFacts",
    "WireProtocol",
    "assemble",
    "encode_comment",
    "encode_event",
    "is_complete",
    "load",
    "record",
    "replays_exactly",
]
