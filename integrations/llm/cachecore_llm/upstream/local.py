"""The local provider without HTTP: the answers of `cachecore_llm.testing.provider`, made inside this process.

For tests and examples that need every protocol and no network. Prompts choose answers by directives, see
`cachecore_llm.testing.provider.directives`. Needs the extra: `pip install 'cachecore-llm[testing]'`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from cachecore_llm.errors import LLMError
from cachecore_llm.response import LLMResponse
from cachecore_llm.testing.provider import errors
from cachecore_llm.testing.provider.answer import answers
from cachecore_llm.testing.provider.ask import Ask
from cachecore_llm.testing.provider.directives import DirectiveError, Directives
from cachecore_llm.testing.provider.fields import RejectedError
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import Protocol
from cachecore_llm.testing.provider.service import PROTOCOLS as SERVED
from cachecore_llm.upstream.parameters import sendable
from cachecore_llm.upstream.plain_form import plain_body, response_of
from cachecore_llm.upstream.plain_to_chat import chat_call, plain_answer, plain_events
from cachecore_llm.wire import Call, JsonObject, NoStreamError, ProtocolName

_BY_NAME: Final[Mapping[str, Protocol]] = {protocol.name: protocol for protocol in SERVED.values()}
_SPEAKS: Final[frozenset[ProtocolName]] = frozenset(
    {"openai.chat", "openai.responses", "openai.embeddings", "anthropic.messages", "plain"}
)

_STREAMED: Final[Mapping[str, JsonObject]] = {
    "openai.chat": {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    "openai.responses": {"stream": True, "stream_options": {"include_obfuscation": False}},
}
"""Fields of a request for a stream, as the providers over HTTP send them."""


class LocalStatusError(LLMError):
    """The local model refused a request, or was told to fail, as a server says with a status of 400 and above."""

    def __init__(self, status_code: int, code: str | None = None) -> None:
        super().__init__(status_code, code)
        self.status_code, self.code = status_code, code

    def __str__(self) -> str:
        return f"status {self.status_code}" + (f" ({self.code})" if self.code else "")


class LocalModel:
    """Answers in all protocols, at once and for nothing. Equal requests have equal answers, less ids and times."""

    speaks = _SPEAKS
    scope: str | None = None

    def __init__(
        self,
        model: str = "local",
        *,
        name: str = "local",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        fresh: Callable[[], Fresh] = Fresh,
    ) -> None:
        """Answer as `model` where a request names no other.

        Args:
            model: the default model.
            name: the `provider` of its answers.
            sleep: waits that many seconds, where a directive asks for it.
            fresh: makes the ids and times of one answer.
        """
        self._model = model
        self._name = name
        self._sleep = sleep
        self._fresh = fresh
        self._failed: dict[str, int] = {}
        self.calls = 0
        """How often it has been asked."""

    @property
    def name(self) -> str:
        """Return the name given."""
        return self._name

    @property
    def model(self) -> str:
        """Return the default model."""
        return self._model

    @property
    def endpoint(self) -> str:
        """Return a text that is the same in all processes."""
        return "local:"

    @property
    def shaping(self) -> Mapping[str, str]:
        """Return nothing: there are no headers."""
        return {}

    async def send(self, call: Call) -> JsonObject:
        """Return the answer's body.

        Raises:
            LocalStatusError: the request is refused, or a directive says so.
            ConnectionError: a directive cuts the answer off.
        """
        if call.protocol == "plain":
            return plain_answer(await self.send(chat_call(call, self._model)), self._name)
        protocol, ask, body = await self._answered(call, {})
        told = ask.directives
        if told.fail is not None:
            raise LocalStatusError(500, told.fail.kind)
        if told.hang is not None:
            await _forever()
        if told.cut is not None or told.end is not None or told.truncate is not None:
            raise ConnectionResetError("the answer was cut off")
        if "error-200" in told.compat:
            return errors.body(protocol.vendor, 500, self._fresh().id("req_"))
        return body

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the answer's events. Raises as `send` does, and NoStreamError for embeddings."""
        if call.protocol == "plain":
            async with aclosing(self.stream(chat_call(call, self._model))) as chunks:
                async for event in plain_events(chunks, self._name):
                    yield event
            return
        if call.protocol == "openai.embeddings":
            raise NoStreamError
        protocol, ask, body = await self._answered(call, _STREAMED.get(call.protocol, {"stream": True}))
        told, sent = ask.directives, 0
        for sent, data in enumerate(self._data(protocol, ask, body)):
            if told.cut == sent:
                raise ConnectionResetError("the answer was cut off")
            if told.hang == sent:
                await _forever()
            if sent in (told.end, told.truncate):
                return
            if told.fail is not None and told.fail.after == sent and protocol.failure is not None:
                for failure in protocol.failure(told.fail.kind, sent):
                    yield failure.data
                return
            if told.pace and sent:
                await self._sleep(told.pace)
            yield data

    def _data(self, protocol: Protocol, ask: Ask, body: JsonObject) -> Iterator[JsonObject]:
        if protocol.events is None:
            raise NoStreamError
        if "error-200" in ask.directives.compat and protocol.failure is not None:
            made = iter(protocol.failure(None, 0))
        else:
            made = protocol.events(ask, body, self._fresh())
        for event in made:
            if isinstance(event.data, dict):  # the mark of the end is text
                yield event.data

    async def _answered(self, call: Call, more: JsonObject) -> tuple[Protocol, Ask, JsonObject]:
        """Return the protocol, the request as it was read, and the body of its answer, after the told delay."""
        self.calls += 1
        protocol = _BY_NAME[call.protocol]
        body = {name: value for name, value in sendable(call.body).items() if name != "stream_options"} | more
        if body.get("model") is None:
            body["model"] = self._model
        try:
            ask = protocol.read(body, Directives(), "")
            made = protocol.whole(ask, answers(ask), self._fresh())
        except RejectedError as error:
            raise LocalStatusError(error.status, error.kind) from error
        except DirectiveError as error:
            raise LocalStatusError(400, "invalid_directive") from error
        if ask.directives.delay:
            await self._sleep(ask.directives.delay)
        failure = ask.directives.error
        if failure is not None:
            failed = self._failed[ask.seed] = self._failed.get(ask.seed, 0) + 1
            if failure.times is None or failed <= failure.times:
                raise LocalStatusError(failure.status, failure.kind)
        return protocol, ask, made

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return the answer to a plain request. Raises as `send` does."""
        body = plain_body(system_prompt, user_message, context, params)
        answer = await self.send(Call(protocol="plain", endpoint=self.endpoint, body=body))
        return response_of(answer, provider=self._name, fallback=False, latency=0.0)


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
