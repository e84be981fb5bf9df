"""Laws of the wire, for answers and streams by chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachecore_llm.wire import (
    ANTHROPIC_MESSAGES,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    PROTOCOLS,
    EventDecoder,
    JsonObject,
    Pieces,
    RequestFacts,
    UnreadablePiecesError,
    UnreadableRequestError,
    WireProtocol,
    assemble,
    encode_comment,
    encode_event,
    is_complete,
    record,
    replays_exactly,
)
from cachecore_llm.wire.chat.assembly import ChatAssembly
from tests.llm.wire import sdk
from tests.llm.wire import strategies as by_chance
from tests.llm.wire.golden import events_in, stream_of

BODIES: list[tuple[WireProtocol, st.SearchStrategy[JsonObject]]] = [
    (OPENAI_CHAT, by_chance.chat_bodies()),
    (OPENAI_RESPONSES, by_chance.response_bodies()),
    (ANTHROPIC_MESSAGES, by_chance.message_bodies()),
]
MakeStreams = Callable[..., st.SearchStrategy[by_chance.Stream]]
STREAMS: list[tuple[WireProtocol, MakeStreams]] = [
    (OPENAI_CHAT, by_chance.chat_streams),
    (OPENAI_RESPONSES, by_chance.response_streams),
    (ANTHROPIC_MESSAGES, by_chance.message_streams),
]
law = settings(max_examples=50, deadline=None)  # a body and its events are large: Hypothesis draws a few hundred values
STREAMED = [OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES]


def request(n: int) -> RequestFacts:
    return RequestFacts(model=None, stream=True, include_usage=True, n=n)


def choices(body: JsonObject) -> int:
    return len(body.get("choices", ())) or 1


def test_a_null_of_another_answer_is_not_given() -> None:
    """Pieces with a null for a field that a body does not have are not those of its stream."""
    body: JsonObject = {"id": "_", "object": "chat.completion", "created": 0, "model": "_"}
    message = {"role": "assistant", "content": None}
    body["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
    other = {**body, "choices": [{"index": 0, "message": {**message, "refusal": None}, "finish_reason": "stop"}]}
    of_other = record(OPENAI_CHAT, OPENAI_CHAT.events_of(other)).pieces
    assert record(OPENAI_CHAT, OPENAI_CHAT.events_of(body, of_other), request(1)).body == body


@law
@given(st.data())
@pytest.mark.parametrize(("protocol", "bodies"), BODIES, ids=lambda value: getattr(value, "name", ""))
def test_events_of_a_body_are_that_body(
    protocol: WireProtocol, bodies: st.SearchStrategy[JsonObject], data: st.DataObject
) -> None:
    """A body becomes events and the body again, whichever pieces are given, those of another answer included."""
    body, other = data.draw(bodies), data.draw(bodies)
    of_other = record(protocol, protocol.events_of(other)).pieces
    for pieces in (None, of_other):
        recording = record(protocol, protocol.events_of(body, pieces), request(choices(body)))
        assert recording.body == body
        assert recording.complete
        assert list(protocol.events_of(body, recording.pieces)) == list(protocol.events_of(body, pieces))


@law
@given(st.data())
@pytest.mark.parametrize(("protocol", "streams"), STREAMS, ids=lambda value: getattr(value, "name", ""))
def test_chunking_does_not_change_the_body(protocol: WireProtocol, streams: MakeStreams, data: st.DataObject) -> None:
    """However a server cuts an answer, the body is the same, and body and pieces give back the very events."""
    first = data.draw(streams())
    second = data.draw(streams(first.body))
    for stream in (first, second):
        recording = record(protocol, stream.events, request(stream.n))
        assert recording.body == first.body
        assert recording.complete
        assert recording.whole
        assert replays_exactly(protocol, stream.events, recording)
        pieces = recording.pieces
        assert pieces is not None
        assert Pieces.decode(pieces.encode()) == pieces


@law
@given(st.data())
@pytest.mark.parametrize(("protocol", "bodies"), BODIES, ids=lambda value: getattr(value, "name", ""))
def test_a_prefix_is_never_complete(
    protocol: WireProtocol, bodies: st.SearchStrategy[JsonObject], data: st.DataObject
) -> None:
    body = data.draw(bodies)
    events = list(protocol.events_of(body))
    cut = data.draw(st.integers(0, len(events) - 1))
    assert not is_complete(protocol, events[:cut], request(choices(body)))
    assert is_complete(protocol, events, request(choices(body)), ended=True)


@law
@given(by_chance.chat_bodies(), st.data())
def test_a_chat_that_lacks_a_finish_reason_is_never_complete(body: JsonObject, data: st.DataObject) -> None:
    """Not even when the body ended cleanly, or with `[DONE]`."""
    events = list(OPENAI_CHAT.events_of(body))
    last = max(at for at, event in enumerate(events) if any(choice["finish_reason"] for choice in event["choices"]))
    cut = data.draw(st.integers(0, last))
    assert not is_complete(OPENAI_CHAT, events[:cut], request(choices(body)), ended=True)


@law
@given(st.data())
@pytest.mark.parametrize(("protocol", "bodies"), BODIES, ids=lambda value: getattr(value, "name", ""))
def test_bytes_become_events_however_they_are_cut(
    protocol: WireProtocol, bodies: st.SearchStrategy[JsonObject], data: st.DataObject
) -> None:
    events = list(protocol.events_of(data.draw(bodies)))
    sent = b"".join(encode_comment("wait") + protocol.frame(event) for event in events) + protocol.end_frame
    if data.draw(st.booleans()):
        sent = sent.replace(b"\n", data.draw(st.sampled_from([b"\r\n", b"\r"])))
    decoder, found = EventDecoder(), []
    for piece in data.draw(by_chance.cuts(sent)):
        found += decoder.feed(piece)
    assert [event for event in map(protocol.event_of, found) if event is not None] == events
    assert any(map(protocol.is_end, found)) == bool(protocol.end_frame)


@settings(max_examples=25, deadline=None)
@given(st.data())
@pytest.mark.parametrize(("protocol", "streams"), STREAMS, ids=lambda value: getattr(value, "name", ""))
def test_the_sdk_makes_the_same_of_any_stream(
    protocol: WireProtocol, streams: MakeStreams, data: st.DataObject
) -> None:
    """The accumulators of the SDKs see no difference between a stream, its replay, and a replay by words."""
    stream = data.draw(streams())
    meant = sdk.said(sdk.streamed(protocol.name, stream_of(protocol, stream.events)))
    recording = record(protocol, stream.events, request(stream.n))
    assert recording.body is not None
    for pieces in (recording.pieces, None):
        ours = stream_of(protocol, list(protocol.events_of(recording.body, pieces)))
        assert sdk.said(sdk.streamed(protocol.name, ours)) == meant


@law
@given(by_chance.response_bodies())
def test_the_deltas_of_a_response_are_its_text(body: JsonObject) -> None:
    """Whoever reads only the deltas gets the texts of the body, in their order."""
    grown: dict[tuple[object, ...], str] = {}
    ended: dict[tuple[object, ...], str] = {}
    for event in OPENAI_RESPONSES.events_of(body):
        kind = event["type"].removesuffix(".delta").removesuffix(".done")
        place = (kind, event.get("output_index"), event.get("content_index"), event.get("summary_index"))
        if event["type"].endswith(".delta"):
            grown[place] = grown.get(place, "") + event["delta"]
        elif event["type"].endswith("_part.done"):
            continue
        elif event["type"].endswith(".done") and "item" not in event:
            ended[place] = next(event[key] for key in ("text", "refusal", "arguments", "input") if key in event)
    assert {place: text for place, text in ended.items() if text} == grown
    numbers = [event["sequence_number"] for event in OPENAI_RESPONSES.events_of(body)]
    assert numbers == list(range(len(numbers)))


@law
@given(st.lists(by_chance.json_objects, max_size=6), st.data())
@pytest.mark.parametrize("protocol", STREAMED, ids=lambda value: value.name)
def test_nothing_that_a_server_sends_raises(
    protocol: WireProtocol, strange: Sequence[JsonObject], data: st.DataObject
) -> None:
    """Objects of any shape, also in the place of well-known fields, are taken without an error."""
    names = ["choices", "delta", "message", "content_block", "response", "item", "part", "index", "output_index"]
    names += ["content_index", "tool_calls", "function", "content", "usage", "type", "error", "object", "logprobs"]
    kinds = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
    kinds += ["response.created", "response.output_item.added", "response.output_text.delta", "response.completed"]
    field = st.sampled_from(names)
    values = st.one_of(by_chance.json_values, st.lists(by_chance.json_objects, max_size=2), st.sampled_from(kinds))
    shapes = st.recursive(values, lambda inner: st.dictionaries(field, inner, max_size=4), max_leaves=12)
    events = [*strange, *data.draw(st.lists(st.dictionaries(field, shapes, max_size=6), max_size=6))]
    fragments = data.draw(
        st.lists(st.dictionaries(st.sampled_from(["content", "tool_calls", "x"]), values), max_size=6)
    )
    events += [{"choices": [{"index": 0, "delta": delta, "logprobs": delta}]} for delta in fragments]
    recording = record(protocol, events)
    for value in (*events, recording.body or {}):
        protocol.facts(protocol.neutral(value))
        protocol.shown_to(protocol.neutral(value), request(1))
        list(protocol.events_of(value))
    if recording.body is not None:
        replays_exactly(protocol, events, recording)


@law
@given(by_chance.json_values | st.dictionaries(st.sampled_from(["messages", "input", "tools", "text"]), st.none()))
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda value: value.name)
def test_a_request_is_read_or_refused_by_name(protocol: WireProtocol, body: object) -> None:
    """A body of another shape gives an error that names the field and holds nothing of its value."""
    try:
        facts = protocol.parse(body)  # type: ignore[arg-type]  # what arrives is whatever a caller sent
    except UnreadableRequestError as error:
        refused = str(error)
    else:
        refused = ""
        assert isinstance(body, dict)
        assert facts.model == body.get("model")
    assert not refused or refused.startswith(protocol.name)


@law
@given(by_chance.response_bodies(), by_chance.echoes, by_chance.echoes)
def test_no_echo_of_one_caller_reaches_another(body: JsonObject, a: JsonObject, b: JsonObject) -> None:
    """What a response repeats of a request that is not keyed is cut, and filled in from the asking caller's request."""
    marked = {key: {"k": "secret-of-a"} if key == "metadata" else "secret-of-a" for key in a}
    own = OPENAI_RESPONSES.parse({"model": "m", "input": "x", **b})
    for event in OPENAI_RESPONSES.events_of({**body, **marked}):
        neutral = OPENAI_RESPONSES.neutral(event)
        assert OPENAI_RESPONSES.neutral(neutral) == neutral
        shown = OPENAI_RESPONSES.shown_to(neutral, own)
        assert shown is not None
        assert "secret-of-a" not in json.dumps(shown)
        if "response" in shown:
            for key in marked:
                assert shown["response"][key] == (b.get(key) or ({} if key == "metadata" else None))


@law
@given(by_chance.chat_bodies(), st.booleans())
def test_usage_is_shown_as_asked(body: JsonObject, asked: bool) -> None:
    """A caller that asked for usage gets it or null in each chunk; another sees no trace of it."""
    caller = RequestFacts(model=None, stream=True, include_usage=asked, n=choices(body))
    shown = [
        event
        for event in (OPENAI_CHAT.shown_to(event, caller) for event in OPENAI_CHAT.events_of(body))
        if event is not None
    ]
    assert all(("usage" in event) == asked for event in shown)
    assert asked or all(event["choices"] for event in shown)
    rest = {key: value for key, value in body.items() if key != "usage"}
    seen = [OPENAI_CHAT.neutral(event) for event in shown]
    assert assemble(OPENAI_CHAT, seen, caller) == (body if asked else rest)


@law
@given(st.lists(st.tuples(by_chance.words, st.integers(-2, 300), st.booleans()), max_size=50))
def test_pieces_survive_their_encoding(steps: list[tuple[str, int, bool]]) -> None:
    slots = tuple(dict.fromkeys(slot for slot, _, _ in steps))
    columns = tuple((2 * slots.index(slot) + joined, size) for slot, size, joined in steps)
    pieces = Pieces(slots, columns, {"every": ["id"]})
    assert Pieces.decode(pieces.encode()) == pieces


@law
@given(st.binary(max_size=60), st.data())
def test_bytes_that_are_no_pieces_are_refused(noise: bytes, data: st.DataObject) -> None:
    good = Pieces(("a",), ((0, 3), (0, 4)), {}).encode()
    at = data.draw(st.integers(0, len(good) - 1))
    for bad in (noise, good[:at], good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]):
        try:
            read = Pieces.decode(bad)
        except UnreadablePiecesError:
            continue
        assert len(list(read)) == len(read.steps)  # whatever was read can be used


@law
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=40), by_chance.words)
def test_any_data_survives_framing(text: str, name: str) -> None:
    """Line ends become lines of data, and come back as line ends."""
    events = EventDecoder().feed(encode_event(text, event=name))
    assert [(event.event, event.data) for event in events] == [(name, text)]
    assert events_in(OPENAI_CHAT, encode_comment(text)) == []


@law
@given(by_chance.chat_streams(), st.lists(st.tuples(st.integers(0, 400), by_chance.json_objects), max_size=3))
def test_the_short_way_of_plain_text_is_the_long_way(
    stream: by_chance.Stream, strange: list[tuple[int, JsonObject]]
) -> None:
    """Chunks that differ by their text alone are taken faster, and nothing else is to be seen of it."""
    events = [dict(event) for event in stream.events]
    for at, fields in strange:
        events[at % len(events)] |= {key: value for key, value in fields.items() if key != "choices"}
    by_both = []
    for way in (ChatAssembly, _Plodding):
        assembly = way(stream.n)
        for event in events:
            assembly.feed(event)
        assembly.end()
        by_both.append((assembly.recording(), assembly.started))
    assert by_both[0] == by_both[1]


class _Plodding(ChatAssembly):
    """An assembly without the short way."""

    def _take_more(self, event: JsonObject, entry: object) -> bool:
        return False
