"""The gateway beside a bare application, LiteLLM's proxy and the provider itself: hits, misses, crowds of streams.

    python -m benchmarks gateway         # `make litellm` first: its proxy has a venv of its own

Each server runs in a process of its own, on one Redis and one local provider that answers after 200 ms. Rounds take
turns, in an order drawn anew each time, and ratios are medians of the ratios within a round, because a constant itself
moves by a third between runs. "processor" is what the server's process computed (Linux' scheduler), which other work on
the machine changes least. The load comes from this process, over raw connections that are kept open.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

from benchmarks.gateway_load import (
    Asking,
    Crowd,
    Round,
    closed_loop,
    crowd,
    median_ratio,
    processor_of,
    quantile,
    request_of,
    resident,
)
from benchmarks.gateway_report import tables
from benchmarks.running.results import AbsentError, Question, Table
from benchmarks.running.rounds import scale
from cachecore.testing.servers import Server, free_port, installed

LITELLM: Final = Path(__file__).parent.parent / ".venv-litellm" / "bin"
PATH: Final = "/v1/chat/completions"
CONNECTIONS: Final = (1, 16, 64)
ROUNDS: Final = max(3, round(5 * scale()))
ROUND_SECONDS: Final = 0.3
MISSES: Final = max(5, round(25 * scale()))
CROWD: Final = 1000
CROWDS: Final = 2 if scale() >= 1 else 1
LITELLM_CROWD: Final = 200
STREAMED: Final = "[[words 40]] [[pace 0.05]]"
LOOP: Final = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"

KEY: Final = f"sk-{secrets.token_hex(32)}"
HEADERS: Final = {
    "authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "user-agent": "AsyncOpenAI/Python 3.57.0",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "3.57.0",
    "x-stainless-os": "Linux",
    "x-stainless-arch": "x64",
    "x-stainless-runtime": "CPython",
    "x-stainless-runtime-version": "3.11.9",
    "x-stainless-async": "async:asyncio",
    "x-stainless-retry-count": "0",
    "x-stainless-read-timeout": "600",
}
SYSTEM: Final = "You answer questions about a shop. " * 60
_number = itertools.count()


def question(text: str, **more: Any) -> bytes:
    """Return a request as OpenAI's SDK sends it."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    body = json.dumps({"model": "gpt-local", "messages": messages, "temperature": 0.2, **more}).encode()
    return request_of(PATH, body, HEADERS)


def new(text: str = "", **more: Any) -> bytes:
    """Return a request that was not made before."""
    return question(f"question {next(_number)} {text}", **more)


KNOWN: Final = question("known [[words 80]]")


@dataclass(slots=True)
class Process:
    """A server that runs."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def pid(self) -> int:
        return self.process.pid

    def process_seconds(self) -> float:
        """Return the seconds that it has computed."""
        return processor_of(self.pid)

    def calls(self) -> int:
        """Return the number of calls that the upstream has had."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextmanager
def started(name: str, *arguments: str, loop: str = LOOP) -> Iterator[Process]:
    """Run a server of `benchmarks.gateway_servers`."""
    command = [sys.executable, "-m", "benchmarks.gateway_servers", name, loop, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise ValueError(f"{name} did not start")
        yield Process(process, url)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def litellm(provider: str, redis: str, log: IO[str]) -> Iterator[Process]:
    """Run LiteLLM's proxy with its Redis cache. Raises AbsentError."""
    if not (LITELLM / "litellm").exists():
        raise AbsentError("it is not installed: make litellm")
    port, store = free_port(), urlsplit(redis)
    cache = {"type": "redis", "host": store.hostname, "port": store.port, "ttl": 3600}
    parameters = {"model": "openai/gpt-local", "api_base": f"{provider}/v1", "api_key": "any"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"  # JSON is YAML
        config.write_text(
            json.dumps(
                {
                    "model_list": [{"model_name": "gpt-local", "litellm_params": parameters}],
                    "litellm_settings": {"cache": True, "cache_params": cache, "telemetry": False},
                }
            )
        )
        command = [str(LITELLM / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
        environment["PATH"] = f"{LITELLM}:{os.environ['PATH']}"
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment)
        try:
            asyncio.run(listening(process, port))
            yield Process(process, f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def listening(process: subprocess.Popen[str], port: int) -> None:
    """Return when a server accepts connections. Raises AbsentError."""
    for _ in range(600):
        if process.poll() is not None:
            raise AbsentError(f"it ended with status {process.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.15)
        else:
            writer.close()
            return
    raise AbsentError("it did not start in 90 s")


async def hits(servers: dict[str, Process], chance: random.Random) -> dict[str, Any]:
    """Return answers a second and times of repeats of one request, at each number of connections."""
    for server in servers.values():
        for _ in range(3):
            await closed_loop(server.port, server.pid, KNOWN, connections=4, seconds=0.05)
    found: dict[str, Any] = {}
    for connections in CONNECTIONS:
        rounds: dict[str, list[Round]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name in chance.sample(list(servers), len(servers)):
                one = servers[name]
                rounds[name].append(
                    await closed_loop(one.port, one.pid, KNOWN, connections=connections, seconds=ROUND_SECONDS)
                )
        found[str(connections)] = {name: of_rounds(rounds, name) for name in servers}
    return found


def of_rounds(rounds: dict[str, list[Round]], name: str) -> dict[str, float]:
    """Return the figures of one server, with its ratios to the constant on the same loop."""
    mine, base = rounds[name], rounds["constant, asyncio" if name.endswith(", asyncio") else "constant"]
    times = [took for one in mine for took in one.times]

    def clock(all_of: list[Round]) -> list[float]:
        return [one.seconds / len(one.times) for one in all_of]

    def processor(all_of: list[Round]) -> list[float]:
        return [one.processor / len(one.times) for one in all_of]

    return {
        "per second": statistics.median(1 / one for one in clock(mine)),
        "p50 ms": quantile(times, 0.5) * 1000,
        "p99 ms": quantile(times, 0.99) * 1000,
        "processor us": statistics.median(processor(mine)) * 1e6,
        "of the constant, clock": median_ratio(clock(mine), clock(base)),
        "of the constant, processor": median_ratio(processor(mine), processor(base)),
    }


async def misses(servers: dict[str, Process], chance: random.Random) -> dict[str, Any]:
    """Return what servers add to the provider's own time, in rounds of one new question for each."""
    asking = {name: await Asking.at(server.port) for name, server in servers.items()}
    times: dict[str, list[float]] = {name: [] for name in servers}
    worked: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(MISSES + 3):
        for name in chance.sample(list(servers), len(servers)):
            before = servers[name].process_seconds()
            took = await asking[name].ask(new())
            if number >= 3:  # connections, keys and imports of the first calls
                times[name].append(took)
                worked[name].append(servers[name].process_seconds() - before)
            if name.startswith("gateway") and b"fwd=miss" not in asking[name].head:
                raise ValueError(f"that was no miss: {asking[name].head!r}")
    for one in asking.values():
        await one.close()
    direct = times["upstream"]
    return {
        name: {
            "p50 ms": statistics.median(took) * 1000,
            "added ms": statistics.median(a - b for a, b in zip(took, direct, strict=True)) * 1000,
            "processor ms": statistics.median(worked[name]) * 1000,
        }
        for name, took in times.items()
    }


async def crowds(
    servers: dict[str, Process], upstream: Process, chance: random.Random, streams: int, rounds: int
) -> dict[str, Any]:
    """Return how servers answer many streams of one prompt that begin at once."""
    found: dict[str, list[Crowd]] = {name: [] for name in servers}
    calls: dict[str, list[int]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name in chance.sample(list(servers), len(servers)):
            before = upstream.calls()
            one = servers[name]
            # A crowd of a key that is not known yet would ask the provider for each: the key was judged good before.
            found[name].append(await crowd(one.port, one.pid, new(STREAMED, stream=True), streams))
            calls[name].append(upstream.calls() - before)
    return {
        name: {
            "streams": streams,
            "upstream calls": max(calls[name]),
            "first content, p50 ms": statistics.median(quantile(one.first, 0.5) for one in took) * 1000,
            "first content, last ms": statistics.median(max(one.first) for one in took) * 1000,
            "end ms": statistics.median(one.whole for one in took) * 1000,
            "processor ms": statistics.median(one.processor for one in took) * 1000,
            "KiB per stream": took[0].bytes_per_stream / 1024,
        }
        for name, took in found.items()
    }


async def measured(servers: dict[str, Process], upstream: Process) -> dict[str, Any]:
    chance = random.Random(21)
    of_hits = ("constant", "gateway", "constant, asyncio", "gateway, asyncio", "LiteLLM", "upstream")
    found: dict[str, Any] = {
        "hits": await hits({name: servers[name] for name in of_hits if name in servers}, chance),
        "resident MiB": {name: resident(one.pid) / 2**20 for name, one in servers.items()},
    }
    of_misses = ("upstream", "relay", "gateway", "gateway, asyncio", "LiteLLM")
    found["misses"] = await misses({name: servers[name] for name in of_misses if name in servers}, chance)
    of_crowds = {name: servers[name] for name in ("fan_out", "gateway")}
    found["streams"] = await crowds(of_crowds, upstream, chance, CROWD, CROWDS)
    if "LiteLLM" in servers:
        few = {"LiteLLM": servers["LiteLLM"]}
        found["streams"] |= await crowds(few, upstream, chance, LITELLM_CROWD, 1)
    return found


def run() -> list[Table]:
    """Start all servers and measure. Runs event loops of its own."""
    with ExitStack() as stack:
        redis = stack.enter_context(Server(next(iter(installed().values()))))
        upstream = stack.enter_context(started("upstream", loop="asyncio"))
        servers = {"upstream": upstream}
        # A database of its own: one gateway would otherwise find what the other has stored.
        for name, loop in (("gateway", LOOP), ("gateway, asyncio", "asyncio")):
            store = f"{redis.url.rpartition('/')[0]}/{len(servers)}"
            servers[name] = stack.enter_context(started("gateway", store, upstream.url, loop=loop))
        size = asyncio.run(size_of(servers["gateway"]))
        servers["constant"] = stack.enter_context(started("constant", str(size)))
        servers["constant, asyncio"] = stack.enter_context(started("constant", str(size), loop="asyncio"))
        servers["relay"] = stack.enter_context(started("relay", upstream.url))
        servers["fan_out"] = stack.enter_context(started("fan_out", upstream.url))
        log = stack.enter_context(tempfile.TemporaryFile("w+"))
        version = ""
        try:
            servers["LiteLLM"] = stack.enter_context(litellm(upstream.url, redis.url, log))
        except AbsentError as error:
            print(f"  LiteLLM's proxy is not measured: {error}")
        else:
            version = version_of_litellm()
        return tables(asyncio.run(measured(servers, upstream)), version)


async def measure() -> list[Table]:
    return await asyncio.to_thread(run)


async def size_of(server: Process) -> int:
    """Return the bytes of the answer to the known question, which is stored after that."""
    asking = await Asking.at(server.port)
    for _ in range(3):
        await asking.ask(KNOWN)
    if b"cachecore; hit" not in asking.head:
        raise ValueError(f"a repeat was no hit: {asking.head!r}")
    await asking.close()
    return int(asking.head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


def version_of_litellm() -> str:
    command = [str(LITELLM / "python"), "-c", "from importlib.metadata import version; print(version('litellm'))"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


QUESTION = Question(
    "gateway",
    "The gateway beside a bare application, a relay and LiteLLM's proxy",
    measure,
    ["uvicorn", "starlette", "uvloop", "httpx2", "redis"],
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
