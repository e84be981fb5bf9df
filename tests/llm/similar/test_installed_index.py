"""An index that another distribution brings: built into a wheel, installed by pip, found by its name."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "tiny-similarity"
version = "1.0"

[project.entry-points."cachecore.similarity"]
tiny = "tiny_similarity:TinyIndex"
broken = "tiny_similarity:nothing"
no_index = "tiny_similarity:dict_of_bounds"
"""
MODULE = '''
from cachecore_llm.similar.protocol import Match

MADE = []


class TinyIndex:
    """Finds every other question of the partition, the last one first."""

    def __init__(self, *, threshold, max_messages, max_chars, max_bytes):
        self.bounds = [threshold, max_messages, max_chars, max_bytes]
        self.known = {}
        MADE.append(self)

    def __len__(self):
        return sum(map(len, self.known.values()))

    @property
    def size_bytes(self):
        return 100 * len(self)

    def takes(self, message):
        return True

    def add(self, partition, message):
        self.known.setdefault(partition, {})[message] = True

    def discard(self, partition, message):
        self.known.get(partition, {}).pop(message, None)

    async def search(self, partition, message):
        return [Match(one, 0.5) for one in reversed(self.known.get(partition, {})) if one != message]


def dict_of_bounds(**bounds):
    return bounds
'''
ASK = """
import asyncio, json
import tiny_similarity
from cachecore import CacheError
from cachecore_llm import CacheConfig, LLMResponse, LLMService, ResponseCache

class Bank:
    name = "bank"
    up = True

    async def generate(self, system_prompt, user_message, context=None, **params):
        if not self.up:
            raise ConnectionError("down")
        return LLMResponse(content=f"To {user_message}", model="m", finish_reason="stop")

async def use():
    bank = Bank()
    cache = ResponseCache("memory://", CacheConfig(similar_index="tiny", similar_max_messages=7))
    async with LLMService(bank, cache) as service:
        for question in ("How do I order a card?", "How do I lose a card?"):
            await service.generate("Bank.", question, model="m")
        bank.up = False
        answer = await service.generate("Bank.", "How can I order the card?", model="m")
    return [answer.cache_status, answer.similarity, answer.matched_message, tiny_similarity.MADE[-1].bounds]

def refused(name):
    try:
        ResponseCache("memory://", CacheConfig(similar_index=name))
    except CacheError as error:
        return f"{type(error).__name__}: {error}"

print(json.dumps([asyncio.run(use()), refused("broken"), refused("no_index"), tiny_similarity.__file__]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheel of the distribution; nothing is fetched."""
    folder = tmp_path_factory.mktemp("tiny")
    source = folder / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "tiny_similarity.py").write_text(textwrap.dedent(MODULE))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    _run(build)
    (wheel,) = folder.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    _run([*install, "--no-index", "--target", str(folder / "site"), str(wheel)])
    return folder / "site"


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment or None)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_index_is_used_by_its_name(site: Path) -> None:
    """With the bounds of the configuration and under the laws: its first match is another question."""
    told = _run([sys.executable, "-W", "error", "-c", ASK], PYTHONPATH=str(site))
    used, broken, no_index, where = json.loads(told)
    assert where.startswith(str(site))
    assert used == ["similar", 0.5, "How do I order a card?", [0.6, 7, 2000, 32 << 20]]
    assert broken.startswith("PluginNotFound: ")
    assert "broken" in broken
    assert no_index.startswith("OptionsError: similar_index must be an entry point of cachecore.similarity")
