"""Embeddings and the list of models."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import ModelInfo
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types import CreateEmbeddingResponse, Model

from cachecore_llm.testing.provider import LocalProvider
from tests.llm.provider.judged import judge


async def vectors(client: AsyncOpenAI, given: Any, **more: Any) -> list[list[float]]:
    answer = await client.embeddings.create(model="embed", input=given, **more)
    judge(CreateEmbeddingResponse, answer)
    assert [one.index for one in answer.data] == list(range(len(answer.data)))
    return [one.embedding for one in answer.data]


async def test_a_vector_depends_on_its_text_alone(openai: AsyncOpenAI) -> None:
    alone = await vectors(openai, "Where is Bonn?")
    batch = await vectors(openai, ["Where is Ulm?", "Where is Bonn?"])
    assert batch[1] == alone[0] != batch[0]
    assert len(alone[0]) == 1536
    assert math.isclose(math.hypot(*alone[0]), 1.0, rel_tol=1e-5)


async def test_float_and_base64_are_the_same_numbers(openai: AsyncOpenAI) -> None:
    """The SDK asks for base64 by itself and decodes it; asked for, it comes as text."""
    usual = await vectors(openai, "Bonn", dimensions=8)
    assert await vectors(openai, "Bonn", dimensions=8, encoding_format="float") == usual
    text: Any = (
        (await openai.embeddings.create(model="embed", input="Bonn", dimensions=8, encoding_format="base64"))
        .data[0]
        .embedding
    )
    assert list(struct.unpack("<8f", base64.b64decode(text))) == usual[0]


async def test_fewer_dimensions_are_the_first_ones(openai: AsyncOpenAI) -> None:
    (long,), (short,) = await vectors(openai, "Bonn", dimensions=8), await vectors(openai, "Bonn", dimensions=4)
    length = math.hypot(*long[:4])
    assert short == pytest.approx([value / length for value in long[:4]], rel=1e-5)


async def test_texts_that_share_words_are_closer(openai: AsyncOpenAI) -> None:
    first, near, far = await vectors(openai, ["where is my card", "where is the card", "please open an account"])
    assert sum(a * b for a, b in zip(first, near, strict=True)) > 0.4
    assert abs(sum(a * b for a, b in zip(first, far, strict=True))) < 0.2


async def test_a_list_of_numbers_is_one_input(openai: AsyncOpenAI) -> None:
    assert len(await vectors(openai, [1, 2, 3])) == 1
    answer = await openai.embeddings.create(model="embed", input=[[1, 2, 3], [4]])
    assert len(answer.data) == 2
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 4


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, r"\$\.input\[1\]"),
        ({"input": ["a"] * 2049}, "at most 2048"),
        ({"input": "a", "dimensions": 5000}, "dimensions"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "supported values"),
    ],
)
async def test_what_cannot_be_embedded_is_refused(body: Any, message: str, openai: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError, match=message):
        await openai.embeddings.create(model="embed", **body)


async def test_texts_to_embed_are_no_directives(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    """They are data; the header and the queue tell faults here."""
    assert len(await vectors(openai, "[[error 500]]")) == 1
    provider.queue("[[error 400]]")
    with pytest.raises(BadRequestError):
        await vectors(openai, "Bonn")


async def test_models() -> None:
    async with LocalProvider(models=("gpt-a", "claude-b")) as provider:
        async with AsyncOpenAI(base_url=provider.openai_url, api_key="key") as client:
            listed = [model async for model in client.models.list()]
            assert [model.id for model in listed] == ["gpt-a", "claude-b"]
            judge(Model, listed[0])
            assert (await client.models.retrieve("gpt-a")).id == "gpt-a"
            with pytest.raises(NotFoundError):
                await client.models.retrieve("gpt-c")
            with pytest.raises(NotFoundError, match="does not exist") as caught:
                await client.embeddings.create(model="gpt-c", input="a")
            assert caught.value.code == "model_not_found"
        async with AsyncAnthropic(base_url=provider.url, api_key="key") as other:
            infos = [info async for info in other.models.list()]
            assert [info.id for info in infos] == ["gpt-a", "claude-b"]
            judge(ModelInfo, infos[0])
        assert provider.calls == 1  # lists are not counted
