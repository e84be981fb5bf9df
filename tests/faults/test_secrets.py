"""X4: planted secrets do not come out anywhere, whatever goes wrong."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from urllib.parse import quote

from redis import Redis

from cachecore.testing.servers import Server
from tests.conftest import Record
from tests.faults.callers import sizes
from tests.faults.test_process_life import ROOT

PASSWORD = "Pl4nted-Passw0rd-7c1f"
PROMPT = "planted prompt: the patient is called Quixotella"
VALUE = "planted value: her number is 8675309"


def shapes(secret: str) -> list[str]:
    """Return what a secret may look like when it comes out."""
    raw = secret.encode()
    return [secret, repr(raw)[2:-1], raw.hex(), quote(secret), base64.b64encode(raw).decode().rstrip("=")[:-2]]


@sizes(1, 1)
def test_x4_planted_secrets(size: int, any_server: Server, record: Record) -> None:
    """Everything that comes out of the library, at DEBUG and under faults, is searched."""
    with Redis(unix_socket_path=str(any_server.socket_path)) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        admin.config_set("requirepass", PASSWORD)
    arguments = [str(any_server.port), str(any_server.socket_path), PASSWORD, PROMPT, VALUE]
    command = [sys.executable, "-m", "tests.faults.leaks", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    places: dict[str, str] = {"stderr": ended.stderr}
    for line in ended.stdout.splitlines():
        places.update({place: "\n".join(texts) for place, texts in json.loads(line).items()})
    found = [
        (place, name, text[max(0, text.find(shape) - 300) : text.find(shape) + 60])
        for place, text in places.items()
        for name, secret in (("password", PASSWORD), ("prompt", PROMPT), ("value", VALUE))
        for shape in shapes(secret)
        if shape in text
    ]
    assert found == []
    # That something came out of each place at all:
    assert "InvalidationPending" in places["errors"]
    assert "UnkeyableError" in places["errors"]
    assert "cachecore" in places["logs"]
    assert "cachecore.backend.errors" in places["metrics"]
    assert "cachecore.get" in places["spans"]
    assert "cc:e:" in places["keys"]
    assert "SET" in places["slowlog"]
    assert "127.0.0.1" in places["repr"]
    searched = f"{sum(map(len, places.values())):,} characters from {len(places)} places"
    record("X4", "0 found", met=True, size=searched)
