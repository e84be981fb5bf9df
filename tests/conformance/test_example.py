"""The backend in docs/plugins.md is short and keeps the contract."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import CHECKS, Check

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
MOST_LINES = 120


def example() -> str:
    """Return the code of the page that defines a backend."""
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "MyDriver" in block
    ]
    return str(code)


NAMES: dict[str, Any] = {"__name__": "example"}
exec(compile(example(), str(PAGE), "exec"), NAMES)


class ExampleHarness:
    """Backends on one store, on a clock that is moved by hand."""

    ttl_rounding = 0.0

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.driver = NAMES["MyDriver"]()
        self.backend = NAMES["MyBackend"](self.driver, clock=self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    leap = advance

    async def another(self) -> Any:
        return NAMES["MyBackend"](self.driver, clock=self.clock)


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_example_keeps_the_contract(check: Check) -> None:
    await check(ExampleHarness())


def test_example_is_short() -> None:
    assert len(example().splitlines()) <= MOST_LINES
