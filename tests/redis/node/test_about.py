"""What a server says of itself, to users who may ask for little."""

from __future__ import annotations

import pytest

from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from cachecore_redis.wire.commands import pack
from tests.redis.versions import in_one_command, needs


async def asked(url: str) -> dict[str, str]:
    backend = RedisBackend(url)
    ((name, found),) = (await backend.about("p:")).items()
    assert name in url
    assert await backend.get_many(["p:about"]) == [None]
    await backend.aclose()
    return dict(found)


async def test_server_and_its_abilities(own_server: Server) -> None:
    """Name, version, role, feed and the way of swapping are told."""
    found = await asked(own_server.url)
    assert found["server"].split()[0] in ("redis", "valkey")
    assert found["server"].split()[1][0].isdecimal()
    assert (found["protocol"], found["role"], found["feed"]) == ("RESP3", "master", "client tracking")
    assert found["swap"] == in_one_command(own_server, "script")[0]


async def test_user_who_may_little(own_server: Server) -> None:
    """Without INFO, scripts and tracking the answer says what is left."""
    needs(own_server, 7, "rules for subcommands")
    admin = RedisBackend(own_server.url)
    rules = ("ACL", "SETUSER", "app", "on", ">pw", "+@all", "-@dangerous", "-@scripting", "-client|tracking", "~p:*")
    assert await admin._nodes.get("t").ask("t", pack(rules)) == b"OK"
    await admin.aclose()
    found = await asked(own_server.url.replace("://", "://app:pw@"))
    assert found["feed"].startswith("none (auth)")
    assert found["swap"] == in_one_command(own_server, "watch")[0]


@pytest.mark.parametrize(("arguments", "query"), [([], "?protocol=2"), (["--rename-command", "HELLO", ""], "")])
async def test_resp2(own_server: Server, arguments: list[str], query: str) -> None:
    """A server agrees to track on RESP2, too, and drops the pushes: that is no feed."""
    own_server.arguments = arguments
    own_server.kill()
    own_server.start()
    backend = RedisBackend(own_server.url + query)
    await backend.get_many(["p:k"])
    ((_, found),) = (await backend.about("p:")).items()
    assert found["protocol"] == "RESP2"
    assert found["feed"] == "none (RESP2): copies in memory live for l1_max_age only"
    await backend.aclose()


async def test_server_that_is_down(any_server: Server) -> None:
    """A server that cannot be reached is told with the reason, without an error."""
    any_server.kill()
    backend = RedisBackend(any_server.url)
    assert list((await backend.about("p:")).values()) == [{"error": "refused"}]
    await backend.aclose()
