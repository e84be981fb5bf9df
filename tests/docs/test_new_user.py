"""Five tasks of a new user, done from the pages alone: in a new venv, with wheels of this checkout, in an empty folder.

1. Cache a function over SQLite. 2. The OpenAI SDK with Redis. 3. The erasure of a tenant. 4. A test with a clock.
5. A backend of one's own. The tutorial is done there as well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachecore_llm.testing.provider import LocalProvider
from tests.docs.pages import DOCS, REDIS, ROOT
from tests.docs.reader import Reader, empty_server

pytestmark = pytest.mark.soak  # a venv is installed: a minute, and it needs the package index
PAGES = {
    "a function over SQLite": "tutorial/1-script.md",
    "the OpenAI SDK with Redis": "sdk-openai.md",
    "the erasure of a tenant": "howto/erase-tenant.md",
    "a test with a clock": "howto/test-with-a-clock.md",
    "a backend": "plugins.md",
}
TUTORIAL = sorted(f"tutorial/{path.name}" for path in (DOCS / "tutorial").glob("[2-9]-*.md"))
PARTS = [".", "backends/sqlite", "backends/redis", "integrations/llm"]
BESIDE = ["pytest", "pytest-asyncio", "fastapi", "uvicorn"]
"""Packages that the pages tell a reader to install beside the project's own."""


def run(command: list[str], folder: Path) -> str:
    """Return the output of `command`; fail with it if the command fails."""
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv that has the wheels and knows nothing of the checkout."""
    home = tmp_path_factory.mktemp("reader")
    wheels = home / "wheels"
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(wheels),
    ]
    run([*build, *(str(ROOT / part) for part in PARTS)], home)
    venv.create(home / "venv", with_pip=True)
    python = home / "venv" / "bin" / "python"
    files = [f"{one}[openai,testing]" if one.name.startswith("cachecore_llm") else str(one) for one in wheels.iterdir()]
    run([str(python), "-m", "pip", "install", "--quiet", *files, *BESIDE], home)
    place = run([str(python), "-c", "import cachecore; print(cachecore.__file__)"], home)
    assert Path(place.strip()).is_relative_to(home)
    return python


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalProvider]:
    with LocalProvider() as running:
        yield running


@pytest.mark.parametrize("path", [*PAGES.values(), *TUTORIAL], ids=[*PAGES, *TUTORIAL])
def test_a_task_is_done_from_its_page(
    path: str, python: Path, provider: LocalProvider, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = DOCS / path
    with_redis = REDIS.search(page.read_text(encoding="utf-8"))
    server = empty_server(request.getfixturevalue("running_servers")) if with_redis else ""
    Reader(page, tmp_path, python, provider.url, server).read()


def test_the_backend_of_the_examples_is_installed_and_used(python: Path, tmp_path: Path) -> None:
    """The folder is copied, as its page says, and its tests and its URL work."""
    copy = shutil.copytree(ROOT / "examples" / "backend", tmp_path / "mine")
    run([str(python), "-m", "pip", "install", "--quiet", str(copy)], tmp_path)
    assert "passed" in run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "mine/test_contract.py"], tmp_path
    )
    code = (
        "from cachecore import SyncCache\n"
        "with SyncCache('folder://answers', ttl='1h') as cache: print(cache.get_or_set('q', lambda: 42))"
    )
    assert [run([str(python), "-c", code], tmp_path) for _ in range(2)] == ["42\n", "42\n"]
    assert len(list((tmp_path / "answers").iterdir())) > 1


def test_the_pages_are_there() -> None:
    assert len(TUTORIAL) == 5
    assert all((DOCS / page).is_file() for page in PAGES.values())
