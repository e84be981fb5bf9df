"""docs/telemetry.md names each metric of this package, with the unit that it is made with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.metrics import NoOpMeter

from cachecore_llm.cost.instruments import Instruments
from cachecore_llm.similar.shadow import ShadowCheck

PAGE = Path(__file__).resolve().parents[3] / "docs" / "telemetry.md"


class ListingMeter(NoOpMeter):
    """A meter that lists the names and units of its instruments."""

    def __init__(self) -> None:
        super().__init__("test")
        self.units: dict[str, str] = {}

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("create_"):
            return found

        def create(instrument: str, *arguments: Any, **options: Any) -> Any:
            unit = arguments[0] if isinstance(arguments[0], str) else arguments[1]
            self.units[instrument] = unit
            return found(instrument, *arguments, **options)

        return create


def test_the_page_names_each_metric_with_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = ListingMeter()
    Instruments(meter)
    monkeypatch.setattr(metrics, "get_meter", lambda _: meter)
    ShadowCheck(lambda *_: True)
    page = PAGE.read_text(encoding="utf-8").partition("### Of calls to models")[2].partition("\n## ")[0]
    listed = dict(re.findall(r"^\| `([\w.]+)` \|[^|]*\| ([^|:]+): [^|]+\|$", page, re.MULTILINE))
    assert listed == meter.units
    assert len(listed) == 8
