"""`cachecore doctor`: what it says of stores that work, that do not, and that are not there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from cachecore import Cache
from cachecore.cli import app
from cachecore.contract import plugins
from cachecore.encoding.entry import encode
from cachecore.testing.groups import ask
from cachecore.testing.servers import Server, free_port, installed, version
from tests.integration.operating.conftest import fill

run = CliRunner().invoke


def test_a_server_that_works(redis_url: str) -> None:
    done = run(app(), ["doctor", redis_url, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["answers"] is True
    abilities = {"scan": True, "feed": True, "time": True, "touch": True, "marks": None, "partitions": False}
    assert found["abilities"] == abilities, "a mark can only be tried by writing it"
    assert found["read_deadline_seconds"] == max(0.05, min(0.5, 5 * found["read_seconds"]))
    assert found["refused"] == {}
    assert abs(found["clock_ahead_seconds"]) < 5
    (said,) = found["servers"].values()
    assert said["feed"] == "client tracking"


def test_what_it_prints_is_for_people(redis_url: str) -> None:
    done = run(app(), ["doctor", redis_url])
    assert "answers a read in" in done.stdout
    assert "feed: yes: copies in memory are told of changes" in done.stdout


@pytest.fixture
def own_server() -> Iterator[Server]:
    servers = installed()
    with Server(servers[max(servers)]) as server:
        yield server


def test_a_server_that_cannot_push(own_server: Server) -> None:
    """Whether there is a feed is tried: the ability of a backend is none of every server."""
    done = run(app(), ["doctor", own_server.url + "?protocol=2"])
    assert done.exit_code == 0, done.output
    assert "feed: no: copies in memory live for l1_max_age" in done.stdout
    assert "feed: yes" not in done.stdout
    assert "feed: none (RESP2)" in done.stdout


def test_a_user_who_may_not_ask_the_time_nor_track(own_server: Server) -> None:
    """What is forbidden is absent; the store answers all the same."""
    if version(own_server.program)[1] < (7,):
        pytest.skip("rules for subcommands came with version 7")
    ask(own_server, "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-time", "-client|tracking")
    done = run(app(), ["doctor", own_server.url.replace("://", "://app:pw@")])
    assert done.exit_code == 0, done.output
    assert "answers a read in" in done.stdout
    assert "time: no: the clocks of hosts are compared" in done.stdout
    assert "feed: no: copies in memory live for l1_max_age" in done.stdout
    assert "feed: none (auth)" in done.stdout
    assert "its clock" not in done.stdout


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("allkeys-random", ["allkeys-random evicts what is used most"]),
        ("volatile-random", ["volatile-random evicts what is used most", "volatile-random never evicts answers with"]),
        ("volatile-lru", ["volatile-lru never evicts answers with ttl=None"]),
        ("noeviction", ["noeviction takes nothing new"]),
        ("allkeys-lfu", []),
        ("allkeys-lru", []),
    ],
)
def test_a_memory_policy_that_costs_something(own_server: Server, policy: str, says: list[str]) -> None:
    """A limit and its policy are told, with a warning where a cache loses by it; without a limit there is none."""
    ask(own_server, "CONFIG", "SET", "maxmemory-policy", policy)
    assert "warning" not in run(app(), ["doctor", own_server.url]).stdout
    ask(own_server, "CONFIG", "SET", "maxmemory", "100mb")
    found = json.loads(run(app(), ["doctor", own_server.url, "--json"]).stdout)
    ((server, warnings),) = found["warnings"].items()
    assert found["servers"][server]["maxmemory_policy"] == policy
    assert len(warnings) == len(says)
    assert all(warning.startswith(words) for warning, words in zip(warnings, says, strict=True))
    printed = run(app(), ["doctor", own_server.url]).stdout
    assert all(f"warning: {warning}" in printed for warning in warnings)


def test_a_server_that_is_not_there() -> None:
    done = run(app(), ["doctor", f"redis://user:hunter2@127.0.0.1:{free_port()}/0"])
    assert done.exit_code == 1
    assert "does not answer: refused" in done.stdout
    assert "feed" not in done.stdout, "of a dead store nothing is known"
    assert "hunter2" not in done.output


def test_a_wrong_address() -> None:
    done = run(app(), ["doctor", "nosuch://place"])
    assert done.exit_code == 2
    assert "nosuch" in done.output
    assert "redis" in done.output


def test_memory_needs_nothing() -> None:
    done = run(app(), ["doctor", "memory://"])
    assert done.exit_code == 0
    assert "feed: no: copies in memory live for l1_max_age" in done.stdout


def test_a_wrong_password(own_server: Server) -> None:
    ask(own_server, "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all")
    done = run(app(), ["doctor", own_server.url.replace("://", "://app:hunter2@")])
    assert done.exit_code == 1
    assert "does not answer: auth" in done.stdout
    assert "hunter2" not in done.output


def test_a_memory_that_is_full(own_server: Server) -> None:
    """The remedy is for the memory: the rights of the user are as they should be."""
    ask(own_server, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    ask(own_server, "CONFIG", "SET", "maxmemory", "1")
    done = run(app(), ["doctor", own_server.url])
    assert "its memory is full: raise maxmemory" in done.stdout
    assert "+@write" not in done.stdout


def test_a_user_whose_commands_are_refused(own_server: Server) -> None:
    """What the backend can do and this user may not is tried and told, with the remedy."""
    if version(own_server.program)[1] < (7,):
        pytest.skip("rules for subcommands came with version 7")
    ask(own_server, "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-scan", "-touch", "-set", "-eval", "-evalsha")
    found = json.loads(run(app(), ["doctor", own_server.url.replace("://", "://app:pw@"), "--json"]).stdout)
    assert found["refused"] == {"scan": "auth", "touch": "auth"}
    assert (found["abilities"]["scan"], found["abilities"]["touch"]) == (False, False)
    assert any("let this user do it (scan)" in one["remedy"] for one in found["findings"])
    ask(own_server, "ACL", "SETUSER", "app", "-get", "-mget")
    done = run(app(), ["doctor", own_server.url.replace("://", "://app:pw@")])
    assert done.exit_code == 1
    assert "does not answer: auth" in done.stdout


def test_it_writes_and_creates_nothing(tmp_path: Path, redis_url: str) -> None:
    """A file that is not there is not made; one that is there, and a server, hold the same afterwards."""
    done = run(app(), ["doctor", f"sqlite:///{tmp_path}/folder/none.sqlite"])
    assert done.exit_code == 2
    assert "there is no such file" in done.output
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other.txt").write_text("a file of another program")
    assert "another program" in run(app(), ["doctor", f"sqlite:///{tmp_path}/other.txt"]).output
    fill(f"sqlite:///{tmp_path}/answers.sqlite")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(app(), ["doctor", f"sqlite:///{tmp_path}/answers.sqlite"]).exit_code == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    fill(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        held = {key: (client.dump(key), client.ttl(key) < 0) for key in client.scan_iter()}
        assert run(app(), ["doctor", redis_url]).exit_code == 0
        assert {key: (client.dump(key), client.ttl(key) < 0) for key in client.scan_iter()} == held


def test_a_prefix_is_encoded_as_in_keys(redis_url: str) -> None:
    fill(redis_url, "my app*")
    found = json.loads(run(app(), ["doctor", redis_url, "--prefix", "my app*", "--json"]).stdout)
    assert found["sample"]["looked_at"] == 3


def test_what_the_answers_say(redis_url: str) -> None:
    """Never expiring, expiring before they pay, several serializers, damaged: each with its remedy."""

    async def answers() -> None:
        async with Cache(redis_url, ttl=60) as cache:
            await cache.set("for ever", 1, ttl=None, required=True)
        async with Cache(redis_url, ttl=60, serializer="json") as cache:
            await cache.set("other", 1, required=True)
        key = "cc:e::" + "0" * 64
        now = time.time()
        slow = encode(
            key,
            b"\x01",
            created=now,
            compute_time=600.0,
            fresh_until=now + 60,
            dead_until=now + 60,
            serializer="msgpack",
        )
        backend = plugins.backend_from_url(redis_url)
        await backend.set_many({key: slow, "cc:e::" + "1" * 64: b"nonsense"}, ttl=60)
        await backend.aclose()

    asyncio.run(answers())
    done = run(app(), ["doctor", redis_url])
    assert done.exit_code == 1
    for words in (
        "1 of 4 answers never expire",
        "1 of 4 answers live for less time than it took",
        "answers are written by 2 serializers (json, msgpack)",
        "problem: 1 of 4 answers are no entries of their key (magic)",
    ):
        assert words in done.stdout, done.stdout


def test_namespaces_may_differ_in_their_serializer(redis_url: str) -> None:
    """A gateway's answers beside those of functions are no mistake."""

    async def answers() -> None:
        for namespace, serializer in (("llm:response/p-1", "json"), ("llm:response/p-2", "json"), ("", "msgpack")):
            async with Cache(redis_url, ttl=60, namespace=namespace, serializer=serializer) as cache:
                await cache.set("q", 1, required=True)

    asyncio.run(answers())
    found = json.loads(run(app(), ["doctor", redis_url, "--json"]).stdout)
    assert found["sample"]["serializers"] == {"json": 2, "msgpack": 1}
    assert not any("serializers" in one["what"] for one in found["findings"])


def test_persistence_and_what_a_restart_brings_back(own_server: Server) -> None:
    def said() -> tuple[str, bool]:
        found = json.loads(run(app(), ["doctor", own_server.url, "--json"]).stdout)
        (server,) = found["servers"].values()
        return server["persistence"], any("writes snapshots" in one["what"] for one in found["findings"])

    ask(own_server, "CONFIG", "SET", "save", "")
    assert said() == ("none", False)
    ask(own_server, "CONFIG", "SET", "save", "3600 1")
    assert said() == ("snapshots (3600 1)", True)
    ask(own_server, "CONFIG", "SET", "appendonly", "yes")
    assert said() == ("appendonly (appendfsync everysec)", False)
