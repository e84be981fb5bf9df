"""Starting and stopping: in a loop, in a thread, as a process; nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

from cachecore_llm.testing.provider import DirectiveError, LocalProvider
from tests.llm.provider import wire

WORDS = 1000
ANSWERS = 10


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the provider as its own process; gives it and its address."""
    command = [sys.executable, "-W", "error", "-m", "cachecore_llm.testing.provider", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


def closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_stopping_ends_answers_and_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    async with LocalProvider() as provider:
        port = provider.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        idle_reader, idle = await asyncio.open_connection("127.0.0.1", port)
        writer.write(wire.request(wire.CHAT, wire.body_for(wire.CHAT, "[[hang 2]]", stream=True)))
        await provider.until(lambda: provider.calls == 1 and provider.requests[0].events == 2)
        assert provider.connections == 2
    assert provider.requests[0].outcome == "stopped"
    assert provider.active == provider.connections == 0
    assert not (await reader.read()).endswith(b"0\r\n\r\n")
    assert await idle_reader.read() == b""
    for one in (writer, idle):
        one.close()
        await one.wait_closed()
    assert asyncio.all_tasks() == before
    assert closed(port)
    gc.collect()  # a socket left open would warn here


async def test_connections_that_come_while_it_stops_are_closed() -> None:
    for _ in range(20):
        async with LocalProvider() as provider:
            opening = [asyncio.create_task(asyncio.open_connection("127.0.0.1", provider.port)) for _ in range(5)]
            await asyncio.sleep(0)
        for opened in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(opened, BaseException):
                assert isinstance(opened, ConnectionError)  # refused, or reset while it was still in the queue
                continue
            reader, writer = opened
            with contextlib.suppress(ConnectionResetError):  # likewise
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()
    gc.collect()


def test_a_thread_of_its_own_ends_with_it() -> None:
    with LocalProvider() as provider, OpenAI(base_url=provider.openai_url, api_key="key") as client:
        assert client.responses.create(model="m", input="[[say hello]]").output_text == "hello"
        assert "local provider" in {thread.name for thread in threading.enumerate()}
    assert "local provider" not in {thread.name for thread in threading.enumerate()}
    assert closed(provider.port)
    with pytest.raises(RuntimeError, match="not running"):
        provider.hold()


async def test_a_taken_port_is_an_error_and_nothing_is_left() -> None:
    async with LocalProvider() as provider:
        with pytest.raises(OSError):
            async with LocalProvider(port=provider.port):
                pass
        with pytest.raises(OSError), LocalProvider(port=provider.port):
            pass
        with pytest.raises(RuntimeError, match="running already"):
            async with provider:
                pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": 0}, "keep must be at least 1"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"api_keys": "secret"}, "collections"),
        ({"directives": "[[nonsense]]"}, "unknown directive"),
        ({"directives": "[[delay 1]] please"}, "directives alone"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        LocalProvider(**options)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_process(number: signal.Signals) -> None:
    with process("--directives", "[[say from the command line]]") as (running, url):
        with OpenAI(base_url=f"{url}/v1", api_key="key") as client:
            assert client.responses.create(model="m", input="Hi").output_text == "from the command line"
        running.send_signal(number)
        assert running.wait(60) == 0
        assert running.stderr is not None
        assert running.stderr.read() == ""


def test_the_command_explains_itself() -> None:
    command = [sys.executable, "-m", "cachecore_llm.testing.provider"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=300, check=True).stdout
    assert "[[cut]]" in shown
    wrong = subprocess.run(
        [*command, "--directives", "[[kut]]"], capture_output=True, text=True, timeout=300, check=False
    )
    assert (wrong.returncode, "unknown directive" in wrong.stderr) == (2, True)


def test_plain_reads_no_directives() -> None:
    with process("--plain") as (_, url), OpenAI(base_url=f"{url}/v1", api_key="key") as client:
        assert client.responses.create(model="m", input="[[say x]]").output_text.startswith('You asked "[[say x]]"')


def test_an_error_names_the_way_out() -> None:
    with pytest.raises(DirectiveError, match="as in"):
        LocalProvider(directives="[[delay soon]]")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the processor time of a process from /proc")
def test_streams_cost_little() -> None:
    """20,000 chunks a second on one core, counted in processor time, in the calmest of three rounds."""
    body = wire.body_for(wire.CHAT, f"[[words {WORDS}]]", stream=True, max_tokens=WORDS)
    with process() as (running, url):
        stat = Path(f"/proc/{running.pid}/stat")

        def seconds() -> float:
            ticks = stat.read_text().rpartition(")")[2].split()[11:13]
            return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

        rates: list[float] = []
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            for _ in range(3):
                before, received = seconds(), 0
                for _ in range(ANSWERS):
                    client.sendall(wire.request(wire.CHAT, body))
                    answer = bytearray()
                    while not answer.endswith(b"0\r\n\r\n"):
                        answer += client.recv(1 << 20)
                    received += answer.count(b"data: ")
                assert received >= ANSWERS * WORDS
                rates.append(received / max(seconds() - before, 0.001))
    print("\nchunks a second of processor time:", *(f"{rate:,.0f}" for rate in rates))
    assert max(rates) >= 20_000
