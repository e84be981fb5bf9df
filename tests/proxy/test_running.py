"""The process: its command, its signals, prompts that change, what it tells of itself, a store that several share."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.access_log import AccessLog
from cachecore_proxy.server import _bound, serving
from cachecore_proxy.settings import PromptSettings, Settings, UpstreamSettings
from tests.proxy.conftest import NO_END, PATIENT, Gateways, chat, messages, until


@contextlib.asynccontextmanager
async def command(*arguments: str, **environment: str) -> AsyncIterator[tuple[Any, dict[str, str]]]:
    """Run `cachecore proxy`; yield the process and the two lines that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        "from cachecore.cli import main; main()",
        "proxy",
        "--port",
        "0",
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(NO_END):
            lines = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
        yield process, dict(line.split("=", 1) for line in lines)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def ask(url: str, key: str, text: str = "Hi") -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=NO_END) as http:
        return await http.post(
            f"{url}/v1/chat/completions", json=chat(text), headers={"authorization": f"Bearer {key}"}
        )


async def test_command_prints_what_a_program_needs(provider: LocalProvider, tmp_path: Path) -> None:
    """It serves, hits, keeps answers over a restart, and ends in good order at SIGTERM."""
    store = f"sqlite:///{tmp_path}/answers.db"
    for status in ("fwd=miss", "hit"):
        async with command("--store", store, "--upstream", provider.url) as (process, lines):
            assert set(lines) == {"OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"}
            async with AsyncOpenAI(base_url=lines["OPENAI_BASE_URL"], api_key="k") as client:
                raw = await client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"))
            assert status in raw.headers["cache-status"]
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(NO_END):
                out, err = await process.communicate()
            assert (process.returncode, err) == (0, b"")
            (line,) = [json.loads(one) for one in out.decode().splitlines()]
            assert (line["status"], line["outcome"], line["model"]) == (200, status.removeprefix("fwd="), "m")


async def test_hangup_takes_new_keys_and_prompts(provider: LocalProvider, tmp_path: Path) -> None:
    """A key that is gone is refused from then on; a wrong file changes nothing."""
    digests = {key: hashlib.sha256(key.encode()).hexdigest() for key in ("one", "two")}
    path = tmp_path / "gateway.toml"

    def write(*keys: str, more: str = "") -> None:
        listed = "".join(f'[[keys]]\nname = "{key}"\nsha256 = "{digests[key]}"\n' for key in keys)
        upstream = f'[[upstreams]]\nname = "u"\nurl = "{provider.url}"\ncredential_env = "K"\n'
        path.write_text(f"{listed}{upstream}{more}")

    write("one")
    async with command("--config", str(path), "--log", "info", K="provider-key") as (process, lines):
        url = lines["ANTHROPIC_BASE_URL"]

        async def hang_up(said: bytes) -> None:
            process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(NO_END):
                while said not in await process.stderr.readline():
                    pass

        assert (await ask(url, "one")).status_code == 200
        assert (await ask(url, "one")).headers["cache-status"].startswith("cachecore; hit")
        assert (await ask(url, "two")).status_code == 401
        write("two")
        await hang_up(b"read again")
        assert (await ask(url, "one")).status_code == 401
        assert (await ask(url, "two")).status_code == 200
        write("one", more="[nonsense]\n")
        await hang_up(b"stay as they were")
        assert (await ask(url, "two")).status_code == 200


async def test_changed_prompt_file_makes_its_answers_invalid(
    provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers to the text before are gone, those to other prompts stay; a name is counted and can be purged."""
    monkeypatch.setattr("cachecore_proxy.prompts.EVERY", 0.05)
    file = tmp_path / "faq.txt"
    file.write_text("You answer.\n")
    settings = Settings(
        upstreams=(UpstreamSettings(name="u", url=provider.url),),
        port=0,
        store_options=PATIENT,
        prompts=(PromptSettings(name="faq", text=file.read_text(), file=str(file)),),
    )
    async with serving(settings) as running:

        async def status(system: str) -> str:
            async with AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k") as client:
                told = [{"role": "system", "content": system}, *messages("Hi")]
                raw = await client.chat.completions.with_raw_response.create(model="m", messages=told)
                return str(raw.headers["cache-status"])

        for system in ("You answer.", "Another."):
            await status(system)
            for _ in range(2):
                assert "hit" in await status(system)
        assert {name.prompt for name in running.gateway.activity.rows} == {"faq", ""}
        file.write_text("You answer well.\n")
        async with asyncio.timeout(NO_END):
            while "hit" in await status("You answer."):  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.05)
        assert "hit" in await status("Another.")
        await status("You answer well.")
        assert await running.gateway.cache.invalidate_prompt("faq") == 1


async def test_what_it_tells_of_itself(gateways: Gateways, provider: LocalProvider) -> None:
    running = await gateways.start()
    http, client = await gateways.http(running), await gateways.openai(running)
    for _ in range(3):
        await client.chat.completions.create(model="gpt-4o", messages=messages("Hi"))
    await client.chat.completions.create(model="gpt-4o", messages=messages("Hi"), stream=True)
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    assert (await http.get("/readyz")).json() == {"status": "ready", "store": "ok"}
    text = (await http.get("/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert values['cachecore_proxy_requests_total{protocol="openai.chat",outcome="hit"}'] == "3"
    assert values['cachecore_proxy_requests_total{protocol="openai.chat",outcome="miss"}'] == "1"
    assert values['cachecore_proxy_first_byte_seconds_count{source="cache"}'] == "3"
    assert values['cachecore_proxy_first_byte_seconds_bucket{source="cache",le="+Inf"}'] == "3"
    assert values['cachecore_proxy_upstream_calls_total{upstream="local"}'] == "1"
    assert values['cachecore_proxy_upstream_open{upstream="local",protocols="openai"}'] == "0"
    assert values["cachecore_proxy_store_up"] == "1"
    saved = [value for name, value in values.items() if name.startswith('cachecore_proxy_calls_total{side="saved"')]
    assert saved == ["3"]
    running.gateway.stopping = True
    assert (await http.get("/readyz")).status_code == 503
    off = await gateways.start(metrics=False)
    assert (await (await gateways.http(off)).get("/metrics")).status_code == 404


async def test_access_log_has_a_line_for_each_request_and_no_prompt(provider: LocalProvider) -> None:
    out = io.StringIO()
    settings = Settings(upstreams=(UpstreamSettings(name="u", url=provider.url),), port=0, store_options=PATIENT)
    async with serving(settings, log=AccessLog(out)) as running:
        for text in ("prompt-s3cret", "prompt-s3cret", "prompt-s3cret [[error 503]]"):
            await ask(running.url, "key-s3cret", text)
        async with httpx2.AsyncClient(timeout=NO_END) as http:
            await http.get(f"{running.url}/v1/models", params={"after": "query-s3cret"})
            await http.get(f"{running.url}/v1/models", params={"key": "query-s3cret"})
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["outcome"] for line in lines] == ["miss", "hit", "failed", "passed", "refused"]
    assert [line["status"] for line in lines] == [200, 200, 503, 200, 400]
    assert lines[2]["reason"] == "HTTPFailure"
    assert "s3cret" not in out.getvalue()


async def test_two_gateways_share_a_redis(gateways: Gateways, redis_url: str) -> None:
    """Answers, judgements of keys and purges reach both; one stream is one call for the readers of both."""
    async with LocalProvider(api_keys=["a"]) as strict:
        settings = {"store": redis_url, "upstreams": [gateways.upstream(url=strict.url)]}
        here, there = await gateways.start(**settings), await gateways.start(**settings)
        first, second = await gateways.openai(here, "a"), await gateways.openai(there, "a")

        async def status(client: AsyncOpenAI, text: str = "Hi") -> str:
            raw = await client.chat.completions.with_raw_response.create(model="m", messages=messages(text))
            return str(raw.headers["cache-status"])

        await status(first)
        await until(lambda: here.gateway.activity.under_way == 0)  # then the answer is stored: it is given before
        for client in (second, first, second):
            assert "hit" in await status(client)
        strict.hold()
        both = [asyncio.ensure_future(status(client, "new")) for client in (first, second)]
        await strict.until(lambda: strict.held == 1)
        strict.release()
        told = await asyncio.gather(*both)
        assert strict.calls == 2
        assert sum("stored" in said for said in told) == 1

        async def until_missed() -> None:
            async with asyncio.timeout(NO_END):
                while not (said := await status(second)).startswith("cachecore; fwd=miss"):
                    assert "hit" in said  # the news is on its way to the other process

        await here.gateway.cache.invalidate_model("m")
        await until_missed()
        strict.queue("[[error 401]]")
        with pytest.raises(openai.AuthenticationError):
            await status(first, "other")
        await until_missed()
        assert "hit" in await status(second), "a success makes the key good again"


async def test_body_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    """Nagle's algorithm is off on the connections of clients, on asyncio's own loop, too."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def took(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        accepted.set_result(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = _bound("127.0.0.1", 0)
    async with await asyncio.start_server(took, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        async with asyncio.timeout(NO_END):
            assert await accepted != 0
        writer.close()
