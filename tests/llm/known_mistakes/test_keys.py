"""Every part of a request is in its key, through every face, but for the names of persons."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from cachecore.testing.clocks import FakeClock
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.known_mistakes.faces import Face, Request, choice_in, streamed, text_of

CAT, DOG = (base64.b64encode(b"\x89PNG " + name).decode() for name in (b"cat", b"dog"))


@pytest.mark.parametrize("first", ["whole", "streamed"])
async def test_one_models_answer_is_not_given_for_another(face: Face, provider: LocalProvider, first: str) -> None:
    """Nor by way of a stream: its answer serves whole requests too."""
    for model in ("gpt-large", "gpt-small"):
        body = await (face.whole(Request(model=model)) if first == "whole" else streamed(face, Request(model=model)))
        assert body["model"].startswith(model)
    assert provider.calls == 2
    for model in ("gpt-large", "gpt-small"):
        assert (await face.whole(Request(model=model)))["model"].startswith(model)
    assert provider.calls == 2


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([Request(), Request(tool="by city"), Request(tool="by coordinates")], id="tools"),
        pytest.param([Request(), Request(picture=CAT), Request(picture=DOG)], id="pictures"),
        pytest.param(
            [Request(), Request(headers={"X-Adapter": "one"}), Request(headers={"X-Adapter": "two"})], id="headers"
        ),
    ],
)
async def test_other_requests_are_asked_for_themselves(
    face: Face, provider: LocalProvider, requests: list[Request]
) -> None:
    """Tools offered, pictures shown, headers that choose a variant of the model: each makes another request."""
    for _ in range(2):
        for request in requests:
            assert await face.whole(request)
    assert provider.calls == 3


async def test_keyed_parts_are_sent(face: Face, provider: LocalProvider) -> None:
    """The provider sees the tool, the picture and the header: a key of more than is asked would cost hits."""
    await face.whole(Request(tool="by city", picture=CAT, headers={"X-Adapter": "one"}))
    (sent,) = provider.requests
    assert sent.headers["x-adapter"] == "one"
    assert "by city" in str(sent.body["tools"])
    assert CAT in str(sent.body)


async def test_five_hundred_users_share_answers(face: Face, provider: LocalProvider) -> None:
    """8 questions of 500 persons, each named in `user` (Anthropic: `metadata.user_id`), are 8 calls."""
    asked = [Request(text=f"Question {number % 8}?", user=f"user-{number}") for number in range(500)]
    told = [await text_of(face, request) for request in asked]
    assert provider.calls == 8
    assert told[:8] * 62 == told[:496]
    assert "user-7" in str(provider.requests[7].body)


async def test_reads_do_not_make_an_answer_live_longer(face: Face, provider: LocalProvider, clock: FakeClock) -> None:
    """A ttl of 100 s counts from when the answer was made, however often it is read."""
    for _ in range(3):
        await face.whole(Request())
        clock.advance(33)
    assert provider.calls == 1
    clock.advance(2)
    await face.whole(Request())
    assert provider.calls == 2


async def test_temperature_of_a_request_without_one_is_not_made_up(face: Face, provider: LocalProvider) -> None:
    """The body that is sent is the one that was given: nothing is added that shapes the answer."""
    await face.whole(Request())
    (sent,) = provider.requests
    assert not {"temperature", "seed", "top_p", "n", "user", "metadata"} & sent.body.keys()


async def test_answer_of_one_tool_choice_is_the_same_stored_call(face: Face, provider: LocalProvider) -> None:
    """A tool call is stored whole: name and arguments come back, whole and streamed."""
    request = Request(text='[[tool:weather {"city": "Rome"}]] Weather?', tool="by city")
    (made,) = choice_in(face, await face.whole(request)).tool_calls
    for body in (await face.whole(request), await streamed(face, replace(request, user="ann"))):
        (again,) = choice_in(face, body).tool_calls
        assert (again.name, again.arguments.replace(" ", "")) == (made.name, made.arguments.replace(" ", ""))
    assert provider.calls == 1
