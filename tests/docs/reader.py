"""A reader that does what a page says, block by block, in one folder."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from cachecore.testing import servers
from tests.docs.pages import REDIS, Block, blocks, matches, name

DRIVER = Path(__file__).with_name("driver.py")
PATIENCE = re.compile(r"CACHECORE_\w+_TIMEOUT(_MAX)?$")
"""The deadlines of stores that the tests prolong, so that a page needs no setting for a busy machine."""
INSTALLS = ("pip install", "python -m venv", "make ", "uv ", "npm ", "docker ", "cd ", "git ")
"""Commands that a page shows and no test runs: they install, build or change the reader's folder."""


def environment(folder: Path, python: Path, provider: str) -> dict[str, str]:
    """Return that of a reader: the programs beside `python` first, and providers that answer at the URL `provider`."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CACHECORE", "PYTEST")) or PATIENCE.match(key)
    }
    return {
        **kept,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "OPENAI_API_KEY": "sk-example",
        "ANTHROPIC_API_KEY": "sk-example",
        "OPENAI_BASE_URL": f"{provider}/v1",
        "ANTHROPIC_BASE_URL": provider,
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }


class Reader:
    """Does what a page says, block by block, in `folder`."""

    def __init__(self, page: Path, folder: Path, python: Path, provider: str, redis: str) -> None:
        self.page, self.folder, self.interpreter, self.redis = name(page), folder, str(python), redis
        self.text = page.read_text(encoding="utf-8")
        self.environment = environment(folder, python, provider)
        self.put: dict[str, str] = {}
        """From the port that a page names to the one that is free."""
        self.background = ExitStack()

    def read(self) -> None:
        """Do all that the page says."""
        with self.background:
            together: list[Block] = []
            for number, block in enumerate(blocks(self.text)):
                if block.language == "python":
                    compile(block.code, self.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                if block.note == "file":
                    (self.folder / block.said).parent.mkdir(parents=True, exist_ok=True)
                    (self.folder / block.said).write_text(self.own(block.code))
                elif block.note == "needs" and not installed(block.said):
                    continue
                elif block.note == "skip":
                    assert len(block.said.split()) > 2, "a reason is a sentence"
                elif block.note == "background":
                    self.serve(block)
                elif block.is_test:
                    self.test(block, number, together)
                elif block.language == "python":
                    together.append(block)
                elif block.language == "console":
                    self.console(block)
            if together:
                self.python(together)

    def own(self, text: str) -> str:
        """Return a text of the page with the test's own addresses."""
        for shown, real in self.put.items():
            text = re.sub(rf"(?<=:){shown}\b|(?<=port ){shown}\b", real, text)
        return REDIS.sub(self.redis, text)

    def python(self, codes: list[Block]) -> None:
        """Run blocks in one process; each prints what the page shows."""
        given = json.dumps([self.page, [self.own(block.code) for block in codes]])
        ran = self.run([self.interpreter, str(DRIVER)], given)
        assert ran.returncode == 0, ran.stderr
        printed = json.loads(ran.stdout.splitlines()[-1])
        for block, output in zip(codes, printed, strict=True):
            assert matches(self.own(block.output), output), f"{self.page}: {block.code}\nprinted:\n{output}"

    def test(self, block: Block, number: int, before: list[Block]) -> None:
        (self.folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        text = "\n\n".join(one.code for one in [*before, block])
        (self.folder / f"test_block_{number}.py").write_text(self.own(text))
        command = [self.interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_block_{number}.py"]
        ran = self.run(command)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def console(self, block: Block) -> None:
        for command, shown in block.commands:
            if not command.startswith(INSTALLS):
                ran = self.run(["bash", "-c", self.own(command)])
                said = ran.stdout + ran.stderr
                assert matches(self.own(shown), said), f"{self.page}: $ {command}\nprinted:\n{said}"

    def serve(self, block: Block) -> None:
        """Start the command of a block; if it has a port, wait until that takes connections."""
        ((command, _),) = block.commands
        port = free_port() if block.said.isdigit() else None
        if port is not None:
            self.put[block.said] = str(port)
        self.background.enter_context(serving(self.own(command), port, self))

    def run(self, command: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, input=given, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(command: str, port: int | None, reader: Reader) -> Iterator[None]:
    with (reader.folder / "background.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=reader.folder, env=reader.environment, stdout=log, stderr=log
        )
        try:
            end = time.monotonic() + 120
            while port is not None:
                assert process.poll() is None, (reader.folder / "background.log").read_text()
                with socket.socket() as one:
                    one.settimeout(0.2)
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert time.monotonic() < end, (reader.folder / "background.log").read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(60)


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def empty_server(running: dict[str, servers.Server]) -> str:
    """Return the address of a server without data; the same for all pages, one after the other."""
    installed = servers.installed()
    if not installed:
        pytest.skip("the page needs a Redis or Valkey server, and this machine has none")
    kind = max(installed)
    if kind not in running:
        running[kind] = servers.Server(installed[kind])
        running[kind].start()
    with redis.Redis.from_url(running[kind].url) as client:
        client.flushall()
    return running[kind].url
