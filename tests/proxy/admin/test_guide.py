"""docs/gateway-page.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cachecore_proxy import activity
from cachecore_proxy.admin import listing, overview, pages, purging, sessions
from cachecore_proxy.config_file import read
from tests.proxy.admin.scene import TOKEN

GUIDE = (Path(__file__).parents[3] / "docs" / "gateway-page.md").read_text()


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)
    return str(found)


def test_the_settings_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('store = "memory://"\n[[upstreams]]\nname = "p"\nurl = "https://api.openai.com"\n' + block("toml"))
    settings = read(file, environment={"GATEWAY_PAGE_TOKEN": TOKEN})
    assert settings.admin == {"port": 8081, "token": TOKEN}


def test_the_example_runs() -> None:
    names: dict[str, object] = {}
    exec(block("python"), names)
    assert callable(names["app"])


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("five wrong guesses", sessions.MOST_FAILURES == 5),
        ("or sixty from all", sessions.MOST_FAILURES_OF_ALL == 60),
        ("rest of the minute", sessions.WINDOW == 60),
        ("an hour without a request, twelve\n  hours", (sessions.IDLE, sessions.LIFE) == (3600, 43_200)),
        ("5,000 names\n  have a row", activity.MAX_ROWS == 5000),
        ("cut at 200 characters", activity.MAX_NAME == 200),
        ("the last 200 misses", activity.MAX_MISSES == pages._MOST_MISSES == 200),
        ("up to 200 of each kind", pages._MOST_ROWS == 200),
        ("looks at 5,000 entries for 5 seconds", (listing.MOST, listing.SECONDS) == (5000, 5.0)),
        ("up to 50,000 are counted", purging.MOST_COUNTED == 50_000),
        ("for 1 min, 5 min or 1 h", list(overview.WINDOWS.values()) == ["1 min", "5 min", "1 h"]),
    ],
)
def test_the_bounds_are_those_of_the_code(said: str, number: bool) -> None:
    assert said in GUIDE
    assert number
