"""The page on keys of calls: its example runs as it is, and its table is the table of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cachecore_llm.key import TABLE, Verdict

PAGE = (Path(__file__).parents[3] / "docs" / "keys-llm.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| `([\w.]+)` \| ([a-z, ]+) \| (not keyed|bypass|refused) \| (.+) \|")


def test_the_example_runs() -> None:
    code = PAGE.split("```python\n")[1].split("```")[0]
    said = PAGE.split("```text\n")[1].split("```")[0].strip()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == said


def test_the_table_is_that_of_the_code() -> None:
    """The page is what was decided: a verdict that changes by mistake is noticed here."""
    listed = set()
    for name, protocols, verdict, reason in ROW.findall(PAGE):
        for protocol in TABLE:
            if (protocols == "all" and protocol != "plain") or protocol.rpartition(".")[2] in protocols.split(", "):
                listed.add((protocol, name, verdict, reason))
    assert len(listed) > 50
    assert listed == {
        (protocol, row.name, row.verdict.value, row.reason)
        for protocol, rows in TABLE.items()
        for row in rows
        if row.verdict is not Verdict.KEYED
    }
