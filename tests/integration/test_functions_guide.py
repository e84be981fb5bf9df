"""The examples of docs/functions.md, run one after another as a reader would."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from cachecore.api.option_types import PolicyOptions

GUIDE = Path(__file__).parents[2] / "docs" / "functions.md"


def test_the_examples_do_what_they_say(capsys: Any) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 7
    names: dict[str, Any] = {"__name__": "guide"}
    for block in blocks:
        exec(compile(block, GUIDE.name, "exec"), names)
    asyncio.run(names["main"]())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "{'user': 1} {'user': 1}"
    assert lines[1].startswith("hit cc:e:")
    assert lines[2] == "2"
    asyncio.run(names["cache"].aclose())
    names["plain"].close()


def test_the_table_names_options_that_there_are() -> None:
    (row,) = (line for line in GUIDE.read_text().splitlines() if line.startswith("| `ttl`"))
    assert set(re.findall(r"`(\w+)`", row.split("|")[1])) <= PolicyOptions.__optional_keys__ | {"ttl"}
