"""Recording costs little beside what the SDKs themselves do with a stream. Times are compared within one run."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cachecore_llm.wire import EventDecoder, Recording, WireProtocol
from tests.llm.wire import sdk
from tests.llm.wire.test_pieces import STREAMS, TOKENS

SHARE = {"openai.chat": 0.12, "openai.responses": 0.12, "anthropic.messages": 0.4}
"""Of the SDK's time for reading the same bytes from memory, without a network. Measured: 3–5, 4–6, 12–20 %."""


def fastest(work: Callable[[], object], rounds: int) -> float:
    """Return the processor seconds of the fastest round: other work on the machine does not count."""
    best = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
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
