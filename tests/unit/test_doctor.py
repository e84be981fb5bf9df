"""`cachecore doctor`: what it says of stores that work, that do not, and that are not there."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from cachecore.cli import app
from cachecore.testing.servers import free_port

run = CliRunner().invoke


def test_a_server_that_works(redis_url: str) -> None:
    done = run(app(), ["doctor", redis_url, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["answers"] is True
    assert found["abilities"] == {"scan": True, "feed": True, "time": True, "partitions": False}
    assert abs(found["clock_ahead_seconds"]) < 5
    (said,) = found["servers"].values()
    assert said["feed"] == "client tracking"


def test_what_it_prints_is_for_people(redis_url: str) -> None:
    done = run(app(), ["doctor", redis_url])
    assert "answers a read in" in done.stdout
    assert "feed: yes: copies in memory are told of changes" in done.stdout


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
