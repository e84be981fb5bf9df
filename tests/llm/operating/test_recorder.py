"""The recorder: what it keeps, what it does not, and that an analysis of it says what one of the whole log says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cachecore import OptionsError, cli
from cachecore.serializers import EncryptedSerializer
from cachecore_llm import LLMService, SimulatedProvider
from cachecore_llm.operating import Recorder

QUESTIONS = [f"Question {n % 40} of a customer?" for n in range(120)]


def asked(recorder: Recorder, questions: list[str], **params: Any) -> None:
    async def ask() -> None:
        async with LLMService(SimulatedProvider(speed=1e6), "memory://") as service:
            service.cache.flow.recorder = recorder
            for n, one in enumerate(questions):
                answer = await service.generate(f"Be brief. It is 9:{n % 60:02}:00.", one, **params)
                assert answer.content

    asyncio.run(ask())


def analysed(path: Path, *options: str, env: dict[str, str] | None = None) -> Any:
    done = CliRunner().invoke(cli.app(), ["analyse", str(path), "--json", *options], env=env)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_digests_say_what_the_whole_would(tmp_path: Path) -> None:
    """By default no text is kept; rates and the change that pays most are those of the requests themselves."""
    for keep in ("digests", "plain"):
        asked(Recorder(tmp_path / keep, sample=1, keep=keep), QUESTIONS, temperature=0)
    kept = (tmp_path / "digests").read_text()
    assert "customer" not in kept
    assert "brief" not in kept
    assert "customer" in (tmp_path / "plain").read_text()
    assert (tmp_path / "digests").stat().st_mode & 0o077 == 0
    one, other = analysed(tmp_path / "digests"), analysed(tmp_path / "plain")
    for name in ("requests", "exact_hit_rate", "best_hit_rate", "pays_most", "changes"):
        assert one[name] == other[name]
    assert one["requests"] == 120
    assert one["pays_most"]["name"] == "times"
    assert one["pays_most"]["hit_rate"] == pytest.approx(80 / 120)


def test_hits_are_recorded_too(tmp_path: Path) -> None:
    """A hit in memory takes a shorter way; it is recorded like any other call."""
    recorder = Recorder(tmp_path / "log", sample=1)

    async def ask() -> None:
        async with LLMService(SimulatedProvider(speed=1e6), "memory://") as service:
            service.cache.flow.recorder = recorder
            for _ in range(3):
                await service.generate("s", "the same", temperature=0)
            async for _ in service.stream("s", "the same", temperature=0):
                pass

    asyncio.run(ask())
    assert recorder.recorded == 4
    assert analysed(tmp_path / "log")["exact_hit_rate"] == 0.75


def test_plain_requests_are_replayed(tmp_path: Path) -> None:
    """A recording of whole requests is a log like others; one of digests says that it holds none."""
    asked(Recorder(tmp_path / "plain.jsonl", sample=1, keep="plain"), QUESTIONS)
    asked(Recorder(tmp_path / "digests.jsonl", sample=1), QUESTIONS)
    options = ["--json", "--speed", "1e6", "--concurrency", "1", "--backend", "memory://"]
    told = json.loads(CliRunner().invoke(cli.app(), ["replay", str(tmp_path / "plain.jsonl"), *options]).stdout)
    assert (told["requests"], told["bad_lines_by_reason"]) == (len(QUESTIONS), {})
    assert told["hit_rate"] == pytest.approx(analysed(tmp_path / "plain.jsonl")["exact_hit_rate"], abs=0.005)
    told = json.loads(CliRunner().invoke(cli.app(), ["replay", str(tmp_path / "digests.jsonl"), *options]).stdout)
    assert told["bad_lines_by_reason"] == {"a recording without requests": len(QUESTIONS)}


def test_encrypted(tmp_path: Path) -> None:
    key = bytes(range(32))
    recorder = Recorder(
        tmp_path / "log", sample=1, keep="encrypted", serializer=EncryptedSerializer(keys={"recorder": key})
    )
    asked(recorder, QUESTIONS[:30])
    assert b"customer" not in (tmp_path / "log").read_bytes()
    found = analysed(tmp_path / "log", "--key-env", "RECORDER_KEY", env={"RECORDER_KEY": key.hex()})
    assert found["requests"] == 30
    done = CliRunner().invoke(cli.app(), ["analyse", str(tmp_path / "log"), "--json"])
    assert json.loads(done.stdout)["unread"] == {"an encrypted request (--key-env names the variable with its key)": 30}
    other = {"OTHER_KEY": bytes(32).hex()}
    done = CliRunner().invoke(cli.app(), ["analyse", str(tmp_path / "log"), "--key-env", *other, "--json"], env=other)
    assert json.loads(done.stdout)["unread"] == {"an encrypted request that this key does not open": 30}
    done = CliRunner().invoke(cli.app(), ["analyse", str(tmp_path / "log"), "--key-env", "NO_SUCH"])
    assert done.exit_code == 2


def test_a_sample_is_one_of_questions(tmp_path: Path) -> None:
    """All requests of a question are in it, or none: so the rate is that of the whole."""
    recorder = Recorder(tmp_path / "log", sample=0.5, secret=b"a secret of this test")
    asked(recorder, QUESTIONS)
    found = analysed(tmp_path / "log")
    assert found["requests"] % 3 == 0, "each question was asked three times"
    assert 30 <= found["requests"] <= 90
    assert found["pays_most"]["hit_rate"] == pytest.approx(2 / 3)


def test_the_files_are_bounded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "log", sample=1, max_bytes=16_384)
    asked(recorder, QUESTIONS)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) <= 16_384
    assert 0 < analysed(tmp_path / "log")["requests"] < 120


def test_it_never_costs_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that is not there is one line in the log, and every call is answered."""
    recorder = Recorder(tmp_path / "no such folder" / "log", sample=1)
    asked(recorder, QUESTIONS[:5])
    assert recorder.recorded == 0
    assert [record.message for record in caplog.records if "recorded" in record.message] == [
        "requests are not recorded: FileNotFoundError"
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sample": 0}, "sample must be over 0"),
        ({"sample": 2}, "sample must be over 0"),
        ({"keep": "all"}, "keep must be"),
        ({"keep": "encrypted"}, "belong together"),
        ({"max_bytes": 10}, "max_bytes must be at least"),
    ],
)
def test_wrong_settings(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionsError, match=words):
        Recorder(tmp_path / "log", **options)


def test_damaged_lines_are_counted(tmp_path: Path) -> None:
    asked(Recorder(tmp_path / "log", sample=1), QUESTIONS[:3])
    with (tmp_path / "log").open("a") as file:
        file.write('{"at": 1, "prints": {"a": ["zz"]}}\n{oops\n[]\n')
    done = CliRunner().invoke(cli.app(), ["analyse", str(tmp_path / "log"), "--json"])
    told = json.loads(done.stdout)
    assert told["requests"] == 3
    assert sum(told["unread"].values()) == 3
