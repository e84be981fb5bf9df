"""`cachecore explain` of requests to models, and `invalidate` by prompt, tenant and model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cachecore import Cache, cli
from cachecore_llm import LLMService, Prompt, ResponseCache, SimulatedProvider

CHAT = {
    "model": "m",
    "temperature": 0,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Bonn?"}],
}


def run(*arguments: object) -> tuple[int, Any, str]:
    done = CliRunner().invoke(cli.app(), [*map(str, arguments), "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout) if done.stdout else None, done.stderr


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with the answers of two tenants and two prompts."""
    place = f"sqlite:///{tmp_path}/answers.sqlite"
    asyncio.run(fill(place))
    return place


async def fill(store: str | Cache[Any]) -> None:
    async with ResponseCache(store) as cache, LLMService(SimulatedProvider(speed=1e6), cache) as service:
        for tenant in ("acme", "globex"):
            for prompt in (Prompt("faq", "Answer."), Prompt("legal", "Be careful.")):
                await service.generate(prompt, "Where is Bonn?", tenant=tenant, model="m1")
        await service.generate("Be brief.", "Where is Bonn?", temperature=0.0, model="m2")
        await service.chat(CHAT["messages"], model="m", temperature=0)


def files(folder: Path, *requests: Any) -> list[Path]:
    paths = [folder / f"{n}.json" for n in range(len(requests))]
    for path, request in zip(paths, requests, strict=True):
        path.write_text(json.dumps(request))
    return paths


def test_what_is_not_keyed_is_no_difference(tmp_path: Path) -> None:
    same = {**CHAT, "stream": True, "user": "u1", "metadata": {"a": "b"}, "temperature": 0.0, "stop": None}
    status, told, _ = run("explain", *files(tmp_path, CHAT, same))
    assert (status, told["same"], told["kind"], told["ended"]) == (0, True, "openai.chat", "ok")
    other = {**CHAT, "temperature": 1, "messages": [CHAT["messages"][0], {"role": "user", "content": "where is bonn?"}]}  # type: ignore[index]
    status, told, _ = run("explain", *files(tmp_path, CHAT, other))
    assert status == 1
    assert [one["path"] for one in told["differences"]] == ["messages[1].content", "temperature"]
    assert "Bonn" not in json.dumps(told)


def test_a_request_of_the_service(tmp_path: Path) -> None:
    one = {"system_prompt": "s", "user_message": "u", "params": {"temperature": 0, "request_id": "1"}}
    same = {"system_prompt": "s", "user_message": "u", "params": {"temperature": 0.0, "request_id": "2"}}
    assert run("explain", *files(tmp_path, one, same))[0] == 0
    status, told, _ = run("explain", *files(tmp_path, one, {**one, "tenant": "acme"}))
    assert (status, [d["path"] for d in told["differences"]]) == (1, ["tenant"])


def test_a_request_of_another_kind_is_compared_as_json(tmp_path: Path) -> None:
    """Fields that look like those of a model's request make no such request of it."""
    one, other = {"messages": ["a", "b"], "user": "u1"}, {"messages": ["a", "b"], "user": "u2"}
    status, told, _ = run("explain", *files(tmp_path, one, other))
    assert (status, told["kind"], [d["path"] for d in told["differences"]]) == (1, None, ["user"])


def test_a_request_that_never_comes_from_a_cache(tmp_path: Path) -> None:
    bypassed = {"model": "m", "input": "x", "background": True}
    status, told, _ = run("explain", *files(tmp_path, bypassed, bypassed))
    assert status == 2
    assert "never comes from a cache" in told["problem"]


def test_against_the_nearest_stored_request(tmp_path: Path, url: str) -> None:
    params = {"temperature": 0.7, "model": "m2", "seed": 1}
    (a,) = files(tmp_path, {"system_prompt": "Be brief.", "user_message": "Where is Bonn?", "params": params})
    status, told, err = run("explain", a, "--store", url)
    assert status == 1, err
    assert (told["status"], told["reason"]) == ("miss", "absent")
    kinds = {one["path"]: one["kind"] for one in told["nearest"]["differences"]}
    assert kinds == {"seed": "only asked", "temperature": "value"}
    body = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Bonn?"}]
    (a,) = files(tmp_path, {"model": "m", "temperature": 1, "messages": body})
    status, told, err = run("explain", a, "--store", url)
    assert status == 1, err
    assert [one["path"] for one in told["nearest"]["differences"]] == ["temperature"]
    assert told["unknown"] == ["endpoint"]
    shown = CliRunner().invoke(cli.app(), ["explain", str(a), "--store", url]).stdout
    assert "  temperature: value" in shown
    assert "the file does not tell endpoint" in shown


def test_a_whole_call_hits(tmp_path: Path, url: str) -> None:
    """With the endpoint, which is part of the key, the store's own answer is found."""
    endpoint = SimulatedProvider(speed=1e6).endpoint
    body = {"model": "m", "temperature": 0, "messages": CHAT["messages"]}
    (a,) = files(tmp_path, {"protocol": "openai.chat", "endpoint": endpoint, "body": body})
    status, told, err = run("explain", a, "--store", url)
    assert (status, told and told["status"]) == (0, "hit"), (told, err)


@pytest.mark.parametrize("prefix", [None, "mine"])
def test_answers_in_a_shared_cache_are_found(tmp_path: Path, prefix: str | None) -> None:
    """As the gateway keeps them: in a namespace, under the prefix of the cache."""
    url = f"sqlite:///{tmp_path}/shared.sqlite"
    named = [] if prefix is None else ["--prefix", prefix]

    async def shared() -> None:
        async with Cache[Any](url, ttl=60, prefix=prefix or "cc") as cache:
            await fill(cache)

    asyncio.run(shared())
    endpoint = SimulatedProvider(speed=1e6).endpoint
    body = {"model": "m", "temperature": 0, "messages": CHAT["messages"]}
    (a,) = files(tmp_path, {"protocol": "openai.chat", "endpoint": endpoint, "body": body})
    status, told, err = run("explain", a, "--store", url, *named)
    assert (status, told and told["status"]) == (0, "hit"), (told, err)
    (a,) = files(tmp_path, {**CHAT, "temperature": 1})
    status, told, err = run("explain", a, "--store", url, *named)
    assert status == 1, err
    assert "temperature" in [one["path"] for one in told["nearest"]["differences"]]


def test_nothing_is_made_and_the_choice_is_told(tmp_path: Path) -> None:
    (a,) = files(tmp_path, CHAT)
    status, told, _ = run("explain", a, "--store", f"sqlite:///{tmp_path}/none.sqlite")
    assert (status, told["ended"]) == (2, "usage")
    assert not (tmp_path / "none.sqlite").exists()
    assert run("explain", a)[0] == 2
    (b,) = files(tmp_path, {"no": "request"})
    status, told, _ = run("explain", b, "--store", "memory://")
    assert (status, "no installed plugin knows this request" in told["problem"]) == (2, True)


def left(url: str) -> int:
    return int(run("stats", url, "--prefix", "llm:response")[1]["states"]["fresh"])


KNOWN = [
    (["--tenant", "acme"], 2),
    (["--prompt", "faq"], 2),
    (["--prompt", "Be careful."], 2),
    (["--tenant", "acme", "--prompt", "faq"], 1),
    (["--model", "m1"], 4),
]


@pytest.mark.parametrize(("options", "gone"), [*KNOWN, (["--all", "--prefix", "llm:response"], 6)])
def test_invalidate_by_what_the_layer_knows(url: str, options: list[str], gone: int) -> None:
    """It says how many answers are meant, and makes just those invalid."""
    assert left(url) == 6
    status, told, _ = run("invalidate", url, *options)
    assert (status, told["matched"]) == (4, gone)
    status, _, err = run("invalidate", url, *options, "--yes")
    assert status == 0, err
    states = run("stats", url, "--prefix", "llm:response")[1]["states"]
    assert states.get("fresh", 0) == 6 - gone


@pytest.mark.parametrize(("options", "gone"), [*KNOWN, (["--all", "--prefix", "cc"], 7)])
def test_invalidate_in_a_cache_that_the_layer_shares(tmp_path: Path, options: list[str], gone: int) -> None:
    """As the gateway does: its answers lie below the prefix of that cache, beside those of others."""
    url = f"sqlite:///{tmp_path}/shared.sqlite"

    async def make() -> None:
        async with Cache[Any](url, ttl=600) as cache:
            await cache.set("q", "another's", tags=["t"])
            await fill(cache)

    asyncio.run(make())
    status, told, _ = run("invalidate", url, *options)
    assert (status, told["matched"]) == (4, gone)
    status, told, err = run("invalidate", url, *options, "--yes")
    assert (status, set(told["invalidated"])) == (0, set(told["selections"])), err
    assert run("stats", url)[1]["states"].get("fresh", 0) == 7 - gone


def test_what_would_be_ambiguous_is_refused(url: str) -> None:
    status, told, _ = run("invalidate", url, "--model", "m1", "--tenant", "acme", "--yes")
    assert (status, "--model stands alone" in told["problem"]) == (2, True)
    assert left(url) == 6


def test_json_tells_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    (path,) = files(tmp_path, CHAT)
    status, told, _ = run("explain", path, tmp_path / "none.json")
    assert (status, told["ended"]) == (2, "usage")
    assert "none.json: No such file" in told["problem"]


def test_a_request_that_compares_with_none_says_so(tmp_path: Path, url: str) -> None:
    """Of another protocol than all that is stored: there is a reason for silence, and a way out."""
    claude = {"model": "claude", "system": "S", "max_tokens": 9, "messages": [{"role": "user", "content": "Why?"}]}
    (path,) = files(tmp_path, claude)
    done = CliRunner().invoke(cli.app(), ["explain", str(path), "--store", url])
    assert done.exit_code == 1
    assert "no stored request is of the same tenant and protocol" in done.stdout
    assert "the file may name the tenant" in done.stdout


def test_an_answer_of_a_service_is_deleted_and_counted(tmp_path: Path, url: str) -> None:
    _, told, _ = run("ls", url, "--prefix", "llm:response", "--namespace", "t-acme")
    keys = [row["key"] for row in told["answers"]]
    status, told, _ = run("delete", url, *keys, "--prefix", "llm:response", "--yes")
    assert (status, told["deleted"]) == (0, len(keys))
    status, told, _ = run("delete", url, *keys, "--prefix", "llm:response", "--yes")
    assert (status, told["deleted"]) == (1, 0)
