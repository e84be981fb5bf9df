"""The examples of docs/streams.md, run as a reader would; and its defaults, which are those of the options."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cachecore.contract.options import StoreOptions

GUIDE = Path(__file__).parents[2] / "docs" / "streams.md"


def test_the_examples_do_what_they_say() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    outputs = [
        subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=60, check=True).stdout
        for block in blocks
    ]
    assert outputs == [
        "Paris is the capital.computed\nParis is the capital. hit\nParis is the capital.\n",
        "a \nb\n",
    ]


def test_the_defaults_are_those_of_the_options() -> None:
    options = StoreOptions()
    said = f"`stream_max_bytes` ({options.stream_max_bytes >> 20} MiB) and `stream_max_chunks` "
    assert said + f"({options.stream_max_chunks:,})" in GUIDE.read_text()
