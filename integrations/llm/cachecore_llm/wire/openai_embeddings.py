"""The protocol `openai.embeddings`: `POST /embeddings`. It has no streams, and each input has an answer of its own.

A request for many inputs is split into requests for one each, and their answers are joined again. An input that comes
again beside other inputs is not computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from cachecore_llm.wire.call import JsonObject, ProtocolName, RequestFacts, UnreadableRequestError
from cachecore_llm.wire.facts import AnswerFacts, UsageFacts, as_objects, count, error_facts, text_or_none
from cachecore_llm.wire.pieces import Pieces
from cachecore_llm.wire.protocol import Assembly
from cachecore_llm.wire.requests import Reader
from cachecore_llm.wire.sse import ServerEvent


class NoStreamError(TypeError):
    """Embeddings are never streamed: answer the call as a whole."""

    def __init__(self) -> None:
        super().__init__("openai.embeddings has no streams; answer the call as a whole")


class OpenAIEmbeddings:
    """`WireProtocol` of embeddings. Methods for streams raise NoStreamError."""

    name: ProtocolName = "openai.embeddings"
    end_frame = b""

    def parse(self, body: JsonObject) -> RequestFacts:
        """Return the facts of a request body. Raises UnreadableRequestError."""
        read = Reader(self.name, body)
        inputs = _inputs(self.name, body.get("input"))
        return RequestFacts(model=read.text("model"), n=len(inputs), inputs=inputs, user_turns=len(inputs))

    def facts(self, body: JsonObject) -> AnswerFacts:
        """Return the facts of an answer's body."""
        error = body.get("error")
        failed = error is not None or body.get("object") == "error"
        data, usage = body.get("data"), body.get("usage")
        entries = as_objects(data)
        vectors = bool(entries) and len(entries) == len(data or ())
        vectors = vectors and all(_is_vector(entry.get("embedding")) for entry in entries)
        return AnswerFacts(
            model=text_or_none(body.get("model")),
            usage=UsageFacts(input_tokens=count(usage.get("prompt_tokens"))) if isinstance(usage, dict) else None,
            error=error_facts(error or body) if failed else None,
            complete=vectors and not failed,
        )

    def split(self, body: JsonObject) -> list[JsonObject]:
        """Return a request for each input of `body`, in their order. Raises UnreadableRequestError."""
        return [{**body, "input": one} for one in _inputs(self.name, body.get("input"))]

    def merged(self, bodies: Sequence[JsonObject]) -> JsonObject:
        """Return one request for the inputs of requests that `split` made of one body.

        Raises ValueError if there are none, or if they differ in more than their input.
        """
        if not bodies:
            raise ValueError("no requests to merge; give at least one")
        first = {key: value for key, value in bodies[0].items() if key != "input"}
        if any({key: value for key, value in body.items() if key != "input"} != first for body in bodies):
            raise ValueError("requests that differ in more than their input cannot be merged; send them apart")
        return {**first, "input": [body["input"] for body in bodies]}

    def answers_of(self, body: JsonObject, n: int) -> list[JsonObject]:
        """Return the answer to each of the `n` inputs of a request, as if it had been asked for alone.

        An answer to one of several inputs has no usage: the provider gives only a sum. Raises ValueError if `body`
        does not hold each of 0…n-1 exactly once.
        """
        found: dict[int, JsonObject] = {}
        for place, entry in enumerate(as_objects(body.get("data"))):
            index = entry.get("index", place)
            if type(index) is not int or not 0 <= index < n or index in found:
                raise ValueError(f"an answer for input {index!r}, where each of 0 to {n - 1} is wanted once")
            found[index] = entry
        if len(found) != n:
            raise ValueError(f"{len(found)} answers to {n} inputs")
        rest = {key: value for key, value in body.items() if key != "data" and (n == 1 or key != "usage")}
        return [{**rest, "data": [{**found[index], "index": 0}]} for index in range(n)]

    def joined(self, answers: Sequence[JsonObject], usage: JsonObject | None) -> JsonObject:
        """Return one answer to many inputs from the answer to each, in their order.

        `usage` is the usage billed now; None stands for nothing billed. Raises ValueError if there are no answers.
        """
        if not answers:
            raise ValueError("no answers to join; give at least one")
        data = [{**answer["data"][0], "index": index} for index, answer in enumerate(answers)]
        nothing = {"prompt_tokens": 0, "total_tokens": 0}
        return {**answers[-1], "data": data, "usage": usage if usage is not None else nothing}

    def assembly(self, request: RequestFacts | None = None) -> Assembly:
        """Raises NoStreamError."""
        _no_stream()

    def events_of(self, body: JsonObject, pieces: Pieces | None = None) -> Iterator[JsonObject]:
        """Raises NoStreamError."""
        _no_stream()

    def neutral(self, event: JsonObject) -> JsonObject:
        """Return the body itself: it repeats nothing of a request that is not keyed."""
        return event

    def shown_to(self, event: JsonObject, request: RequestFacts) -> JsonObject | None:
        """Return the body itself: every caller gets the same."""
        return event

    def event_of(self, sent: ServerEvent) -> JsonObject | None:
        """Raises NoStreamError."""
        _no_stream()

    def is_end(self, sent: ServerEvent) -> bool:
        """Raises NoStreamError."""
        _no_stream()

    def frame(self, event: JsonObject) -> bytes:
        """Raises NoStreamError."""
        _no_stream()


def _is_vector(given: Any) -> bool:
    """Whether an embedding can be used: no number of a list is missing, as null, or infinite, or NaN.

    Text is not read: its bytes are floats or integers, and only the caller knows the type that the request asked for.
    """
    if not isinstance(given, list):
        return bool(given)
    try:
        total = sum(given)
        return bool(given) and total - total == 0  # an infinity or a NaN anywhere makes the difference a NaN
    except (TypeError, OverflowError):  # null, or a vector for each token
        return None not in given


def _no_stream() -> NoReturn:
    raise NoStreamError


def _inputs(protocol: str, value: Any) -> tuple[Any, ...]:
    """Return the inputs: text, list of texts, list of token ids (one input), list of lists of token ids."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(type(entry) is int for entry in value):
            return (value,)
        if all(isinstance(entry, str) for entry in value):
            return tuple(value)
        if all(isinstance(entry, list) and all(type(token) is int for token in entry) for entry in value):
            return tuple(value)
        raise UnreadableRequestError(protocol, "input", "text, token ids or a list of them", "a list of other things")
    raise UnreadableRequestError(protocol, "input", "text, token ids or a list of them", type(value).__name__)


OPENAI_EMBEDDINGS = OpenAIEmbeddings()
