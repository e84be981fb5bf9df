"""The provider that is none: waits, flaws, and answers in each of its protocols."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_llm import FallbackOrchestrator, LLMResponse, SimulatedProvider, UnsupportedRequestError
from cachecore_llm.upstream.simulated import SimulatedFailureError
from cachecore_llm.wire import OPENAI_CHAT, Call, NoStreamError
from tests.llm.upstream.calls import WEATHER, chat, events_of, plain, recorded


class Waits:
    """Takes the place of sleeping, and adds up."""

    def __init__(self) -> None:
        self.all: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.all.append(seconds)


def embeddings(given: Any, **body: Any) -> Call:
    return Call(protocol="openai.embeddings", endpoint="", body={"input": given, **body})


class TestSimulatedProvider:
    async def _answers(self, provider: SimulatedProvider, count: int = 400) -> list[LLMResponse | Exception]:
        async def one(number: int) -> LLMResponse | Exception:
            try:
                return await provider.generate("s", f"question {number}")
            except SimulatedFailureError as error:
                return error

        return [await one(number) for number in range(count)]

    async def test_waits_as_long_as_it_says(self) -> None:
        """Latencies are log-normal around the median; the waiting is shortened, what is told is not."""
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        answers = await self._answers(SimulatedProvider(median_latency=2.0, spread=0.5, speed=4, sleep=sleep))
        told = sorted(answer.latency for answer in answers if isinstance(answer, LLMResponse))
        assert sorted(waited) == pytest.approx([seconds / 4 for seconds in told])
        assert told[200] == pytest.approx(2.0, rel=0.1)
        assert told[395] == pytest.approx(2.0 * 3.2, rel=0.4)

    async def test_same_question_is_the_same_in_every_run(self) -> None:
        async def sleep(seconds: float) -> None:
            pass

        first, second = (SimulatedProvider(seed=3, flawed=0.3, sleep=sleep) for _ in range(2))
        assert list(map(repr, await self._answers(first, 50))) == list(map(repr, await self._answers(second, 50)))
        assert first.calls == 50

    async def test_flaws_are_as_many_as_declared(self) -> None:
        async def sleep(seconds: float) -> None:
            pass

        answers = await self._answers(SimulatedProvider(flawed=0.2, sleep=sleep))
        failed = sum(isinstance(answer, Exception) for answer in answers)
        whole = [answer for answer in answers if isinstance(answer, LLMResponse)]
        cut = sum(answer.finish_reason == "length" for answer in whole)
        empty = sum(answer.content == "" for answer in whole)
        refused = sum("sorry" in answer.content for answer in whole)
        assert min(failed, cut, empty, refused) >= 8
        assert 50 <= failed + cut + empty + refused <= 110

    async def test_says_that_it_is_a_simulation(self) -> None:
        description = SimulatedProvider(speed=8, flawed=0.02).description
        assert "SIMULATED" in description
        assert "shortened 8 times" in description
        assert "2%" in description

    @pytest.mark.parametrize("wrong", [{"speed": 0}, {"median_latency": -1}, {"flawed": 1.5}])
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(OptionsError, match=next(iter(wrong))):
            SimulatedProvider(**wrong)


class TestWire:
    async def test_chat_is_the_same_answer_as_plain(self) -> None:
        waits = Waits()
        provider = SimulatedProvider(sleep=waits)
        body, told = await provider.send(chat("question 1")), await provider.generate("", "question 1")
        facts = OPENAI_CHAT.facts(body)
        assert facts.complete
        assert facts.choices[0].text == told.content
        assert waits.all == [told.latency, told.latency]

    @pytest.mark.parametrize("call", [chat("question 1"), plain("question 1"), chat("q", tools=[WEATHER])])
    async def test_stream_is_the_whole_answer_in_the_same_time(self, call: Call) -> None:
        waits = Waits()
        provider = SimulatedProvider(speed=4, sleep=waits)
        await provider.send(call)
        (whole,) = waits.all
        waits.all.clear()
        streamed = await recorded(provider, call)
        assert streamed.complete
        assert sum(waits.all) == pytest.approx(whole)
        assert waits.all[0] == pytest.approx(whole * 0.3)

    async def test_turn_with_tools(self) -> None:
        """The question is answered with a call, its result with a text: an agent has two turns."""
        provider = SimulatedProvider(sleep=Waits())
        question = chat("Weather in Bonn?", tools=[WEATHER])
        message = (await provider.send(question))["choices"][0]["message"]
        (call,) = OPENAI_CHAT.facts(await provider.send(question)).choices[0].tool_calls
        assert (call.name, call.arguments) == ("weather", '{"city":"simulated"}')
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}
        second = chat("", tools=[WEATHER])
        second.body["messages"] = [*question.body["messages"], message, result]
        assert OPENAI_CHAT.facts(await provider.send(second)).choices[0].finish == "stop"
        none = chat("Weather?", tools=[WEATHER], tool_choice="none")
        assert OPENAI_CHAT.facts(await provider.send(none)).choices[0].tool_calls == ()

    async def test_embeddings(self) -> None:
        provider = SimulatedProvider(sleep=Waits())
        body = await provider.send(embeddings(["a", "b", "a"], dimensions=8))
        first, second, third = (entry["embedding"] for entry in body["data"])
        assert first == third != second
        assert len(first) == 8
        assert sum(value * value for value in first) == pytest.approx(1)
        assert len((await provider.send(embeddings([1, 2, 3])))["data"]) == 1
        assert len((await provider.send(embeddings([[1, 2], [3]])))["data"]) == 2
        with pytest.raises(NoStreamError):
            await events_of(provider, embeddings("a"))

    async def test_failures_are_failures_in_every_protocol(self) -> None:
        provider = SimulatedProvider(flawed=1, seed=1, sleep=Waits())
        failed = next(f"q{n}" for n in range(99) if provider._drawn(f"q{n}").flaw == "failed")
        for ask in (provider.send(chat(failed)), provider.send(embeddings(failed)), events_of(provider, chat(failed))):
            with pytest.raises(SimulatedFailureError):
                await ask

    async def test_other_protocols_are_refused(self) -> None:
        with pytest.raises(UnsupportedRequestError, match=r"anthropic\.messages"):
            await SimulatedProvider().send(Call(protocol="anthropic.messages", endpoint="", body={}))

    async def test_latency_that_is_told_is_not_shortened(self) -> None:
        sent = await FallbackOrchestrator([SimulatedProvider(speed=1000, sleep=Waits())]).send(plain("question 1"))
        assert sent.latency == (await SimulatedProvider(sleep=Waits()).generate("", "question 1")).latency

    def test_simulations_with_other_settings_are_other_endpoints(self) -> None:
        made = {SimulatedProvider(name, seed=seed).endpoint for name in ("a", "b") for seed in (0, 1)}
        assert len(made) == 4
