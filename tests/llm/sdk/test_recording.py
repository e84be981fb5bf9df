"""Recorded answers, through both SDKs and both faces: recorded once, replayed without a network, missing ones told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, BadRequestError, OpenAI

from cachecore_llm.sdk.cassette import Cassette, CassetteError
from cachecore_llm.sdk.recording import MissingAnswer
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.testing.recorded import RecordedAnswers

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with LocalProvider() as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "llm_answers" / "test_a.json"


def chat(client: Any, text: str, **more: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **more)


def streamed(client: Any, text: str) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chat(client, text, stream=True) if chunk.choices)


def test_whole_and_streamed_answers_come_back_without_a_network(provider: LocalProvider, path: Path) -> None:
    """All protocols; one recorded answer serves whole and streamed requests; each is asked for once."""
    answers = RecordedAnswers(path, "record")
    http = answers.client()
    openai = OpenAI(base_url=provider.openai_url, api_key="s3cret-key", http_client=http)
    anthropic = Anthropic(base_url=provider.url, api_key="s3cret-key", http_client=http)
    message: dict[str, Any] = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    whole = chat(openai, "Hello").choices[0].message.content
    assert chat(openai, "Hello").choices[0].message.content == whole
    text = streamed(openai, "Tell me more")
    response = openai.responses.create(model="m", input="Hi").output_text
    vector = openai.embeddings.create(model="e", input=["a", "b"]).data[1].embedding
    with anthropic.messages.stream(**message) as stream:
        said = stream.get_final_text()
    with pytest.raises(BadRequestError):
        chat(openai, "[[status 400]]")
    models = [model.id for model in openai.models.list()]
    assert provider.calls == 6
    answers.close()

    recorded = path.read_text()
    assert "s3cret-key" not in recorded
    assert json.loads(recorded)["records"][0]["asked"]["body"]["messages"] == [{"role": "user", "content": "Hello"}]
    again = RecordedAnswers(path, "replay")
    http = again.client()
    openai = OpenAI(base_url=provider.openai_url, api_key="another", http_client=http)
    anthropic = Anthropic(base_url=provider.url, api_key="another", http_client=http)
    assert chat(openai, "Hello").choices[0].message.content == whole == streamed(openai, "Hello")
    assert streamed(openai, "Tell me more") == text == chat(openai, "Tell me more").choices[0].message.content
    assert openai.responses.create(model="m", input="Hi").output_text == response
    assert openai.embeddings.create(model="e", input=["a", "b"]).data[1].embedding == vector
    assert anthropic.messages.create(**message).content[0].text == said
    with pytest.raises(BadRequestError):
        chat(openai, "[[status 400]]")
    assert [model.id for model in openai.models.list()] == models
    assert provider.calls == 6
    before = path.read_bytes()
    again.close()
    assert path.read_bytes() == before


async def test_async_clients_replay_what_sync_ones_recorded(path: Path) -> None:
    """The two faces share the file; a stream that is left early is not kept, one that is read to its mark is."""
    async with LocalProvider() as provider:
        answers = RecordedAnswers(path, "record")
        async with answers.async_client() as http:
            openai = AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http)
            stream = await chat(openai, "one two three", stream=True)
            whole = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            left = await chat(openai, "left early", stream=True)
            async for _ in left:
                break
            await left.close()
        answers.close()
        url = provider.openai_url
    again = RecordedAnswers(path, "replay")
    with again.client() as http:
        client = OpenAI(base_url=url, api_key="k", http_client=http)
        assert chat(client, "one two three").choices[0].message.content == whole
        with pytest.raises(MissingAnswer):
            chat(client, "left early")
    async with again.async_client() as http:
        anthropic = AsyncAnthropic(base_url=NOWHERE, api_key="k", http_client=http)
        with pytest.raises(MissingAnswer, match=r"POST http://127\.0\.0\.1:9/v1/messages"):
            await anthropic.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "Hi"}])


def test_missing_answer_names_the_field_of_the_nearest(provider: LocalProvider, path: Path) -> None:
    """The field is named and its value is not; a request of no call is told by its address."""
    answers = RecordedAnswers(path, "record")
    client = OpenAI(base_url=provider.openai_url, api_key="k", http_client=answers.client())
    chat(client, "Hello", temperature=0)
    answers.close()
    replay = RecordedAnswers(path, "replay")
    client = OpenAI(base_url=provider.openai_url, api_key="k", http_client=replay.client())
    with pytest.raises(MissingAnswer, match=r"differs in body\.temperature; record it: pytest --llm-cache=record"):
        chat(client, "Hello", temperature=1)
    with pytest.raises(MissingAnswer, match=r"differs in body\.messages\[0\]\.content") as raised:
        chat(client, "private words", temperature=0)
    assert "private" not in str(raised.value)
    empty = RecordedAnswers(path.with_name("none.json"), "replay")
    with pytest.raises(MissingAnswer, match="empty or not there"):
        chat(OpenAI(base_url=NOWHERE, api_key="k", http_client=empty.client()), "Hello")


def test_secrets_of_tools_are_digests_and_still_tell_requests_apart(provider: LocalProvider, path: Path) -> None:
    """A request whose tool carries a token is found again with that token, and not with another."""

    def ask(client: OpenAI, token: str) -> str:
        tool: Any = {"type": "mcp", "server_label": "s", "server_url": f"https://h/{token}", "authorization": token}
        return client.responses.create(model="m", input="Hi", tools=[tool]).output_text

    answers = RecordedAnswers(path, "record")
    said = ask(OpenAI(base_url=provider.openai_url, api_key="k", http_client=answers.client()), "t0ken")
    answers.close()
    assert "t0ken" not in path.read_text()
    replay = RecordedAnswers(path, "replay")
    client = OpenAI(base_url=provider.openai_url, api_key="k", http_client=replay.client())
    assert ask(client, "t0ken") == said
    with pytest.raises(MissingAnswer):
        ask(client, "other")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 9, "records": []}', '{"format": 1, "records": [{}]}'])
def test_unreadable_file_is_told_with_the_way_out(path: Path, content: str) -> None:
    """A file that is no recording is never taken for an empty one."""
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(CassetteError, match=r"test_a\.json .*pytest --llm-cache=record"):
        Cassette(path)


TEST = """
import pytest
from openai import OpenAI

@pytest.mark.parametrize("text", {texts})
def test_answer(llm_cache, text):
    client = OpenAI(base_url="{url}", api_key="k", http_client=llm_cache.client())
    said = client.chat.completions.create(model="m", messages=[{{"role": "user", "content": text}}])
    assert said.choices[0].message.content
"""


METHODS = """
class TestA:
    def test_method(self, llm_cache):
        llm_cache.path.parent.mkdir(exist_ok=True)
        llm_cache.path.touch()

class TestB(TestA):
    pass
"""


async def pytest_run(folder: Path, *options: str) -> tuple[int, str]:
    """Run the tests in `folder` in a process of their own."""
    import sys

    command = (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--rootdir",
        str(folder),
    )
    process = await asyncio.create_subprocess_exec(
        *command, *options, str(folder), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


async def test_fixture_in_a_run_of_its_own(tmp_path: Path) -> None:
    """Recorded with the option, replayed without it; a changed prompt fails its test with the field that changed."""
    async with LocalProvider() as provider:
        test, url = tmp_path / "test_app.py", provider.openai_url
        test.write_text(TEST.format(url=url, texts=["Hello", "a/b", "a b"]) + METHODS)
        assert (await pytest_run(tmp_path, "--llm-cache=record"))[0] == 0
        assert provider.calls == 3
    files = sorted((tmp_path / "llm_answers").iterdir())
    assert len(files) == 5  # each test has its own, whatever letters tell it from another
    assert [one.name for one in files[:2]] == ["test_app.TestA.test_method.json", "test_app.TestB.test_method.json"]
    (kept,) = (one for one in files if one.name == "test_app.test_answer_Hello_.json")
    kept.with_name(kept.name.replace("Hello", "Goodbye")).write_text(kept.read_text())
    test.write_text(TEST.format(url=url, texts=["Hello", "Goodbye"]))
    status, told = await pytest_run(tmp_path)
    assert status == 1
    assert "1 failed, 1 passed" in told
    assert "the nearest differs in body.messages[0].content" in told
    assert "record it: pytest --llm-cache=record" in told
