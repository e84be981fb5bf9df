"""`SyncLLMService`: the service for threads, on the local provider over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachecore_llm import (
    AllProvidersFailedError,
    LLMService,
    OpenAIProvider,
    ResponseCache,
    SyncLLMService,
)
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.flow.scripted import Scripted, completion


@pytest.fixture
def server() -> Iterator[LocalProvider]:
    with LocalProvider() as running:
        yield running


@pytest.fixture
def service(server: LocalProvider) -> Iterator[SyncLLMService]:
    provider = OpenAIProvider("gpt-local", base_url=server.openai_url, api_key="sk", max_retries=0)
    with SyncLLMService(provider, "memory://") as made:
        yield made


def test_the_same_in_threads(service: SyncLLMService, server: LocalProvider) -> None:
    assert service.generate("", "[[say hello]]").content == "hello"
    hit = service.generate("", "[[say hello]]")
    assert (hit.content, hit.cache_status, server.calls) == ("hello", "hit", 1)
    answer = service.chat([{"role": "user", "content": "[[say hi]]"}])
    assert answer.content == "hi"
    assert service.embed(["a", "b"])[0]
    assert service.delete("", "[[say hello]]")
    assert service.refresh("", "[[say hello]]").cache_status == "miss"
    assert service.expire("", "[[say hello]]")
    assert service.cache.metrics.hits == 1


def test_answers_are_made_invalid_from_threads(service: SyncLLMService) -> None:
    def ask() -> str:
        return service.generate("s", "Hi", tenant="acme", label="faq", model="gpt-local").cache_status

    assert (ask(), ask()) == ("miss", "hit")
    calls: list[Callable[[], object]] = [
        lambda: service.invalidate_prompt("s"),
        lambda: service.invalidate_prefix("faq"),
        lambda: service.invalidate_tenant("acme"),
        lambda: service.invalidate_model("gpt-local"),
        service.invalidate_all,
    ]
    for invalidate in calls:
        assert invalidate() in (1, None)
        assert (ask(), ask()) == ("miss", "hit")


def test_threads_at_the_same_time_share_one_call(service: SyncLLMService, server: LocalProvider) -> None:
    server.hold()
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(service.generate, "", "[[say once]]") for _ in range(8)]
        server.wait_until(lambda: server.held == 1)
        server.release()
        answers = [one.result(60) for one in asked]
    assert {answer.content for answer in answers} == {"once"}
    assert server.calls == 1
    assert sum(not answer.cached for answer in answers) == 1


def test_a_stream_is_a_plain_iterator(service: SyncLLMService, server: LocalProvider) -> None:
    for status in ("miss", "hit"):
        with service.stream("", "[[say one two three]]") as stream:
            assert "".join(stream) == "one two three"
            assert stream.cache_status == status
            assert stream.response().content == "one two three"
    assert any("choices" in event for event in service.generate("", "[[say one two three]]", stream=True).events())
    assert server.calls == 1


def test_a_stream_may_be_left(service: SyncLLMService, server: LocalProvider) -> None:
    stream = service.stream("", "[[say one two three]]")
    assert next(iter(stream))
    stream.close()
    assert service.generate("", "[[say one two three]]").content == "one two three"


def test_errors_are_the_services_own() -> None:
    with SyncLLMService(Scripted(ConnectionError("down")), "memory://") as service:
        with pytest.raises(AllProvidersFailedError):
            service.generate("", "Hi")
        with pytest.raises(AllProvidersFailedError):
            list(service.stream("", "Hi"))


async def test_within_a_running_loop() -> None:
    """A notebook: the call blocks, and answers."""
    with SyncLLMService(Scripted(completion("hello")), "memory://") as service:
        assert service.generate("", "Hi").content == "hello"
        assert "".join(service.stream("", "Hi")) == "hello"


def test_its_thread_ends_with_it() -> None:
    before = set(threading.enumerate())
    with SyncLLMService(Scripted(), "memory://") as service:
        service.generate("", "Hi")
        running = [one for one in threading.enumerate() if one.name == "cachecore" and one not in before]
        assert running
    assert not any(thread.is_alive() for thread in running)
    service.close()


def test_what_it_takes() -> None:
    shared = LLMService(Scripted(), ResponseCache("memory://"))
    with SyncLLMService(shared) as service:
        assert service.generate("", "Hi").content == "Paris."
    with pytest.raises(TypeError, match="nothing else"):
        SyncLLMService(shared, "memory://")
    with pytest.raises(TypeError, match="cache"):
        SyncLLMService(Scripted())
