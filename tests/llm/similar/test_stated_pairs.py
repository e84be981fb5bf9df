"""The pairs on the page of similar answers: each shares an answer or not as the page says, by the law it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cachecore_llm import CacheConfig
from cachecore_llm.similar.grams import cosine, grams
from cachecore_llm.similar.laws import disagreement
from tests.docs.tables import cells

PAGE = Path(__file__).resolve().parents[3] / "docs" / "similar.md"
PAIRS = cells(PAGE, "answered before")


@pytest.mark.parametrize("before", PAIRS)
def test_a_stated_pair_is_as_it_is_stated(before: str) -> None:
    pair = PAIRS[before]
    assert cosine(grams(before), grams(pair["asked now"])) >= CacheConfig().similar_threshold
    law = disagreement(before, pair["asked now"])
    assert (pair["shared"], pair["law"]) == (("yes", "") if law is None else ("no", law))
