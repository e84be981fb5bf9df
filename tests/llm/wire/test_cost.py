"""Recording costs little beside what the SDKs themselves do with a stream. Times are compared within one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cachecore_llm.wire import EventDecoder, Recording, WireProtocol
from tests.llm.wire import sdk
from tests.llm.wire.test_pieces import STREAMS, TOKENS

SHARE = {"openai.chat": 0.08, "openai.responses": 0.08, "anthropic.messages": 0.25}
"""Of the SDK's own time for reading the same bytes from memory, without a network. Measured: 3, 4 and 12 %."""


def fastest(work: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the fastest round: what the work takes when nothing else is in its way."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


@pytest.mark.parametrize("protocol", STREAMS, ids=lambda protocol: protocol.name)
def test_recording_costs_little_beside_the_sdk(protocol: WireProtocol) -> None:
    """From the bytes of 1,000 events to body and pieces, encoded."""
    frames = [protocol.frame(event) for event in STREAMS[protocol](TOKENS["prose"])]

    def recorded() -> Recording:
        decoder, assembly = EventDecoder(), protocol.assembly()
        for frame in frames:
            for sent in decoder.feed(frame):
                event = protocol.event_of(sent)
                if event is not None:
                    assembly.feed(protocol.neutral(event))
        assembly.end()
        recording = assembly.recording()
        assert recording.pieces is not None
        recording.pieces.encode()
        return recording

    assert recorded().complete
    ours, theirs = fastest(recorded, 7), fastest(lambda: sdk.events(protocol.name, b"".join(frames)), 3)
    assert ours < SHARE[protocol.name] * theirs, f"{ours * 1e3:.1f} ms of {theirs * 1e3:.1f} ms"
