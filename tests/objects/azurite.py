"""Azurite, the server of Azure's blobs for tests, from npm."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from cachecore.testing.servers import free_port, give_back

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60  # Azurite loads 10,000 files of JavaScript
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The public account of every Azurite."""


def azurite_program() -> str | None:
    """Return the path of Azurite's server of blobs; `make azurite` installs it."""
    folder = ROOT / ".venv-azurite" / "node_modules" / ".bin"
    return shutil.which("azurite-blob", path=os.pathsep.join([str(folder), os.environ.get("PATH", "")]))


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """Run a server until the block ends; the block begins once it listens at `port`."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            limit = time.monotonic() + _START_SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                    assert time.monotonic() < limit, f"{command[0]} does not listen"
                    time.sleep(0.02)  # the server's own start has no signal to wait for
            yield port
        finally:
            process.kill()
            give_back(port)


def azurite(program: str) -> contextlib.AbstractContextManager[int]:
    """Run Azurite in memory."""
    port = free_port()
    return running(
        [program, "--blobPort", str(port), "--inMemoryPersistence", "--silent", "--skipApiVersionCheck"], port
    )


def make_container(port: int, name: str) -> None:
    """Make a container of Azure's, which obstore cannot: one request, signed with the account's key."""
    date = email.utils.formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{header}:{value}" for header, value in headers.items())]
    text = "\n".join([*lines, f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
    url = f"http://127.0.0.1:{port}/{ACCOUNT}/{name}?restype=container"
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=10) as answer:
        assert answer.status == 201


def azure_url(port: int, container: str) -> str:
    """Return the address of a folder of a container."""
    where = f"endpoint=http://127.0.0.1:{port}/{ACCOUNT}&account_name={ACCOUNT}&account_key={quote(KEY, safe='')}"
    return f"az://{container}/some/folder?{where}"
