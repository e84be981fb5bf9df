"""What a cache on a store of py-key-value has to do without is said, and what is wrong is refused."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from key_value.aio.stores.memory import MemoryStore
from typer.testing import CliRunner

from cachecore import Cache
from cachecore.cli import app
from cachecore.contract import BackendError, BackendTimeout, OptionsError
from cachecore_keyvalue import LIMITS, PyKeyValueBackend, from_url

answers = MemoryStore()


async def test_limits_are_logged_and_in_health(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cachecore.keyvalue"):
        backend = PyKeyValueBackend(MemoryStore())
    assert "no atomic swap between processes" in caplog.text
    async with Cache(backend, ttl=60) as cache:
        assert (await cache.health())["limits"] == list(LIMITS)
        assert await cache.get_or_set({"q": 1}, _answer) == 42
        assert await cache.get({"q": 1}) == 42
        await cache.delete({"q": 1})
        assert await cache.get({"q": 1}) is None
    async with Cache("memory://", ttl=60) as cache:
        assert (await cache.health())["limits"] == []


async def _answer() -> int:
    return 42


def test_doctor_says_them() -> None:
    url = f"keyvalue://{__name__}/answers"
    said = CliRunner().invoke(app(), ["doctor", url])
    assert said.exit_code == 0, said.output
    for limit in LIMITS:
        assert f"limit: {limit}" in said.output
    found = json.loads(CliRunner().invoke(app(), ["doctor", "--json", url]).stdout)
    assert found["limits"] == list(LIMITS)
    assert not found["abilities"]["scan"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("keyvalue://nowhere.at.all/store", "names no store"),
        (f"keyvalue://{__name__}/nothing", "names no store"),
        ("keyvalue:///store", "keyvalue://package.module/name"),
        (f"keyvalue://{__name__}/answers?x=1", "keyvalue://package.module/name"),
    ],
)
def test_wrong_urls_are_refused(url: str, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        from_url(url)


def test_what_is_no_store_is_refused() -> None:
    wrong: Any = {}
    with pytest.raises(OptionsError, match="must be a store of py-key-value"):
        PyKeyValueBackend(wrong)
    with pytest.raises(OptionsError, match="collection must be a name"):
        PyKeyValueBackend(MemoryStore(), collection="")


class Failing(MemoryStore):
    """A store that raises what it is given."""

    error: Exception = RuntimeError("a driver's own")

    async def get_many(self, keys: Any, *, collection: str | None = None) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (RuntimeError("x"), BackendError, "error"),
        (TimeoutError(), BackendTimeout, "timeout"),
        (ConnectionResetError(), BackendError, "unavailable"),
    ],
)
async def test_whatever_a_store_raises_is_translated(error: Exception, kind: type[BackendError], reason: str) -> None:
    store = Failing()
    store.error = error
    with pytest.raises(kind) as failed:
        await PyKeyValueBackend(store).get_many(["k"])
    assert (failed.value.reason, failed.value.__cause__) == (reason, error)


async def test_damaged_entries_are_no_values() -> None:
    store = MemoryStore()
    backend = PyKeyValueBackend(store)
    for damaged in ({}, {"key": "other", "value": "", "ends": None}, {"key": "k", "value": "~~ ~", "ends": None}):
        await store.put("k", damaged, collection="cachecore")
        assert await backend.get_many(["k"]) == [None]
        assert await backend.swap("k", None, b"v", ttl=60)
        await backend.delete_many(["k"])
