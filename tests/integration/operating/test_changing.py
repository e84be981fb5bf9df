"""Commands that change: they say first, ask, and what they did holds in every process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from cachecore import Cache
from cachecore.testing.servers import free_port
from tests.integration.operating.conftest import Run, answers, fill


def test_invalidate_by_tag(url: str, run: Run) -> None:
    fill(url)
    done = run("invalidate", url, "--tag", "doc:1", "--yes", "--json")
    assert (done.status, done.json["invalidated"]) == (0, ["the answers that carry the tag 'doc:1'"])
    assert answers(url) == [None, "secon", "third"]


def test_invalidate_by_namespace_gives_memory_back(url: str, run: Run) -> None:
    fill(url)
    done = run("invalidate", url, "--namespace", "faq/v3", "--yes", "--json")
    assert (done.status, done.json["freed"]) == (0, 1)
    assert answers(url) == ["first", "secon", None]
    done = run("invalidate", url, "--all", "--yes", "--json")
    assert (done.status, done.json["freed"]) == (0, 2)
    assert answers(url) == [None, None, None]


def test_answers_under_a_prefix_that_was_not_named_are_told_of(url: str, run: Run) -> None:
    """A tag means all that carry it, and one store may hold answers of functions and of an LLM."""
    fill(url)
    fill(url, "llm:response")
    for meant, freed in (("--tag", "doc:1"), 0), (("--namespace", "faq/v3"), 1):  # a tag gives no memory back at once
        done = run("invalidate", url, *meant, "--yes", "--json")
        assert (done.json["freed"], done.json["other_prefixes"]) == (freed, ["llm:response"])
    assert "there are answers under --prefix llm:response" in run("invalidate", url, "--tag", "doc:1", "--yes").out
    done = run("invalidate", url, "--all", "--prefix", "cc", "--yes", "--json")
    assert (done.json["freed"], done.json["other_prefixes"]) == (2, [])


def test_it_asks_where_somebody_can_answer_and_does_nothing_elsewhere(url: str, run: Run) -> None:
    fill(url)
    done = run("invalidate", url, "--tag", "shop", "--json")
    assert (done.status, done.json["ended"], done.json["matched"]) == (4, "declined", 3)
    assert "say --yes" in done.err
    assert answers(url) == ["first", "secon", "third"]


def test_which_answers(url: str, run: Run) -> None:
    done = run("invalidate", url, "--yes")
    assert done.status == 2
    assert "--tag, --namespace, --all" in done.err
    fill(url)
    for more in (["--tag", "doc:1"], ["--tenant", "acme"]):  # all of that tenant is meant, and all of all would be gone
        done = run("invalidate", url, "--all", *more, "--yes")
        assert done.status == 2
        assert "--all means every answer under the prefix" in done.err
    assert answers(url) == ["first", "secon", "third"]


def test_delete_by_key(url: str, run: Run) -> None:
    fill(url)
    (row,) = run("ls", url, "--tag", "doc:1", "--json").json["answers"]
    digest = row["key"].rpartition(":")[2]
    assert run("delete", url, digest[:16]).status == 4
    assert answers(url) == ["first", "secon", "third"]
    done = run("delete", url, digest[:16], "--yes", "--json")
    assert (done.status, done.json["deleted"], done.json["keys"]) == (0, 1, [row["key"]])
    assert answers(url) == [None, "secon", "third"]
    again = run("delete", url, "0" * 16, "--yes", "--json")
    assert (again.status, again.json["absent"]) == (1, ["0" * 16])


def test_what_is_invalidated_here_is_gone_there(redis_url: str, run: Run) -> None:
    """A process that has the answer in memory loses it at once."""
    fill(redis_url)

    async def reader() -> tuple[object, object]:
        async with Cache(redis_url, ttl=3600, namespace="faq", tags=["shop"]) as cache:
            before = await cache.get({"q": 1})
            code = await asyncio.to_thread(lambda: run("invalidate", redis_url, "--tag", "shop", "--yes").status)
            assert code == 0
            return before, await cache.get({"q": 1})

    before, after = asyncio.run(reader())
    assert before is not None
    assert after is None


def test_json_is_all_that_is_on_stdout(url: str, run: Run) -> None:
    fill(url)
    for command in (["stats"], ["ls"], ["invalidate", "--all", "--yes"]):
        json.loads(run(command[0], url, *command[1:], "--json").out)


def test_a_store_that_does_not_acknowledge(run: Run) -> None:
    """Nothing is called invalid that may not be, and the status says why."""
    for command in (["invalidate", "--all", "--yes"], ["invalidate", "--tag", "t", "--yes"]):
        done = run(command[0], f"redis://127.0.0.1:{free_port()}/0", *command[1:], "--json")
        assert (done.status, done.json["ended"], done.json["invalidated"]) == (3, "store", [])
        assert "run the command again" in done.json["problem"]


def test_an_interrupt_before_the_acknowledgement_claims_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """And one behind it says what is invalid and how much was freed."""
    fill(url)

    async def before(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cache, "invalidate_all", before)
    done = run("invalidate", url, "--all", "--yes", "--json")
    assert (done.status, done.json["invalidated"], done.json["freed"]) == (130, [], 0)

    async def behind(self: object, namespace: str, *, progress: Callable[[int], None]) -> None:
        progress(2)
        raise KeyboardInterrupt

    monkeypatch.setattr(Cache, "invalidate_prefix", behind)
    done = run("invalidate", url, "--namespace", "faq", "--yes", "--json")
    assert (done.status, len(done.json["invalidated"]), done.json["freed"]) == (130, 1, 2)
