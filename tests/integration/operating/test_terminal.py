"""Commands in a real terminal: questions, progress, Ctrl-C, completion; and exit statuses of real processes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cachecore import Cache
from cachecore.testing.proxy import Link, Proxy
from tests.integration.operating.conftest import answers, fill

COMMAND = [sys.executable, "-m", "cachecore.cli"]
_PATIENCE = 60.0


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts background jobs with it ignored


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    _heed_interrupts()


class Terminal:
    """A command that runs in a pseudo-terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.seen = ""
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=_take_terminal,  # else Ctrl-C reaches no process
        )
        os.close(slave)

    def until(self, text: str) -> None:
        """Read what it prints until `text` is there."""
        limit = time.monotonic() + _PATIENCE
        while text not in self.seen:
            assert time.monotonic() < limit, f"{text!r} is not in {self.seen[-400:]!r}"
            assert self._read(), f"it ended without {text!r}: {self.seen[-400:]!r}"

    def until_it_waits(self) -> None:
        """Return once it sleeps: a Ctrl-C just before a program reads its terminal is seen at the next one only."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        limit = time.monotonic() + _PATIENCE
        while stat.read_text().rpartition(") ")[2][0] != "S":
            assert time.monotonic() < limit, self.seen[-400:]

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 1.0)
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Return its exit status, when all it printed was read."""
        while self._read():
            if self.process.poll() is not None and not select.select([self._master], [], [], 0)[0]:
                break
        status = self.process.wait(_PATIENCE)
        os.close(self._master)
        return status


def test_a_question_is_asked_and_no_is_no(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/answers.sqlite"
    fill(url)
    for answer, status, left in (("n", 4, ["first", "secon", "third"]), ("y", 0, [None, None, None])):
        terminal = Terminal("invalidate", url, "--tag", "shop", "--namespace", "faq/v3")
        terminal.until("(3 answers)? [y/N]")
        terminal.type(answer + "\n")
        assert terminal.end() == status, terminal.seen[-400:]
        assert answers(url) == left


def _half_way(proxy: Proxy) -> None:
    """Let half of two thousand answers through, and then nothing: an export does not end before it is interrupted."""
    passed = 0

    def alter(link: Link, piece: bytes) -> list[tuple[Link, bytes]]:
        nonlocal passed
        passed += len(piece)
        return [(link, piece)] if passed < 1_100_000 else []

    proxy.alter_replies(alter)


@pytest.mark.parametrize(("typed", "status", "word"), [("\x03", 130, "interrupted"), ("\x04", 4, "declined")])
def test_a_question_that_is_not_answered(tmp_path: Path, typed: str, status: int, word: str) -> None:
    """Ctrl-C is an interrupt there, too, and Ctrl-D is a no."""
    url = f"sqlite:///{tmp_path}/answers.sqlite"
    fill(url)
    terminal = Terminal("invalidate", url, "--tag", "shop", "--json")
    terminal.until("[y/N]: ")
    terminal.until_it_waits()
    terminal.type(typed)
    assert terminal.end() == status, terminal.seen[-400:]
    assert f'"ended": "{word}"' in terminal.seen
    assert answers(url) == ["first", "secon", "third"]


def test_ctrl_c_says_what_was_done(tmp_path: Path, redis_url: str) -> None:
    """In the middle of an export: the status is 130, the count is said, and --resume goes on."""

    async def fill_many() -> None:
        async with Cache(redis_url, ttl=3600) as cache:
            await cache.set_many(dict.fromkeys(range(2000), "x" * 1000), required=True)

    asyncio.run(fill_many())
    archive = tmp_path / "archive"
    with Proxy(urlsplit(redis_url).port or 0) as proxy:
        _half_way(proxy)
        terminal = Terminal("export", str(archive), proxy.url)
        part = archive.with_name("archive.part")
        limit = time.monotonic() + _PATIENCE
        while not (part.exists() and part.stat().st_size > 8000):
            assert time.monotonic() < limit, terminal.seen[-400:]
            terminal._read()
        terminal.type("\x03")
        assert terminal.end() == 130, terminal.seen[-400:]
    end = terminal.seen[-400:]
    assert "answers written; export --resume goes on with them" in end
    assert "interrupted" in end
    assert "Traceback" not in end
    assert not archive.exists()
    done = subprocess.run(
        [*COMMAND, "export", str(archive), redis_url, "--resume", "--json"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answers"] == 2000


def test_an_interrupt_with_json_is_json(tmp_path: Path, redis_url: str) -> None:
    async def fill_many() -> None:
        async with Cache(redis_url, ttl=3600) as cache:
            await cache.set_many(dict.fromkeys(range(2000), "x" * 1000), required=True)

    asyncio.run(fill_many())
    with Proxy(urlsplit(redis_url).port or 0) as proxy:
        _half_way(proxy)
        command = [*COMMAND, "export", f"{tmp_path}/archive", proxy.url, "--json"]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
        part = tmp_path / "archive.part"
        limit = time.monotonic() + _PATIENCE
        while not (part.exists() and part.stat().st_size > 8000):
            assert time.monotonic() < limit
            select.select([], [], [], 0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 130, err
    told = json.loads(out)
    assert told["ended"] == "interrupted"
    assert 0 < told["answers"] < 2000


def _long_log(folder: Path) -> Path:
    log = folder / "log.jsonl"
    record = '{"system_prompt": "Be brief.", "user_message": "Question %d?"}\n'
    log.write_text("".join(record % (number % 30_000) for number in range(60_000)))
    return log


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["analyse"], ["exact hit rate", "the rest of log.jsonl was not read"]),
        (["replay", "--backend", "memory://", "--speed", "1000"], ["provider calls made", "run it again"]),
    ],
)
def test_ctrl_c_shows_what_was_found_so_far(tmp_path: Path, command: list[str], says: list[str]) -> None:
    """Of a long log, the part that was read."""
    terminal = Terminal(command[0], str(_long_log(tmp_path)), *command[1:])
    terminal.until("/s")
    limit = time.monotonic() + _PATIENCE
    while not re.search(r"[1-9][\d,]* requests", terminal.seen):
        assert time.monotonic() < limit, terminal.seen[-400:]
        terminal._read()
    terminal.type("\x03")
    assert terminal.end() == 130, terminal.seen[-400:]
    assert all(words in terminal.seen for words in says), terminal.seen[-2000:]
    assert "Traceback" not in terminal.seen


def test_progress_is_live_on_a_terminal_and_silent_elsewhere(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/answers.sqlite"
    fill(url)
    terminal = Terminal("copy", url, f"sqlite:///{tmp_path}/other.sqlite")
    assert terminal.end() == 0, terminal.seen[-400:]
    assert "copying" in terminal.seen
    assert "3 of 3 answers stored" in terminal.seen
    done = subprocess.run([*COMMAND, "stats", url], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [["--version"], ["ls"], ["ls", "--json"], ["stats"]])
def test_output_to_a_full_device_is_one_line(tmp_path: Path, command: list[str]) -> None:
    url = f"sqlite:///{tmp_path}/answers.sqlite"
    fill(url)
    environment = {**os.environ, "CACHECORE_BACKEND": url}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *command], stdout=full, stderr=subprocess.PIPE, env=environment, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "the output cannot be written: No space left on device\n")


@pytest.mark.parametrize(("room", "there"), [(0, 500), (200_000, 500), (0, 3)])
def test_an_export_onto_a_full_disk_is_gone_on_with(tmp_path: Path, redis_url: str, room: int, there: int) -> None:
    async def fill_many() -> None:
        async with Cache(redis_url, ttl=3600) as cache:
            await cache.set_many(dict.fromkeys(range(there), "x" * 1000), required=True)

    asyncio.run(fill_many())
    export = [*COMMAND, "export", f"{tmp_path}/archive", redis_url, "--json"]
    done = subprocess.run(["prlimit", f"--fsize={room}", *export], capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    assert told["problem"] == f"{tmp_path}/archive.part: File too large"
    assert told["answers"] * 1000 <= room, "counted, and in no file"
    done = subprocess.run([*export, "--resume"], capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["answers"]) == (0, there), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str) -> None:
    """The shell asks the command itself; commands of plugins are among them."""
    environment = {**os.environ, "_CACHECORE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "cachecore in"}
    environment |= {"COMP_WORDS": "cachecore in", "COMP_CWORD": "1", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    script = Path(sys.executable).with_name("cachecore")
    done = subprocess.run([str(script)], env=environment, capture_output=True, text=True, check=False)
    assert "invalidate" in done.stdout, done.stderr


def test_versions_are_told() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=False)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert (done.returncode, names[-1]) == (0, "Python")
    assert {"cachecore-framework", "cachecore-redis", "cachecore-sqlite", "cachecore-llm"} <= set(names)
