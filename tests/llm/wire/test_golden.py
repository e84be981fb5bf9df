"""Each golden stream becomes the body beside it and the same stream again, and the SDKs see no difference."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import pytest

from cachecore_llm.wire import PROTOCOLS, EventDecoder, Pieces, is_complete, record, replays_exactly
from tests.llm.wire import sdk
from tests.llm.wire.golden import ALL, Golden, events_in, stream_of

golden = pytest.mark.parametrize("golden", ALL, ids=str)
answered = pytest.mark.parametrize("golden", [g for g in ALL if g.right["complete"]], ids=str)
readable = pytest.mark.parametrize(
    "golden", [g for g in ALL if g.right["complete"] and g.right.get("sdk", True)], ids=str
)


@golden
def test_stream_becomes_its_body(golden: Golden) -> None:
    recording = record(golden.protocol, golden.events, golden.request)
    assert recording.body == golden.right["body"]
    assert recording.complete == golden.right["complete"]
    assert recording.whole == golden.right["whole"]
    if "error" in golden.right:
        assert recording.error is not None
        assert golden.right["error"].items() <= asdict(recording.error).items()
    else:
        assert recording.error is None


@answered
def test_body_and_pieces_give_back_the_very_events(golden: Golden) -> None:
    recording = record(golden.protocol, golden.events, golden.request)
    assert replays_exactly(golden.protocol, golden.events, recording) == golden.right["exact"]
    if recording.pieces is not None:
        assert Pieces.decode(recording.pieces.encode()) == recording.pieces


@answered
@pytest.mark.parametrize("pieces", [True, False], ids=["as it came", "by words"])
def test_events_become_the_body_again(golden: Golden, pieces: bool) -> None:
    recording = record(golden.protocol, golden.events, golden.request)
    assert recording.body is not None
    events = list(golden.protocol.events_of(recording.body, recording.pieces if pieces else None))
    again = record(golden.protocol, events, golden.request)
    assert again.body == recording.body
    assert again.complete
    assert events_in(golden.protocol, stream_of(golden.protocol, events)) == events


@golden
def test_a_prefix_is_never_complete(golden: Golden) -> None:
    events = golden.events
    for end in range(len(events)):
        assert not is_complete(golden.protocol, events[:end], golden.request)


@golden
def test_chunks_may_be_cut_at_any_byte(golden: Golden) -> None:
    whole = EventDecoder().feed(golden.sent)
    decoder = EventDecoder()
    assert [event for byte in golden.sent for event in decoder.feed(bytes([byte]))] == whole
    for size in (2, 3, 7, 64):
        decoder = EventDecoder()
        parts = [golden.sent[at : at + size] for at in range(0, len(golden.sent), size)]
        assert [event for part in parts for event in decoder.feed(part)] == whole


@answered
def test_facts(golden: Golden) -> None:
    wanted = golden.right.get("facts", {})
    facts = golden.protocol.facts(golden.right["body"])
    assert facts.complete
    assert facts.id == golden.right["body"].get("id")
    choice = facts.choices[0]
    for name, value in wanted.items():
        found: Any = getattr(choice, name) if hasattr(choice, name) else getattr(facts, name)
        if name == "tool_calls":
            assert [[call.id, call.name, call.arguments] for call in found] == value
        elif isinstance(value, dict):
            assert {**asdict(found), **value} == asdict(found)
        else:
            assert found == value


@readable
@pytest.mark.parametrize("pieces", [True, False], ids=["as it came", "by words"])
def test_the_sdk_makes_the_same_of_our_stream(golden: Golden, pieces: bool) -> None:
    name = golden.protocol.name
    recording = record(golden.protocol, golden.events, golden.request)
    assert recording.body is not None
    ours = list(golden.protocol.events_of(recording.body, recording.pieces if pieces else None))
    made, meant = (sdk.said(sdk.streamed(name, sent)) for sent in (stream_of(golden.protocol, ours), golden.sent))
    ignored = golden.right.get("sdk_ignores", ())
    assert without(made, ignored) == without(meant, ignored)


@readable
def test_the_sdk_makes_the_same_of_the_whole_body(golden: Golden) -> None:
    if not golden.right["whole"]:
        pytest.skip("not given to callers that do not stream")
    name = golden.protocol.name
    made, meant = sdk.said(sdk.whole(name, golden.right["body"])), sdk.said(sdk.streamed(name, golden.sent))
    ignored = golden.right.get("sdk_ignores", ())
    assert without(made, ignored) == without(meant, ignored)


@readable
def test_an_application_gets_the_same_events(golden: Golden) -> None:
    if not golden.right["exact"]:
        pytest.skip("this stream is kept as it was sent")
    name = golden.protocol.name
    recording = record(golden.protocol, golden.events, golden.request)
    assert recording.body is not None
    ours = list(golden.protocol.events_of(recording.body, recording.pieces))
    theirs = stream_of(golden.protocol, golden.events)
    assert sdk.events(name, stream_of(golden.protocol, ours)) == sdk.events(name, theirs)


def without(value: Any, names: Collection[str]) -> Any:
    """Return plain data without the fields of these names, which the SDK takes from one place and not from another."""
    if isinstance(value, dict):
        return {key: without(inner, names) for key, inner in value.items() if key not in names}
    return [without(inner, names) for inner in value] if isinstance(value, list) else value


def test_every_protocol_has_its_name() -> None:
    assert all(protocol.name == name for name, protocol in PROTOCOLS.items())
