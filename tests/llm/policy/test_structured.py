"""JSON as the standard has it: what is valid may be stored, what is not never is."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

from cachecore_llm.policy.structured import UNREADABLE, parsed


def test_json_of_the_test_suite(shared_data: Path) -> None:
    """The 283 cases with one right verdict; bytes that are no UTF-8 cannot come as text."""
    with gzip.open(shared_data / "vectors/JSONTestSuite.jsonl.gz") as packed:
        cases = [json.loads(line) for line in packed]
    wrong, judged = [], 0
    for case in cases:
        try:
            text = base64.b64decode(case["b64"]).decode()
        except UnicodeDecodeError:
            continue
        if case["expect"] in ("accept", "reject"):
            judged += 1
            if (parsed(text) is not UNREADABLE) != (case["expect"] == "accept"):
                wrong.append(case["name"])
    assert not wrong
    assert judged > 200
