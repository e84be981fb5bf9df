"""Commands that look: they find what an application stored, show no content unasked, and make nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from pathlib import Path
from typing import Any

import pydantic
import pytest

from cachecore import Cache, SyncCache
from cachecore.testing.servers import free_port
from tests.integration.operating.conftest import Run, fill


def test_stats_counts_what_is_there(url: str, run: Run) -> None:
    fill(url)
    done = run("stats", url, "--json")
    assert done.status == 0, done.err
    told = done.json
    assert (told["ended"], told["complete"], told["entries"], told["without_expiry"]) == ("ok", True, 3, 1)
    assert told["states"] == {"fresh": 3}
    assert {name: row["entries"] for name, row in told["namespaces"].items()} == {"faq": 2, "faq/v3": 1}
    assert {name: row["entries"] for name, row in told["tags"].items()} == {"shop": 3, "doc:1": 1, "doc:2": 1}
    assert sum(row["entries"] for row in told["ages"]) == sum(row["entries"] for row in told["sizes"]) == 3
    assert told["bytes"] == sum(row["bytes"] for row in told["namespaces"].values())
    assert told["largest"][0]["key"].startswith("cc:e:faq/v3:")
    below = run("stats", url, "--namespace", "faq/v3", "--json").json
    assert below["entries"] == 1


def test_stats_for_people(url: str, run: Run) -> None:
    fill(url)
    out = run("stats", url).out
    assert "3 answers" in out
    assert "doc:1" in out
    assert "1 never expire" in out


def test_stats_tells_what_is_invalid(url: str, run: Run) -> None:
    """The bytes of an answer whose tag was invalidated are still there; it counts as invalid."""
    fill(url)
    assert run("invalidate", url, "--tag", "doc:1", "--yes").status == 0
    assert run("stats", url, "--json").json["states"] == {"fresh": 2, "invalid": 1}


def test_ls_lists_without_content(url: str, run: Run) -> None:
    fill(url)
    done = run("ls", url, "--json")
    rows = done.json["answers"]
    assert sorted(row["namespace"] for row in rows) == ["faq", "faq", "faq/v3"]
    assert "the first" not in done.out
    (row,) = run("ls", url, "--tag", "doc:1", "--json").json["answers"]
    assert (row["state"], row["served_by"], sorted(row["tags"])) == ("fresh", "m1", ["doc:1", "shop"])
    assert 0 <= row["age"] < 60
    assert 3300 < row["fresh_until"] - row["created"] <= 3600
    assert run("ls", url, "--tag", "no such").status == 1
    assert "fresh" in run("ls", url).out


def test_show_and_get_by_the_digits_of_cache_status(url: str, run: Run) -> None:
    """Metadata without asking; content only with --reveal."""
    fill(url)
    (row,) = run("ls", url, "--tag", "doc:1", "--json").json["answers"]
    digest = row["key"].rpartition(":")[2]
    for name in (row["key"], digest, digest[:12]):
        done = run("show", name, url, "--json")
        assert done.status == 0, done.err
        assert done.json["key"] == row["key"]
        assert set(done.json["stamps"].values()) == {"current"}
        assert "the first" not in done.out
    assert run("show", digest, url, "--reveal", "--json").json["content"] == {"text": "the first"}
    assert run("get", digest, url).status == 2
    got = run("get", digest, url, "--reveal")
    assert (got.status, got.json) == (0, {"text": "the first"})
    told = run("get", digest, url, "--reveal", "--json")
    assert told.json == {"content": {"text": "the first"}, "ended": "ok", "problem": None}
    assert "say --reveal" in run("get", digest, url, "--json").json["problem"]
    assert run("show", "0" * 12, url).status == 1
    assert run("get", "0" * 12, url, "--reveal").status == 1
    bad = run("show", "nonsense", url)
    assert bad.status == 2
    assert "is no key" in bad.err


NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


@dataclasses.dataclass
class Said:
    text: str
    at: datetime.datetime
    by_number: dict[int, str]


class Spoken(pydantic.BaseModel):
    audio: bytes
    at: datetime.datetime


@pytest.mark.parametrize("serializer", ["msgpack", "compressed+msgpack", "encrypted+compressed+msgpack"])
def test_answers_of_annotated_functions_can_be_read(
    tmp_path: Path, run: Run, serializer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come as the plain data that was stored of them."""
    monkeypatch.chdir(tmp_path)
    keys = f', keys = {{ k1 = "{"ab" * 32}" }}' if serializer.startswith("encrypted") else ""
    Path("cachecore.toml").write_text(f'serializer = {{ name = "{serializer}"{keys} }}\n')
    cache = SyncCache[Any]("sqlite:///answers.db", ttl=60)

    @cache.cached
    def say(text: str) -> Said:
        return Said(text * 1000, NOON, {1: "one"})

    @cache.cached
    def speak(text: str) -> Spoken:
        return Spoken(audio=b"\xff", at=NOON)

    @cache.cached
    def other(text: str) -> Said:
        return {"of no": ["declared", "type"]}  # type: ignore[return-value]  # it is kept as plain data

    say("a")
    speak("a")
    other("a")
    cache.close()
    said = run("get", say.key("a").rpartition(":")[2], "sqlite:///answers.db", "--reveal").json
    assert said == {"text": "a" * 1000, "at": str(NOON), "by_number": {"1": "one"}}
    spoken = run("get", speak.key("a").rpartition(":")[2], "sqlite:///answers.db", "--reveal").json
    assert spoken["audio"] == "ff"
    kept = run("get", other.key("a").rpartition(":")[2], "sqlite:///answers.db", "--reveal").json
    assert kept == {"of no": ["declared", "type"]}


def test_a_prefix_stands_in_keys_encoded(url: str, run: Run) -> None:
    """The prefix is given as the application gives it."""
    fill(url, "my app*")
    assert run("stats", url, "--prefix", "my app*", "--json").json["entries"] == 3
    assert run("stats", url, "--prefix", "my app", "--json").json["entries"] == 0


@pytest.mark.parametrize(
    "command", [["stats"], ["ls"], ["show", "12345678"], ["export", "x.archive"], ["invalidate", "--all", "--yes"]]
)
def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, run: Run, command: list[str]) -> None:
    at = len(command) if command[0] != "invalidate" else 1
    done = run(*command[:at], f"sqlite:///{tmp_path}/folder/none.sqlite", *command[at:])
    assert done.status == 2
    assert "there is no such file" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_answer(run: Run) -> None:
    for command in (["stats"], ["ls"], ["show", "12345678"]):
        done = run(*command, f"redis://user:hunter2@127.0.0.1:{free_port()}/0", "--json")
        assert done.status == 3
        assert done.json["problem"] == "the store does not answer: refused"
        assert "hunter2" not in done.out + done.err
    assert run("ls", f"redis://127.0.0.1:{free_port()}/0").out == "", "whether there are answers is not known"


def test_which_store(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL it is the configured one; without that, the error says what to do."""
    monkeypatch.chdir(tmp_path)
    assert "set CACHECORE_BACKEND" in run("stats").err
    url = f"sqlite:///{tmp_path}/answers.sqlite"
    fill(url, "shop")
    (tmp_path / "cachecore.toml").write_text(f'backend = "{url}"\nprefix = "shop"\n')
    assert run("stats", "--json").json["entries"] == 3


def test_another_prefix_is_told(url: str, run: Run, tmp_path: Path) -> None:
    """A store without answers under the prefix says under which it has some."""
    fill(url, "my app")
    done = run("stats", url)
    assert "there are answers under --prefix my app" in done.out
    assert run("stats", url, "--json").json["other_prefixes"] == ["my app"]
    hint = "there are answers under --prefix my app"
    fill(url, "other")
    assert hint in run("show", "12345678", url, "--prefix", "other").out, "it may be a key of that one"
    assert hint not in run("ls", url, "--prefix", "other", "--state", "dead").out
    for command, status in ((["ls", url], 1), (["show", "12345678", url], 1), (["doctor", url], 0)):
        done = run(*command)
        assert done.status == status
        assert hint in done.out
    assert hint in run("get", "12345678", url, "--reveal").err
    assert hint in run("delete", url, "12345678", "--yes").out
    assert hint in run("invalidate", url, "--tag", "shop", "--yes").out
    assert hint not in run("invalidate", url, "--tag", "shop", "--yes", "--prefix", "my app").out
    for command in (["export", f"{tmp_path}/archive", url], ["copy", url, f"sqlite:///{tmp_path}/new.sqlite"]):
        done = run(*command)
        assert done.status == 1
        assert hint in done.out
    wrong = run("ls", url, "--state", "nonsense")
    assert wrong.status == 2
    assert "fresh, stale, dead" in wrong.err


def test_what_is_in_the_store_cannot_write_to_the_terminal(url: str, run: Run) -> None:
    """Control characters of a tag are escaped, and markup is text."""

    async def put() -> None:
        async with Cache(url, ttl=60) as cache:
            await cache.set("q", 1, tags=["\x1b[31mred", "[bold]x[/bold]"], required=True)

    asyncio.run(put())
    for command in (["stats", url], ["ls", url], ["ls", url, "--tag", "[bold]x[/bold]"]):
        out = run(*command).out
        assert "\x1b" not in out
    assert "[bold]x[/bold]" in run("stats", url).out
    assert "\\x1b[31mred" in run("stats", url).out


def test_keys_are_printed_whole_and_as_they_are(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is one line in a narrow terminal, and the prefix `a:b` is no emoji, so that a key can be copied."""
    fill(url, "a:b")
    monkeypatch.setenv("COLUMNS", "40")
    keys = [row["key"] for row in run("ls", url, "--prefix", "a:b", "--json").json["answers"]]
    assert all(key.startswith("a:b:e:faq") for key in keys)
    listed = [line.split()[-1] for line in run("ls", url, "--prefix", "a:b").out.splitlines()]
    assert sorted(listed[1:]) == sorted(keys)
    counted = run("stats", url, "--prefix", "a:b").out
    assert all(key in counted for key in keys)
    assert f"key: {keys[0]}\n" in run("show", keys[0], url, "--prefix", "a:b").out


def test_an_answer_that_is_bytes_is_revealed_as_what_it_says(url: str, run: Run) -> None:
    """Bodies of providers are bytes: JSON is shown as JSON, text as text, and digits only what is neither."""
    values = {
        "json": b'{"text": "Gr\xc3\xbc\xc3\x9fe"}',
        "text": b"data: 1\n\n",
        "neither": b"\xff\x00",
        "odd": b"{\x1b[31m",
    }

    async def put() -> None:
        async with Cache(url, ttl=60) as cache:
            await cache.set("q", values, required=True)

    asyncio.run(put())
    (row,) = run("ls", url, "--json").json["answers"]
    wanted = {"json": {"text": "Grüße"}, "text": "data: 1\n\n", "neither": "ff00", "odd": b"{\x1b[31m".hex()}
    assert run("get", row["key"], url, "--reveal").json == wanted
    assert run("show", row["key"], url, "--reveal", "--json").json["content"] == wanted
    assert "Grüße" in run("show", row["key"], url, "--reveal").out
