"""What an operator copies: the demonstration, the commented file, the container's command, the store's rights."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import httpx2
import pytest

from cachecore.testing import servers
from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy import config_file
from cachecore_proxy.settings import Bounds
from tests.proxy.conftest import NO_END, Gateways, chat

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "gateway.md"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "gateway"


def test_commented_file_is_right_and_complete(tmp_path: Path) -> None:
    """As it stands, and with each comment that is a setting taken in: no setting of the reader is missing from it."""
    text = (EXAMPLES / "gateway.toml").read_text()
    settings = config_file.read(EXAMPLES / "gateway.toml", environment={})
    assert [upstream.families for upstream in settings.upstreams] == [("openai",), ("anthropic",)]
    uncommented = re.sub(r"^# (?=\[|[a-z0-9_]+ = )", "", text, flags=re.MULTILINE)
    known = tomllib.loads(uncommented)
    for place, fields in (
        ("server", config_file._SERVER),
        ("access", config_file._ACCESS),
        ("bounds", config_file._BOUNDS),
    ):
        assert set(known[place]) == set(fields), place
    shown = set().union(*known["upstreams"]) | {"credential_file"}
    assert shown == set(config_file._UPSTREAM)
    bounds = Bounds()
    assert known["bounds"] == {name: getattr(bounds, name) for name in config_file._BOUNDS}


def test_example_of_the_guide_is_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.+?)```", GUIDE.read_text(), flags=re.DOTALL)
    path = tmp_path / "gateway.toml"
    path.write_text(example)
    settings = config_file.read(path, environment={"OPENAI_API_KEY": "k"})
    assert settings.access.keys[0].sha256 == hashlib.sha256(b"foo").hexdigest()


def test_container_file_is_right() -> None:
    """As its linter judges, and everything that it copies is there."""
    linter = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    if linter is None:
        pytest.skip("hadolint has no wheel for this platform")
    path = EXAMPLES / "Containerfile"
    judged = subprocess.run([linter, str(path)], capture_output=True, text=True, timeout=300)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(), flags=re.MULTILINE)
    assert copied
    root = EXAMPLES.parents[1]
    assert [name for names in copied for name in names.split() if not (root / name).exists()] == []


async def test_page_is_on_a_port_of_its_own_and_off_by_default(gateways: Gateways, provider: LocalProvider) -> None:
    assert (await gateways.start()).admin_port is None
    running = await gateways.start(admin={"port": 0, "token": "t" * 32})
    assert running.admin_port is not None
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.admin_port}", timeout=NO_END) as http:
        assert (await http.get("/login")).status_code == 200
        assert (await http.get("/entries")).status_code in (302, 303, 401, 403)
    http = await gateways.http(running)
    assert (await http.get("/login")).status_code == 404  # the provider's word


async def test_demonstration_prints_two_lines_and_hits() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(EXAMPLES / "demo.py"), "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(NO_END):
            lines = dict([(await process.stdout.readline()).decode().strip().split("=", 1) for _ in range(2)])
        async with httpx2.AsyncClient(timeout=NO_END) as http:
            headers = {"authorization": "Bearer any"}
            url = f"{lines['OPENAI_BASE_URL']}/chat/completions"
            told = [(await http.post(url, json=chat(), headers=headers)).headers["cache-status"] for _ in range(2)]
        assert "fwd=miss" in told[0]
        assert "hit" in told[1]
        assert lines["OPENAI_BASE_URL"] == lines["ANTHROPIC_BASE_URL"] + "/v1"
    finally:
        process.terminate()
        async with asyncio.timeout(NO_END):
            assert await process.wait() == 0


@pytest.mark.parametrize("program", sorted(servers.installed().values())[:1])
async def test_rights_of_the_compose_file_are_enough(gateways: Gateways, provider: LocalProvider, program: str) -> None:
    """A gateway under that user hits, judges keys, streams and purges; the user can do nothing else."""
    import redis
    import redis.exceptions

    rules = re.search(r"user gateway on >\S+ (.+)", (EXAMPLES / "compose.yaml").read_text())
    assert rules is not None
    policy = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]
    with servers.Server(program, policy) as server:
        with redis.Redis.from_url(server.url) as admin:
            admin.execute_command("ACL", "SETUSER", "gateway", "on", ">pw", *rules[1].split())
        address = server.url.replace("redis://", "redis://gateway:pw@")
        running = await gateways.start(store=address)
        http = await gateways.http(running)
        for stream in (False, True):
            for status in ("fwd=miss", "hit"):
                raw = await http.post("/v1/chat/completions", json=chat(f"stream {stream}", stream=stream))
                assert status in raw.headers["cache-status"]
        other = await gateways.http(await gateways.start(store=address))
        assert "hit" in (await other.post("/v1/chat/completions", json=chat("stream False"))).headers["cache-status"]
        assert await running.gateway.cache.invalidate_all() is not None
        assert (
            "fwd=miss" in (await http.post("/v1/chat/completions", json=chat("stream False"))).headers["cache-status"]
        )
        assert running.gateway.cache.flow.root.stats.backend_errors == {}
        with redis.Redis.from_url(address) as user:
            for wrong in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("SET", "other", "1"), ("ACL", "LIST")):
                with pytest.raises(redis.exceptions.ResponseError, match=r"NOPERM|permissions"):
                    user.execute_command(*wrong)
    assert provider.calls == 3
