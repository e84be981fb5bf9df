"""Logs with declared repetition, and the hit rate of a cache for them."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

import pytest
from rich.console import Console

from cachecore import OptionsError
from cachecore_llm import SimulatedProvider
from cachecore_llm.key import RULES, normalised_text
from cachecore_llm.replay.command import Settings, open_cache, replay_through
from cachecore_llm.replay.log import LogReader
from cachecore_llm.replay.report import Report
from cachecore_llm.workload import repeated_part, respelled, zipf_mix

QUESTIONS = tuple(f"Where is card number {number}, and the other café?" for number in range(400))


def mix(**given: int) -> list[str]:
    return zipf_mix(QUESTIONS, requests=300, one_off=0.4, exponent=0.8, chance=random.Random(3), **given)


async def replayed(folder: Path, questions: list[str], *, normalise: bool) -> Report:
    """Return the report of a cache that keeps everything, asked one question after the other."""
    log = folder / "log.jsonl"
    log.write_text("\n".join(json.dumps({"system_prompt": "s", "user_message": text}) for text in questions))
    settings = Settings(backend="memory://", concurrency=1, normalise=normalise)
    async with open_cache("memory://", settings) as cache:
        return await replay_through(cache, SimulatedProvider(speed=1e6), LogReader(log), settings, Console(quiet=True))


class TestRepeatedPart:
    @pytest.mark.parametrize(
        ("questions", "part"), [([], 0.0), (["a"], 0.0), (["a", "b", "a", "a"], 0.5), (["a", "A"], 0.0)]
    )
    def test_counts(self, questions: list[str], part: float) -> None:
        assert repeated_part(questions) == part

    @pytest.mark.parametrize("normalise", [False, True])
    async def test_it_is_the_hit_rate(self, tmp_path: Path, *, normalise: bool) -> None:
        questions = respelled(mix(), share=0.5, chance=random.Random(4))
        report = await replayed(tmp_path, questions, normalise=normalise)
        keyed = [normalised_text(text, frozenset(RULES)) for text in questions] if normalise else questions
        assert report.tally.hit_rate == pytest.approx(repeated_part(keyed))
        assert report.provider_calls == len(set(keyed))


class TestPopular:
    def test_so_many_questions_come_back(self) -> None:
        counts = [mix(popular=20).count(text) for text in QUESTIONS]
        assert sum(count > 0 for count in counts) <= 120 + 20
        assert sum(counts) == 300
        assert repeated_part(mix(popular=20)) > repeated_part(mix(popular=200)) > repeated_part(mix())

    @pytest.mark.parametrize("popular", [0, -1, 281])
    def test_more_or_less_than_there_are(self, popular: int) -> None:
        with pytest.raises(OptionsError, match=f"popular must be from 1 to the 280 questions .* not {popular}"):
            mix(popular=popular)


class TestRespelled:
    def test_no_slip_changes_more_than_is_normalised(self) -> None:
        typed = respelled(QUESTIONS, share=1.0, chance=random.Random(1))
        forms = {text.replace(one, "") for one, text in zip(QUESTIONS, typed, strict=True) if text.startswith(one)}
        assert len(set(typed) & set(QUESTIONS)) == 0
        assert {" "} <= forms
        assert any("\u0301" in text for text in typed)
        for one, text in zip(QUESTIONS, typed, strict=True):
            assert normalised_text(text, frozenset(RULES)) == normalised_text(one, frozenset(RULES))
            assert unicodedata.normalize("NFC", text).split()[:3] == one.split()[:3]

    def test_share(self) -> None:
        typed = respelled(QUESTIONS, share=0.25, chance=random.Random(1))
        changed = sum(one != text for one, text in zip(QUESTIONS, typed, strict=True))
        assert 0.15 * len(QUESTIONS) < changed < 0.35 * len(QUESTIONS)
        assert respelled(QUESTIONS, share=0.0, chance=random.Random(1)) == list(QUESTIONS)

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
    def test_no_share(self, share: float) -> None:
        with pytest.raises(OptionsError, match="share must be from 0 to 1"):
            respelled(QUESTIONS, share=share, chance=random.Random(1))
