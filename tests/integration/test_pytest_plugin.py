"""The pytest plugin by the examples of its page, and what libraries that move time do to a cache."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cachecore.testing import servers

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "test-with-a-clock.md"
INVALIDATES = '        await self.cache.invalidate_tags(f"item:{item}")  # without this line the first test fails\n'


def run(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_it.py").write_text(text)
    # pytest-asyncio asks for the setting with a warning, and a warning is an error here.
    settings = ["[pytest]", "asyncio_default_fixture_loop_scope = function", "filterwarnings = error"]
    (tmp_path / "pytest.ini").write_text("\n".join(settings))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)


def test_the_example_fails_when_the_application_forgets_to_invalidate(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (example,) = (one for one in examples if INVALIDATES in one)
    ran = run(tmp_path, example)
    assert "2 passed" in ran.stdout, ran.stdout
    ran = run(tmp_path, example.replace(INVALIDATES, ""))
    assert "test_a_new_price_is_seen_at_once - assert 3 == 4" in ran.stdout, ran.stdout
    assert "1 failed, 1 passed" in ran.stdout


def test_the_server_of_the_plugin_is_real_and_empty(tmp_path: Path) -> None:
    if not servers.installed():
        pytest.skip("no server on this machine")
    text = """
from cachecore import SyncCache
import pytest

@pytest.mark.parametrize("n", [1, 2])
def test_each_test_begins_with_an_empty_database(redis_url, n):
    with SyncCache(redis_url, ttl=60) as cache:
        assert cache.get("q") is None
        assert cache.set("q", n)
"""
    assert "2 passed" in run(tmp_path, text).stdout


TOOLS = {
    "freezegun": "freezegun.freeze_time('2031-05-01') as moved",
    "time_machine": "time_machine.travel('2031-05-01', tick=True) as moved",
}


@pytest.mark.parametrize("url", ["memory://", "sqlite:///a.db"])
@pytest.mark.parametrize("tool", TOOLS)
def test_time_that_is_moved_forward_ends_answers(tool: str, url: str, tmp_path: Path) -> None:
    pytest.importorskip(tool)
    code = f"""
import datetime, {tool}
from cachecore import SyncCache
calls = []
def ask():
    calls.append(1)
    return len(calls)
with {TOOLS[tool]}:
    move = getattr(moved, "shift", None) or moved.tick
    with SyncCache({url!r}, ttl=3600, backend_timeout=10) as cache:
        said = [cache.get_or_set("q", ask)]
        for minutes in (0, 50, 20, 30, 40, 120):
            move(datetime.timedelta(minutes=minutes))
            said.append(cache.get_or_set("q", ask))
print(*said)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "1 1 1 2 2 3 4\n", ran.stderr
