"""What the readers of one live stream have in common, so that it is made once and not for each of them.

Readers get the same chunks, as the same objects. Their server-sent events are the same bytes, and joiners save the same
answer, unless a request has fields of its own that its events echo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.wire import RequestFacts, WireProtocol
from cachecore_llm.wire.objects import load

_MOST_FRAMES: Final = 512
_MOST_BYTES: Final = 16 * 1024
"""Of a chunk whose frame is kept."""
_MOST_ANSWERS: Final = 4


class Readers:
    """Frames and answers of live streams that were made last: at most 512 and 4."""

    def __init__(self) -> None:
        self._frames: dict[tuple[str, bool, bytes], bytes] = {}
        self._answers: dict[tuple[object, ...], StoredAnswer] = {}

    def frame(self, protocol: WireProtocol, facts: RequestFacts, chunk: bytes) -> bytes:
        """Return the server-sent event of `chunk` for a reader; empty if it does not get it."""
        if facts.echoed or len(chunk) > _MOST_BYTES:
            return frame_of(protocol, facts, chunk)
        place = (protocol.name, facts.include_usage, chunk)
        frame = self._frames.get(place)
        if frame is None:
            frame = frame_of(protocol, facts, chunk)
            if len(self._frames) >= _MOST_FRAMES:
                del self._frames[next(iter(self._frames))]
            self._frames[place] = frame
        return frame

    def answer(self, place: tuple[object, ...], make: Callable[[], StoredAnswer]) -> StoredAnswer:
        """Return the answer that the chunks in `place` are; `make` makes it for the first joiner."""
        answer = self._answers.get(place)
        if answer is None:
            answer = make()
            if len(self._answers) >= _MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]
            self._answers[place] = answer
        return answer


def frame_of(protocol: WireProtocol, facts: RequestFacts, chunk: bytes) -> bytes:
    """Return the server-sent event of `chunk` for a reader; empty if it does not get it."""
    shown = protocol.shown_to(load(chunk), facts)
    return b"" if shown is None else protocol.frame(shown)
