"""The examples of docs/frameworks_web.md, each a module that a program of its own uses twice, on a real store."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks.test_isolation import ROOT, installed

PAGE = (ROOT / "docs/frameworks_web.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = {
    name: "\n\n".join(re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
    for name, section in SECTIONS.items()
}
"""The blocks of each section, one after another."""

DJANGO = """
from django.conf import settings

settings.configure(CACHES=example.CACHES)
from django.core.cache import cache

cache.set("apple", 3)
print(cache.get("apple"), cache.incr("apple"), cache.default_timeout)
"""
FASTAPI = """
import asyncio
import httpx


async def main():
    transport = httpx.ASGITransport(app=example.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        first, second = [await client.get("/items/7") for _ in range(2)]
        print(first.json(), second.json(), first.headers["cache-control"])
        print((await client.get("/items/7", headers={"If-None-Match": first.headers["etag"]})).status_code)
        mine = [await client.get("/me", headers={"X-User": user}) for user in ("ann", "bob", "ann")]
        print(*(one.json()["name"] for one in mine), mine[0].headers["cache-control"])
        print((await client.get("/me")).status_code)
    print(example.cache.stats.hits, example.cache.stats.stored)
    await example.cache.aclose()


asyncio.run(main())
"""
FLASK_CACHING = """
client = example.app.test_client()
print([client.get("/prices").json for _ in range(2)])
stats = example.cache.cache._sync.stats
print(stats.hits, stats.stored)
"""
FASTMCP = """
import asyncio
from fastmcp import Client


async def main():
    async with Client(example.server) as client:
        print([(await client.call_tool("double", {"number": 4})).data for _ in range(3)])
    print(example.cache.stats.stored > 0, example.cache.stats.hits >= 2)
    await example.cache.aclose()


asyncio.run(main())
"""
PROGRAMS = {
    "Django": ("django", DJANGO, "3 4 300\n"),
    "FastAPI": (
        "fastapi",
        FASTAPI,
        "{'id': 7} {'id': 7} public, max-age=60\n304\nann bob ann private, max-age=10\n422\n3 3\n",
    ),
    "Flask-Caching": ("flask_caching", FLASK_CACHING, "[{'apple': 3}, {'apple': 3}]\n1 1\n"),
    "py-key-value and FastMCP": ("fastmcp", FASTMCP, "[8, 8, 8]\nTrue True\n"),
}
"""For each section the package it needs, what is done with its example, and what that prints."""


def test_every_example_is_run() -> None:
    assert EXAMPLES.keys() == PROGRAMS.keys()


@pytest.mark.parametrize("section", PROGRAMS)
def test_an_example_works(section: str, redis_address: str, tmp_path: Path) -> None:
    package, program, said = PROGRAMS[section]
    if not installed(package):
        pytest.skip(f"{package} is not installed: make frameworks")
    assert "redis://localhost:6379" in EXAMPLES[section]
    (tmp_path / "example.py").write_text(EXAMPLES[section].replace("redis://localhost:6379", redis_address))
    (tmp_path / "program.py").write_text(f"import example\n{program}")
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == said, done.stderr
