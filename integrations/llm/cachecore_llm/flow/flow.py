"""`Flow`: calls through one cache of answers. Each way stands in a file of its own."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine
from typing import Any

from cachecore import Cache
from cachecore_llm.flow import batch, ladder, misses, whole
from cachecore_llm.flow.answers import Answer
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.calls import Calls
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.flow.streams import AnswerStream
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import Call, JsonObject

Send = Callable[[Call], Awaitable[Sent]]
"""Asks for a whole answer, in the protocol of the call."""

StreamFrom = Callable[[Call], AsyncIterable[JsonObject]]
"""Asks for a stream of events, in the protocol of the call. It may have `provider`, `fallback`, `latency` and
`headers`, known with the first event, and `aclose`."""


class Flow(Calls):
    """The ways of calls through a cache of answers."""

    recorder: Callable[[Asked], None] | None = None
    """Told every call that asks for an answer, before it is looked for; see `cachecore_llm.operating.Recorder`."""

    def _noted(self, asked: Asked) -> Asked:
        if self.recorder is not None:
            self.recorder(asked)
        return asked

    async def answer(self, call: Call, send: Send, controls: Controls = DEFAULT, *, similar: bool = True) -> Answer:
        """Return the stored answer to `call`, else the answer of `send`, which is stored if it is fit to be.

        Callers that ask the same at the same time share one `send`. If it fails, and not by the caller's fault, the
        ladder is gone down; `similar=False` leaves out its last rung.

        Raises:
            NotCachedError: `controls.only_if_cached`, and there is no answer.
            Exception: the error of `send`, if nothing may stand in for its answer.

        Also the errors of `ask`, and UnkeyableError.
        """
        return await whole.answer(self, self._noted(self.ask(call, controls)), send, similar=similar)

    def in_memory(self, call: Call, controls: Controls = DEFAULT) -> Answer | None:
        """Return the fresh answer to `call` that is in this process's memory, counted as a hit, or None: `answer` then.

        Synchronous; any thread may call. Raises the errors of `ask`, and UnkeyableError.
        """
        return whole.in_memory(self, self.ask(call, controls))

    async def alone(self, call: Call, send: Send, controls: Controls = DEFAULT) -> Answer:
        """Return the answer of `send`, made for this caller alone; it is stored if it is fit to be.

        For a caller that may not have stored answers, or those of other callers' requests, but whose own may be kept.
        Raises NotCachedError as `answer` does, and the errors of `send`.
        """
        return await whole.alone(self, self.ask(call, controls), send)

    def quick(
        self, view: Cache[StoredAnswer], request: JsonObject, ask: Callable[[], Asked], send: Send
    ) -> Coroutine[Any, Any, Answer | tuple[StoredAnswer, float | None]]:
        """Return the answer to a call of known place and key, before it is written; as `answer`.

        Of a hit in memory, the stored answer and its age in seconds. `ask` gives the call on its way: it is needed
        only if the answer is not in memory.
        """
        if self.recorder is not None:
            self.recorder(ask())
        return whole.quick(self, view, request, ask, send)

    async def answer_many(self, call: Call, send: Send, controls: Controls = DEFAULT) -> batch.Batch:
        """Return the answers to the inputs of an embeddings call: stored ones, and one `send` for all others.

        Raises as `answer` does.
        """
        if self.recorder is not None:
            self.recorder(self.ask(call, controls))
        return await batch.answer_many(self, call, send, controls)

    def stream(self, call: Call, start: StreamFrom, controls: Controls = DEFAULT) -> AnswerStream:
        """Return the events of the answer to `call`, for one reader; nothing is asked before the first is.

        Callers that ask the same at the same time share one stream. Raises as `answer` does.
        """
        return AnswerStream(self, self._noted(self.ask(call, controls)), start)

    async def find(self, call: Call, controls: Controls = DEFAULT) -> Answer | None:
        """Return the fresh answer to `call`, or None."""
        asked = self.ask(call, controls)
        return None if asked.bypass is not None else await whole.find(self, asked)

    async def put(self, call: Call, sent: Sent, controls: Controls = DEFAULT) -> bool:
        """Store an answer that was made elsewhere; return whether it was fit to be stored, and stored."""
        asked = self.ask(call, controls)
        if asked.bypass is not None:
            return False
        computed = self.commit.entry(asked, self.commit.whole(asked, sent))
        if not computed.store or not await asked.view.set(asked.request, computed):
            return False
        ladder.remember(asked, self.questions, computed.value)
        return True

    async def explain(self, call: Call, controls: Controls = DEFAULT, *, most: int = misses.MOST) -> misses.MissReport:
        """Return why `call` misses, and in which fields the nearest stored request differs; see `misses.explain`."""
        return await misses.explain(self, call, controls, most=most)

    async def delete(self, call: Call, controls: Controls = DEFAULT) -> bool:
        """Delete the answer to `call`; return whether there was one. Raises InvalidationPending."""
        asked = self.ask(call, controls)
        return asked.bypass is None and await asked.view.delete(asked.request)

    async def expire(self, call: Call, controls: Controls = DEFAULT) -> bool:
        """Make the answer to `call` stale as of now; return whether there was one. Raises InvalidationPending."""
        asked = self.ask(call, controls)
        return asked.bypass is None and await asked.view.expire(asked.request)
