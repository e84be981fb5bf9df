"""Every block of every page does what the page says, in an empty folder."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cachecore.testing import servers
from cachecore_llm.testing.provider import LocalProvider
from tests.docs.pages import REDIS, Block, blocks, matches, name, pages

pytestmark = pytest.mark.soak  # minutes: `make docs` runs them before it builds the site
ELSEWHERE = {"operating", "commands", "runbooks", "frameworks", "frameworks_web"}
"""Pages whose blocks are run by tests of their own, in `tests/integration/operating` and `tests/frameworks`."""
PAGES = [
    page
    for page in pages()
    if page.stem not in ELSEWHERE and re.search(r"^```(python|console)", page.read_text(encoding="utf-8"), re.MULTILINE)
]
DRIVER = Path(__file__).with_name("driver.py")
INSTALLS = ("pip install", "python -m venv", "make ", "uv ", "npm ", "docker ", "cd ", "git ")
"""Commands that a page shows and no test runs: they install, build or change the reader's folder."""


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalProvider]:
    with LocalProvider() as running:
        yield running


@pytest.fixture
def environment(provider: LocalProvider, tmp_path: Path) -> dict[str, str]:
    """That of a reader: this interpreter's programs first, keys of providers that answer on this machine."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CACHECORE", "PYTEST"))}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "OPENAI_API_KEY": "sk-example",
        "ANTHROPIC_API_KEY": "sk-example",
        "OPENAI_BASE_URL": provider.openai_url,
        "ANTHROPIC_BASE_URL": provider.url,
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }


class Reader:
    """Does what a page says, block by block, in `folder`."""

    def __init__(self, page: Path, folder: Path, environment: dict[str, str], redis: str) -> None:
        self.page, self.folder, self.environment, self.redis = name(page), folder, environment, redis
        self.put: dict[str, str] = {}
        """From the port that a page names to the one that is free."""
        self.background = ExitStack()

    def own(self, text: str) -> str:
        """Return a text of the page with the test's own addresses."""
        for shown, real in self.put.items():
            text = re.sub(rf"(?<=:){shown}\b|(?<=port ){shown}\b", real, text)
        return REDIS.sub(self.redis, text)

    def python(self, codes: list[Block]) -> None:
        """Run blocks in one process; each prints what the page shows."""
        given = json.dumps([self.page, [self.own(block.code) for block in codes]])
        ran = self.run([sys.executable, str(DRIVER)], given)
        assert ran.returncode == 0, ran.stderr
        printed = json.loads(ran.stdout.splitlines()[-1])
        for block, output in zip(codes, printed, strict=True):
            assert matches(self.own(block.output), output), f"{self.page}: {block.code}\nprinted:\n{output}"

    def test(self, block: Block, number: int, before: list[Block]) -> None:
        (self.folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        text = "\n\n".join(one.code for one in [*before, block])
        (self.folder / f"test_block_{number}.py").write_text(self.own(text))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_block_{number}.py"]
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
            timeout=120, check=False,
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
            end = time.monotonic() + 60
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
            process.wait(30)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_does_what_the_page_says(
    page: Path, environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = page.read_text(encoding="utf-8")
    redis = empty_server(request.getfixturevalue("running_servers")) if REDIS.search(text) else ""
    reader = Reader(page, tmp_path, environment, redis)
    with reader.background:
        together: list[Block] = []
        for number, block in enumerate(blocks(text)):
            if block.language == "python":
                compile(block.code, name(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if block.note == "file":
                (tmp_path / block.said).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / block.said).write_text(reader.own(block.code))
            elif block.note == "needs" and not installed(block.said):
                continue
            elif block.note == "skip":
                assert len(block.said.split()) > 2, "a reason is a sentence"
            elif block.note == "background":
                reader.serve(block)
            elif block.is_test:
                reader.test(block, number, together)
            elif block.language == "python":
                together.append(block)
            elif block.language == "console":
                reader.console(block)
        if together:
            reader.python(together)


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def empty_server(running: dict[str, servers.Server]) -> str:
    """Return the address of a server without data; the same for all pages, one after the other."""
    import redis

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


def test_an_output_is_compared() -> None:
    assert matches("a\nb … c\n…\nd\n", "a\nb 12 c\n1\n2\nd\n")
    assert matches("", "")
    assert not matches("a\n", "b\n")
    assert not matches("", "a\n")
    assert not matches("a …\n", "a b\nc\n")
