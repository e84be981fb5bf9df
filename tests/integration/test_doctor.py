"""`cachecore doctor`: what it says of stores that work, that do not, and that are not there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from cachecore.cli import app
from cachecore.testing.groups import ask
from cachecore.testing.servers import Server, free_port, installed, version

run = CliRunner().invoke


def test_a_server_that_works(redis_url: str) -> None:
    done = run(app(), ["doctor", redis_url, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["answers"] is True
    assert found["abilities"] == {"scan": True, "feed": True, "time": True, "touch": True, "partitions": False}
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
