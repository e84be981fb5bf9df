"""A wrong setting fails while building: by its name, with its value and what is allowed, and without secrets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract.errors import CacheError, OptionsError, PluginNotFound
from cachecore.contract.options import MEMORY_FIELDS, POLICY_FIELDS, STORE_FIELDS

_NEVER = [10**400, [1], "soon", -math.inf]
"""What no number among the options may be."""
_NONE = {"ttl", "soft_timeout", "negative_ttl", "lease_ttl", "max_age", "keep_stale", "pending_path"}
"""Where None means something."""

WRONG: dict[str, list[Any]] = {
    "ttl": [0, -1, math.nan, math.inf, "24 o'clock", True],
    "jitter": [-0.1, 1, 2, math.nan],
    "stale_while_revalidate": [-1, math.nan, math.inf, "an hour", True],
    "stale_if_error": [-1, math.nan, math.inf, "an hour", True],
    "keep_stale": [-1, math.nan, math.inf, "an hour", True],
    "refresh_ahead": [-1, math.nan, math.inf],
    "soft_timeout": [0, -1, math.nan, math.inf, "one second"],
    "factory_timeout": [0, -1, math.nan, math.inf, "one second"],
    "claim_timeout": [0, -1, math.nan, math.inf, "half a minute"],
    "max_age": [-1, math.nan, math.inf, "new"],
    "stream_max_bytes": [0, 1023, -1, 1.5, "large", True],
    "stream_max_chunks": [0, -1, 1.5, True],
    "retry_after": [0, -1, math.nan, math.inf],
    "negative_ttl": [0, -1, math.nan, math.inf],
    "backend_timeout": [0, -1, math.nan, math.inf, "50 msec", True],
    "backend_timeout_max": [0, -1, math.nan, math.inf],
    "write_timeout": [0, -1, math.nan, math.inf, "one second"],
    "backend_timeout_per_mib": [-1, math.nan, math.inf],
    "connect_timeout": [0, -1, math.nan, math.inf],
    "breaker_failures": [0, -1, 1.5, "3", True],
    "breaker_backoff": [0, -1, math.nan, math.inf],
    "breaker_backoff_max": [0, -1, math.nan, math.inf],
    "max_in_flight": [0, -1, 1.5, True],
    "batch_keys": [0, -1, 1.5, True],
    "max_value_bytes": [0, 1023, -1, 1.5, True],
    "max_background": [0, -1, 1.5],
    "max_pending": [0, -1, 1.5],
    "lease_ttl": [0, -1, math.nan, math.inf],
    "l1_max_bytes": [-1, 1.5, "64 megs", True],
    "l1_max_entries": [-1, 1.5, True],
    "l1_max_age": [0, -1, math.nan, math.inf],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_option(name: str, value: Any) -> None:
    with pytest.raises(OptionsError) as failed:
        Cache("memory://", **{"ttl": 60, name: value})
    assert name in str(failed.value)
    assert repr(value) in str(failed.value)


@pytest.mark.parametrize("name", sorted(WRONG))
@pytest.mark.parametrize("value", [*_NEVER, None], ids=["huge", "list", "text", "-inf", "None"])
def test_what_no_option_may_be(name: str, value: Any) -> None:
    if value is None and name in _NONE:
        return
    if name == "eviction" and isinstance(value, str):
        return
    with pytest.raises((OptionsError, PluginNotFound), match=name.removesuffix("_path")):
        Cache("memory://", **{"ttl": 60, name: value})


@pytest.mark.parametrize(
    "wrong",
    [
        {"hasher": 5},
        {"serializer": 5},
        {"admit": 3},
        {"tags": 5},
        {"pending_path": ""},
        {"pending_path": 5},
        {"rescue_unverified": "no"},
    ],
    ids=repr,
)
def test_wrong_kinds(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(OptionsError, match=name):
        Cache("memory://", ttl=60, **wrong)


def test_every_number_among_the_options_is_tried() -> None:
    others = {"rescue_unverified", "finish", "pending_path", "eviction"}
    assert set(WRONG) >= (POLICY_FIELDS | STORE_FIELDS | MEMORY_FIELDS) - others


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"namespace": "a//b"}, "namespace"),
        ({"namespace": "a b"}, None),
        ({"prefix": ""}, "prefix"),
        ({"prefix": "x" * 300}, "prefix"),
        ({"hasher": "sha257"}, "sha256"),
        ({"serializer": "msgpak"}, "msgpack"),
        ({"serializer": "compressed+msgpak"}, "msgpack"),
        ({"eviction": "lruu"}, "lru"),
        ({"tls": True}, "tls"),
        ({"l1_max_byte": 1}, "l1_max_bytes"),
        ({"tags": "one"}, "tags"),
    ],
)
def test_wrong_names(arguments: dict[str, Any], named: str | None) -> None:
    """What is misspelt is answered with what there is."""
    if named is None:
        Cache("memory://", ttl=60, **arguments)  # a space is a character like others
        return
    with pytest.raises(CacheError) as failed:
        Cache("memory://", **{"ttl": 60, **arguments})
    assert named in str(failed.value)


URLS = [
    "redis://user:HUSH@localhost:notaport/0",
    "redis://user:HUSH@localhost/0?timeout=soon",
    "redis://user:HUSH@localhost/0?no_such_setting=1",
    "redis://user:HUSH@localhost/zero",
    "redis://:HUSH/b+c=@localhost:6379/0",
    "rediss://admin:HUSH/tail@localhost:6379/0",
    "redis://admin:HUSH#tail@localhost:6379/0",
    "redis://admin:HUSH?tail@localhost:6379/0",
    "redis://localhost:HUSH/0",
    "redis+sentinel://user:HUSH@/main",
    "redis+cluster://user:HUSH@",
    "rediss://user:HUSH@localhost/0?ssl_ca_certs=/no/such/file",
    "rediz://user:HUSH@localhost/0",
    "memory://user:HUSH@host",
    "sqlite:///file?password=HUSH",
    "http://user:HUSH@localhost",
    "user:HUSH@localhost",
]


@pytest.mark.parametrize("url", URLS)
def test_wrong_addresses_fail_and_keep_their_secrets(url: str) -> None:
    with pytest.raises(CacheError) as failed:
        Cache(url, ttl=60)
    error: BaseException | None = failed.value
    while error is not None:
        assert "HUSH" not in str(error)
        assert "HUSH" not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_right_addresses_keep_their_secrets() -> None:
    for url in ("redis://user:HUSH@localhost/0", "unix://user:HUSH@/tmp/socket", "redis+cluster://:HUSH@localhost:1"):
        cache = Cache[Any](url, ttl=60)
        assert "HUSH" not in repr(cache) + repr(cache._engine.backend) + repr(cache._engine.raw)


def test_wrong_file(tmp_path: Path) -> None:
    """A configuration file is checked like arguments, and names itself."""
    path = tmp_path / "cachecore.toml"
    for text in (
        'backend = "memory://"\nttl = "soon"',
        'backend = "memory://"\nttl = 5\nl1_max_byte = 1',
        "ttl = 5",
        "x =",
    ):
        path.write_text(text)
        with pytest.raises(OptionsError):
            Cache.from_config(path)
    with pytest.raises((OptionsError, FileNotFoundError)):
        Cache.from_config(tmp_path / "no such file.toml")


def test_plugin_that_is_not_installed() -> None:
    with pytest.raises(PluginNotFound, match="mongodb"):
        Cache("mongodb://localhost", ttl=60)
