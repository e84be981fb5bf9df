"""URLs and settings: what they mean, what is wrong with them, and what is never shown of them."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from redis.credentials import UsernamePasswordCredentialProvider

from cachecore import Cache
from cachecore.contract import BackendError, BackendUnavailable, OptionsError
from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from cachecore_redis.wire.address import RedisOptions
from cachecore_redis.wire.commands import pack
from tests.redis.opening import opened


def test_import_brings_no_driver() -> None:
    """Importing the backend does not import redis-py, which takes a third of a second."""
    code = "import sys, cachecore_redis; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_building_connects_nothing() -> None:
    """A backend for a server that does not exist is built, and closed, without a word."""
    backend = RedisBackend("redis://no.such.host.invalid:1/0")
    await backend.aclose()
    with pytest.raises(BackendUnavailable) as failed:
        await backend.get_many(["k"])
    assert (failed.value.reason, failed.value.transient) == ("closed", False)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost/0?no_such_setting=1",
        "redis://localhost/0?decode_responses=true",
        "redis://localhost/0?max_connections=3",
        "redis://localhost/0?timeout=soon",
        "redis://localhost/0?timeout=0",
        "redis://localhost/0?connections=0",
        "redis://localhost/0?connections=two",
        "redis://localhost/0?protocol=9",
        "redis://localhost:notaport/0",
        "rediss://localhost/0?ssl_ca_certs=/no/such/file",
        "http://localhost",
    ],
)
def test_wrong_settings_fail_while_building(url: str) -> None:
    """A wrong URL is an OptionsError at once, and the message holds no part of it that may be secret."""
    with pytest.raises(OptionsError) as failed:
        RedisBackend(url.replace("://", "://user:hush-hush@"))
    assert "hush-hush" not in str(failed.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:hush@h/0?socket_timeout=soon", ["socket_timeout", "must be a number"]),
        ("redis://:hush@h?db=x", ["db in the URL", "must be a number"]),
        ("redis://:hush@h/shop", ["'redis://***@h/shop'", "number of a database"]),
        ("redis://:hush@h:99999", ["'redis://***@h:99999'", "up to 65535"]),
        ("redis://h:6379,password=hush", ["'redis://***'", "percent-encoded"]),
        ("rediss://:hush@h?ssl_cert_reqs=CERT_NONE", ["CERT_NONE", "none, optional or required"]),
        ("rediss://:hush@h?ssl_ca_certs=/no/file.pem", ["No such file", "ssl_ca_certs"]),
    ],
)
def test_a_wrong_url_is_told_by_its_place_and_way_out(url: str, words: list[str]) -> None:
    with pytest.raises(OptionsError) as failed:
        Cache(url, ttl=60)
    assert [word for word in words if word not in str(failed.value)] == []
    assert "hush" not in str(failed.value)


def test_settings_come_from_the_url_and_the_call() -> None:
    """Settings in the URL are understood with units; those of the call win."""
    backend = RedisBackend("redis://localhost/0?timeout=300ms&connect_timeout=2&connections=2", connections=3)
    assert backend.options == RedisOptions(timeout=0.3, connect_timeout=2.0, connections=3)
    with pytest.raises(OptionsError, match="conections"):
        RedisBackend("redis://localhost/0", conections=3)


async def test_user_password_database_and_name(any_server: Server) -> None:
    """An ACL user, a database and a client name in the URL are used; so is a credential provider."""
    async with opened(any_server.url) as admin:
        node = admin._nodes.get("test")
        assert await node.ask("t", pack(("ACL", "SETUSER", "me", "on", ">p%/w", "+@all", "~*"))) == b"OK"
        url = any_server.url.replace("redis://", "redis://me:p%25%2Fw@").replace("/0", "/3") + "?client_name=cachecore"
        async with opened(url) as backend:
            await backend.set_many({"k": b"v"}, ttl=60)
            mine = await backend._nodes.get("test").ask("t", pack(("CLIENT", "INFO")))
            for part in ("name=cachecore", "db=3", "user=me"):
                assert part in str(mine)
            told = await backend._nodes.get("test").ask("t", pack(("HELLO",)))
            assert told[b"proto"] == 3
        assert await admin.get_many(["k"]) == [None]
        provider = UsernamePasswordCredentialProvider("me", "p%/w")
        async with opened(any_server.url, credential_provider=provider) as backend:
            assert "user=me" in str(await backend._nodes.get("test").ask("t", pack(("CLIENT", "INFO"))))


async def test_server_that_speaks_only_resp2(any_server: Server) -> None:
    """Where HELLO is unknown, as behind some proxies, everything but the feed works on RESP2."""
    any_server.arguments = ["--rename-command", "HELLO", ""]
    any_server.kill()
    any_server.start()
    async with opened(any_server.url) as backend:
        await backend.set_many({"k": b"v"}, ttl=60)
        assert await backend.get_many(["k", "none"]) == [b"v", None]
        assert await backend.swap("k", b"v", b"w", ttl=60)
        assert await backend.delete_many(["k", "none"]) == 1


def test_unix_socket(any_server: Server) -> None:
    """`unix://` with a path and a database."""

    async def use() -> None:
        async with opened(f"unix://{any_server.socket_path}?db=2") as backend:
            await backend.set_many({"k": b"v"}, ttl=60)
            assert await backend.get_many(["k"]) == [b"v"]
            assert str(any_server.socket_path) in repr(backend)

    asyncio.run(use())
    assert Path(any_server.socket_path).exists()


async def test_secrets_are_never_shown(any_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Passwords and keys are in no repr, error, traceback or log line."""
    caplog.set_level(logging.DEBUG)
    any_server.arguments = ["--requirepass", "right"]
    any_server.kill()
    any_server.start()
    url = any_server.url.replace("://", "://:s3cr3t-word@")
    shown = []
    async with opened(url) as backend:
        shown.append(repr(backend))
        for _ in range(2):
            try:
                await backend.get_many(["key-of-a-prompt"])
            except BackendError as error:
                shown.append("".join(traceback.format_exception(error)))
        any_server.kill()
        await asyncio.sleep(0.3)
        try:
            await backend.set_many({"key-of-a-prompt": b"value-of-a-prompt"}, ttl=60)
        except BackendError as error:
            shown.append("".join(traceback.format_exception(error)))
    text = "\n".join([*shown, caplog.text])
    assert len(shown) == 4
    for secret in ("s3cr3t-word", "key-of-a-prompt", "value-of-a-prompt"):
        assert secret not in "\n".join(line for line in text.splitlines() if "await backend" not in line)
