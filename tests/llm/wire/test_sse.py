"""Server-sent events as their standard says, and within bounds."""

from __future__ import annotations

import math

import pytest

from cachecore_llm.wire import EventDecoder, JsonObject, UnreadableStreamError, encode_comment, encode_event, load
from cachecore_llm.wire.objects import MAX_DEPTH
from cachecore_llm.wire.sse import encode_object


def decode(*chunks: bytes) -> list[tuple[str, str]]:
    decoder = EventDecoder()
    return [(event.event, event.data) for chunk in chunks for event in decoder.feed(chunk)]


@pytest.mark.parametrize(
    ("sent", "right"),
    [
        (b"data: a\n\n", [("", "a")]),
        (b"data:a\n\n", [("", "a")]),
        (b"data:  a\n\n", [("", " a")]),
        (b"data\n\n", [("", "")]),
        (b"data: a\ndata: b\n\n", [("", "a\nb")]),
        (b"event: e\ndata: a\n\ndata: b\n\n", [("e", "a"), ("", "b")]),
        (b"data: a\nevent: e\n\n", [("e", "a")]),
        (b"event: e\n\ndata: a\n\n", [("", "a")]),
        (b"event: e\nid: 1\n\n", []),
        (b"event: e\nevent: f\ndata: a\n\n", [("f", "a")]),
        (b"id: 1\nretry: 5\nnovel: x\ndata: a\n\n", [("", "a")]),
        (b": comment\n\n: another\ndata: a\n:\n\n", [("", "a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
        (b"data: a\r\rdata: b\r\n\r\n", [("", "a"), ("", "b")]),
        (b"data: a\r\ndata: b\r\n\r\n", [("", "a\nb")]),
        (b"data: a\n\n\n\n", [("", "a")]),
        (b"data: cut short\n", []),
        (b"data: cut short", []),
        ("data: 你 👋\n\n".encode(), [("", "你 👋")]),
        ("data: a\u2028b\x0bc\x85d\n\n".encode(), [("", "a\u2028b\x0bc\x85d")]),
    ],
)
def test_the_forms_of_the_standard(sent: bytes, right: list[tuple[str, str]]) -> None:
    """They are read alike in one chunk, byte by byte, and cut in two at any place."""
    assert decode(sent) == right
    assert decode(*(bytes([byte]) for byte in sent)) == right
    for at in range(len(sent)):
        assert decode(sent[:at], b"", sent[at:]) == right


def test_a_large_event_is_an_error_and_not_memory() -> None:
    """Counted is the event, whether it comes in one line, in many, or in a line that never ends."""
    for chunk in (b"data: " + b"x" * 200 + b"\n\n", b"data: " + b"x" * 60 + b"\n", b"x" * 40):
        decoder = EventDecoder(max_event_bytes=100)
        with pytest.raises(UnreadableStreamError, match="100 bytes"):
            for _ in range(4):
                decoder.feed(chunk)


def test_many_small_events_are_no_large_one() -> None:
    decoder = EventDecoder(max_event_bytes=100)
    sent = (b": " + b"c" * 60 + b"\n") * 3 + b"event: e\ndata: " + b"x" * 50 + b"\n\n"
    assert len(decoder.feed(sent * 20)) == 20
    for byte in sent * 3:
        decoder.feed(bytes([byte]))


def test_bytes_that_are_no_text_are_an_error_without_content() -> None:
    with pytest.raises(UnreadableStreamError) as caught:
        EventDecoder().feed(b"data: secret \xff\n\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("data", ["{", "secret", "[1]", "1", '"secret"', "[" * 5_000])
def test_data_that_is_no_object_is_an_error_without_content(data: str) -> None:
    with pytest.raises(UnreadableStreamError) as caught:
        load(data)
    assert "secret" not in str(caught.value)


def test_data_nested_too_deeply_is_refused() -> None:
    """A walk over it would end in a RecursionError; many brackets beside each other are no depth."""
    deep = '{"a":' * MAX_DEPTH + "[]" + "}" * MAX_DEPTH
    with pytest.raises(UnreadableStreamError, match="deep"):
        load(deep)
    assert load(deep.replace("[]", "1"))
    assert load('{"a":[' + "[]," * 5_000 + "[]]}")


def test_what_the_sdks_read_is_read() -> None:
    """NaN, numbers beyond floats, lone surrogates and long integers, as `json.loads` reads them."""
    assert load('{"a":1e999,"b":"\\ud83d","c":123456789012345678901234567890}') == {
        "a": math.inf,
        "b": "\ud83d",
        "c": 123456789012345678901234567890,
    }
    assert math.isnan(load('{"a":NaN}')["a"])


def test_objects_survive_framing() -> None:
    values: list[JsonObject] = [{"a": "\n\r\u2028 é"}, {"b": "\ud83d"}, {"c": [1, 2.5, None, True, {"d": {}}]}]
    for value in values:
        (event,) = EventDecoder().feed(encode_object(value, event="e"))
        assert (event.event, load(event.data)) == ("e", value)
    (event,) = EventDecoder().feed(encode_object({"a": math.nan}))
    assert load(event.data) == {"a": None}


def test_names_and_comments_cannot_add_lines() -> None:
    assert decode(encode_comment("a\ndata: b\r\n\r\n") + encode_event("x", event="e\ndata: y\n\n")) == [
        ("e data: y ", "x")
    ]
