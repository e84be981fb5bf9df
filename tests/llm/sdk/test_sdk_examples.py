"""The examples run as they stand, twice: the second time nothing is asked."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cachecore_llm.testing.provider import LocalProvider

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", ["openai_client.py", "anthropic_client.py"])
async def test_example(name: str, tmp_path: Path) -> None:
    """The answer is printed, with where it came from."""
    async with LocalProvider() as provider:
        keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
        urls = {"OPENAI_BASE_URL": provider.openai_url, "ANTHROPIC_BASE_URL": provider.url}
        told = []
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(EXAMPLES / name),
                "Why?",
                env={**os.environ, **keys, **urls},
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
            )
            told.append((await process.communicate())[0].decode().splitlines())
        assert provider.calls == 1
        assert told[0][:-1] == told[1][:-1] != []
        assert told[0][-1].startswith("cachecore; fwd=miss")
        assert told[1][-1].startswith("cachecore; hit; ttl=")
