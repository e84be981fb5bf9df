"""Stores that commands are run against, and how one is run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from cachecore import Cache
from cachecore.cli import app
from cachecore.testing.servers import Server
from tests.conftest import SERVERS, _started

Run = Callable[..., "Done"]


class Done:
    """How a command ended and what it said."""

    def __init__(self, result: Any) -> None:
        self.status: int = result.exit_code
        self.out: str = result.stdout
        self.err: str = result.stderr
        self.error = result.exception

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run() -> Run:
    """Run `cachecore` with some arguments and, on its stdin, what a person types."""

    def one(*arguments: str, typed: str = "") -> Done:
        done = Done(CliRunner().invoke(app(), list(arguments), input=typed))
        assert done.error is None or isinstance(done.error, SystemExit), done.error
        return done

    return one


@pytest.fixture(params=["sqlite", *sorted(SERVERS)])
def url(request: pytest.FixtureRequest, tmp_path: Path, running_servers: dict[str, Server]) -> Iterator[str]:
    """The address of an empty store of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/answers.sqlite"
        return
    server = _started(request.param, running_servers)
    with redis.Redis.from_url(server.url) as client:
        client.flushdb()
    yield server.url


async def _filled(url: str, prefix: str) -> None:
    async with Cache(url, ttl=3600, prefix=prefix, namespace="faq", tags=["shop"]) as cache:
        await cache.set({"q": 1}, {"text": "the first"}, tags=["doc:1"], served_by="m1", required=True)
        await cache.set({"q": 2}, {"text": "the second"}, tags=["doc:2"], ttl=None, required=True)
        await cache.scoped("v3").set({"q": 3}, {"text": "the third" * 200}, required=True)


def fill(url: str, prefix: str = "cc") -> None:
    """Store three answers: two in `faq` (tags shop, doc:1 and doc:2), one in `faq/v3`; one never expires."""
    asyncio.run(_filled(url, prefix))


async def _read(url: str, prefix: str) -> list[Any]:
    async with Cache(url, ttl=3600, prefix=prefix, namespace="faq", tags=["shop"]) as cache:
        found = [await cache.get({"q": number}) for number in (1, 2)]
        return [*found, await cache.scoped("v3").get({"q": 3})]


def answers(url: str, prefix: str = "cc") -> list[Any]:
    """Return which of the three answers an application gets: their first word, or None."""
    return [None if one is None else one["text"].split()[1][:5] for one in asyncio.run(_read(url, prefix))]
