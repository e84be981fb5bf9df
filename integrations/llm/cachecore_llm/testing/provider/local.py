"""`LocalProvider`: the server as tests use it. On the loop of an async test, or in a thread of its own.

All methods may be called from any thread, also from the server's own loop; a change is in force when they return.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from cachecore_llm.testing.provider import directives as directive_language
from cachecore_llm.testing.provider.calls import Call, CallLog
from cachecore_llm.testing.provider.delivery import Delivery
from cachecore_llm.testing.provider.directives import DirectiveError
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.gate import Gate
from cachecore_llm.testing.provider.server import Server
from cachecore_llm.testing.provider.service import Rules, Service

_T = TypeVar("_T")
_TIMEOUT: Final = 25.0  # seconds for the server's loop to react, and for clients on a busy machine


class LocalProvider:
    """An HTTP server on 127.0.0.1 that answers like OpenAI and Anthropic.

        async with LocalProvider() as provider:  # on this loop
        with LocalProvider() as provider:        # in a thread of its own

    Args:
        port: 0 for a free one.
        directives: for every request, under its own; None: a request's directives are not read but answered as text.
        api_keys: the keys that are good; None: any key.
        models: the models that exist; None: any model.
        max_body_bytes: of a request; a larger one gets a 413.
        keep: how many requests are kept for `requests` and `calls_for`.
        keep_bytes: how many bytes of bodies are kept with them.
        clock: seconds since the epoch, for the timestamps in answers.
        entropy: a new text at each call, for the ids in answers.

    Raises:
        DirectiveError: `directives` cannot be followed.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        directives: str | None = "",
        api_keys: Collection[str] | None = None,
        models: Sequence[str] | None = None,
        max_body_bytes: int = 32 * 1024 * 1024,
        keep: int = 10_000,
        keep_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        for name, value in (("max_body_bytes", max_body_bytes), ("keep", keep), ("keep_bytes", keep_bytes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        if isinstance(api_keys, str) or isinstance(models, str):
            raise TypeError('api_keys and models are collections of texts, as in models=("gpt-local",)')
        base = None if directives is None else _parsed(directives)
        self.port = port
        self._log = CallLog(keep=keep, keep_bytes=keep_bytes)
        self._gate = Gate(self._log)
        rules = Rules(base=base, api_keys=api_keys, models=models)
        self._service = Service(rules, self._log, Delivery(self._log, self._gate), lambda: Fresh(clock, entropy))
        self._server = Server(self._service, max_body_bytes=max_body_bytes, changed=self._log.changed)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # Running

    async def __aenter__(self) -> Self:
        self._begin(asyncio.get_running_loop())
        try:
            self.port = self._server.start(self.port)
        except BaseException:
            self._loop = None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        await self._server.stop()

    def __enter__(self) -> Self:
        # A selector loop: Windows' usual one cannot watch a listening socket.
        self._begin(loop := asyncio.SelectorEventLoop())
        self._thread = threading.Thread(target=loop.run_forever, name="local provider", daemon=True)
        self._thread.start()
        try:
            self.port = self._do(lambda: self._server.start(self.port))
        except BaseException:
            self._end_thread(loop)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = self._running()
        asyncio.run_coroutine_threadsafe(self._server.stop(), loop).result(_TIMEOUT)
        self._end_thread(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise RuntimeError("this provider is running already; build another one")
        self._loop = loop

    def _end_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(_TIMEOUT)
        loop.close()
        self._loop = self._thread = None

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError(
                "the provider is not running: use it inside `with LocalProvider()` or `async with LocalProvider()`"
            )
        return self._loop

    def _do(self, change: Callable[[], _T]) -> _T:
        """Run `change` on the server's loop and return its result."""
        loop = self._running()
        try:
            if asyncio.get_running_loop() is loop:
                return change()
        except RuntimeError as error:
            if "no running event loop" not in str(error):
                raise

        async def run() -> _T:
            return change()

        return asyncio.run_coroutine_threadsafe(run(), loop).result(_TIMEOUT)

    # Addresses

    @property
    def url(self) -> str:
        """The address without a path: `base_url` of the Anthropic SDK."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """The address with `/v1`: `base_url` of the OpenAI SDK."""
        return f"{self.url}/v1"

    # Counting

    @property
    def calls(self) -> int:
        """Requests to the four protocols that arrived since the start or the last `reset`, refused ones included."""
        return self._log.total

    @property
    def active(self) -> int:
        """Requests that are being answered now."""
        return self._log.active

    @property
    def most_at_once(self) -> int:
        """The largest number of requests that were answered at the same time."""
        return self._log.most

    @property
    def held(self) -> int:
        """Answers that wait at the gate now."""
        return self._log.held

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self._server.connections

    @property
    def requests(self) -> tuple[Call, ...]:
        """The last requests, oldest first, with bodies, headers and how their answers went."""
        return self._log.requests()

    def calls_for(
        self, prompt: str | None = None, *, protocol: str | None = None, body: Mapping[str, Any] | None = None
    ) -> int:
        """Return how many requests had this last user message (directives included), this protocol, this body.

        Raises:
            RuntimeError: more requests arrived than are kept.
        """
        return len(
            self._log.matching(
                lambda call: (
                    (prompt is None or call.prompt == prompt)
                    and (protocol is None or call.protocol == protocol)
                    and (body is None or call.body == body)
                )
            )
        )

    def reset(self) -> None:
        """Forget the requests and the queue, and open the gate: held answers go on."""

        def change() -> None:
            self._service.queue.clear()
            self._gate.release(None)
            self._log.reset()

        self._do(change)

    # Steering

    def queue(self, *directives: str) -> None:
        """Give the next requests these directives, one text for each, over their own; an empty text for none.

        Raises:
            DirectiveError: one of them cannot be followed.
        """
        for text in directives:
            _parsed(text)
        self._do(lambda: self._service.queue.extend(directives))

    def hold(self, after: int = 0) -> None:
        """Stop answers at a gate until `release`: streams after that many events, whole ones before the first byte."""
        if after < 0:
            raise ValueError(f"hold(after={after!r}): expected a number of events, 0 or more")
        self._do(lambda: self._gate.hold(after))

    def release(self, count: int | None = None) -> None:
        """Open the gate; or let the `count` answers go that have waited longest, and keep it closed for others.

        Raises:
            ValueError: fewer than `count` answers are held.
        """
        if count is not None and count < 0:
            raise ValueError(f"release({count!r}): expected a number of answers, 0 or more")
        self._do(lambda: self._gate.release(count))

    # Waiting

    async def until(self, condition: Callable[[], bool], *, timeout: float = _TIMEOUT) -> None:
        """Wait until `condition` holds; it is evaluated on the server's loop whenever a call begins, moves or ends.

        Raises:
            TimeoutError: it did not within `timeout` seconds.
        """
        waiter = self._do(lambda: self._log.watch(condition))
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wrap_future(waiter)
        except TimeoutError:
            raise self._late(waiter, timeout) from None

    def wait_until(self, condition: Callable[[], bool], *, timeout: float = _TIMEOUT) -> None:
        """Do the same in a thread that may block. Raises RuntimeError on the server's own loop."""
        if self._thread is None:
            raise RuntimeError(
                "wait_until() would block the loop that serves: use `await provider.until(…)` inside `async with`"
            )
        waiter = self._do(lambda: self._log.watch(condition))
        try:
            waiter.result(timeout)
        except TimeoutError:
            raise self._late(waiter, timeout) from None

    def _late(self, waiter: Future[None], timeout: float) -> TimeoutError:
        waiter.cancel()
        return TimeoutError(
            f"the condition did not hold within {timeout} s: {self.calls} calls, {self.active} active, {self.held} held"
        )


def _parsed(text: str) -> directive_language.Directives:
    told, rest = directive_language.parse(text)
    if rest.strip() and (told is directive_language.PLAIN or rest.split()):
        raise DirectiveError(
            f"{text!r}: expected directives alone, as in '[[delay 0.2]] [[chunks 5]]', not {rest.strip()[:80]!r}"
        )
    return told
