"""What the contract does not say of object stores: refusals, forks, processes on one folder, distance."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import HTTPStore, MemoryStore
from typer.testing import CliRunner

from cachecore import Cache
from cachecore.cli import app
from cachecore.contract import BackendError, BackendUnavailable, OptionsError
from cachecore.testing.clocks import FakeClock
from cachecore.testing.proxy import Proxy
from cachecore_objects import ObjectBackend, from_url
from cachecore_objects.records import Record, decode, encode, ends, key_of, path_of
from tests.objects.azurite import azure_url
from tests.objects.conftest import bucket_of, s3_url

ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=250)


@given(ASCII)
def test_a_path_is_its_key(key: str) -> None:
    path = path_of(key)
    assert key_of(path) == key
    assert all(0 < len(part) <= 255 and part not in (".", "..") for part in path.split("/"))


@given(ASCII, ASCII)
def test_no_object_is_the_folder_of_another(one: str, other: str) -> None:
    """A file system has either a file or a folder of one name."""
    folders = path_of(other).split("/")[:-1]
    assert path_of(one) not in {"/".join(folders[:end]) for end in range(1, len(folders) + 1)}


@given(st.binary(max_size=100))
def test_foreign_bytes_are_no_record(data: bytes) -> None:
    if not data.startswith(b"cco1"):
        assert decode("k", data) is None
        assert ends(data) is None


def test_a_record_of_another_key_is_none() -> None:
    """A file system that takes two names for one must not answer one key with the value of another."""
    assert decode("doc:A", encode("doc:a", Record(b"v", 1.0))) is None
    assert decode("doc:a", encode("doc:a", Record(b"v", 1.0))) == Record(b"v", 1.0)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://bucket?nosuch=1", "'nosuch' is not valid"),
        ("s3://bucket?timeout=0", "timeout must be more than 0"),
        ("s3://bucket?concurrency=many", "concurrency must be a whole number"),
        ("file://host/folder", "a folder is named by file:///folder"),
        ("file:///folder?region=x", "with no options of obstore"),
        (f"file://{__file__}", "as in file:///folder, where this user may make one"),
        ("s3://", "as in s3://bucket: "),
    ],
)
def test_wrong_urls_are_refused(url: str, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        from_url(url)
    with pytest.raises(OptionsError):
        Cache(url, ttl=60)


def test_options_of_the_http_client_are_taken() -> None:
    """Among those of the store obstore panics at them."""
    names = ("allow_http", "http1_only", "proxy_excludes", "randomize_addresses", "user_agent", "default_content_type")
    query = "&".join(f"{name}=true" for name in names)
    from_url(
        f"s3://bucket?{query}&connect_timeout=2s&pool_idle_timeout=5s&read_timeout=5s&proxy_url=http://127.0.0.1:1"
    )
    for url in (
        "s3://b?AWS_ALLOW_HTTP=true",
        "s3://b?Proxy_Url=http://x",
        "az://c?account_name=x&azure_allow_http=true",
    ):
        with pytest.raises(OptionsError, match="obstore does not take"):
            from_url(url)


@pytest.mark.parametrize("name", ["default_region", "AWS_DEFAULT_REGION"])
def test_the_default_region_is_the_stores(name: str) -> None:
    """Its name begins as those of two options of the HTTP client do."""
    store: Any = from_url(f"s3://bucket?{name}=eu-central-1")._store
    assert store.config["default_region"] == "eu-central-1"


async def test_a_write_that_fails_after_its_caller_has_left_is_no_noise() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    backend = from_url("s3://bucket?endpoint=http://127.0.0.1:1&region=x&access_key_id=a&secret_access_key=b&timeout=1")
    writing = asyncio.ensure_future(backend.set_many({"k": b"v", "l": b"w"}, ttl=60))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait(backend._writes)
    with pytest.raises(asyncio.CancelledError):
        await writing
    del writing
    await asyncio.sleep(0)
    gc.collect()
    assert told == []


def test_a_store_without_conditions_is_refused() -> None:
    with pytest.raises(OptionsError, match="cannot write on a condition"):
        ObjectBackend(HTTPStore.from_url("http://127.0.0.1:1"))


async def test_a_server_that_ignores_conditions_is_refused(s3_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would let two processes win one swap: that is found before the first swap is believed."""
    import obstore

    honest = obstore.put_async

    async def put(store: Any, path: str, data: bytes, **options: Any) -> Any:
        return await honest(store, path, data, **{**options, "mode": "overwrite"})

    monkeypatch.setattr(obstore, "put_async", put)
    backend = from_url(s3_url(s3_server, bucket_of(s3_server)))
    with pytest.raises(BackendError) as refused:
        await backend.swap("k", None, b"v", ttl=60)
    assert (refused.value.reason, refused.value.transient) == ("no_swap", False)
    await backend.set_many({"k": b"v"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()


async def test_many_swaps_of_two_backends_have_one_winner_each(s3_server: int) -> None:
    url = s3_url(s3_server, bucket_of(s3_server))
    backends = [from_url(url), from_url(url)]
    for number in range(10):
        won = await asyncio.gather(*(each.swap(f"k{number}", None, b"v", ttl=60) for each in backends * 4))
        assert sum(won) == 1
    for each in backends:
        await each.aclose()


def _count(url: str, times: int) -> None:
    async def count() -> None:
        backend = from_url(url)
        for _ in range(times):
            while True:
                (old,) = await backend.get_many(["n"])
                if await backend.swap("n", old, b"%d" % (int(old or b"0") + 1), ttl=None):
                    break
        await backend.aclose()

    asyncio.run(count())


async def test_processes_on_one_folder_lose_no_swap(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_count, args=(url, 20)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        await asyncio.to_thread(child.join, 600)
        assert child.exitcode == 0
    backend = from_url(url)
    assert await backend.get_many(["n"]) == [b"60"]
    await backend.aclose()


async def test_prune_deletes_what_has_ended_and_nothing_else(tmp_path: Path) -> None:
    clock = FakeClock()
    backend = from_url(f"file://{tmp_path}", clock=clock)
    await backend.set_many({f"dead:{i}": b"v" for i in range(20)}, ttl=5)
    await backend.set_many({"live": b"v"}, ttl=60)
    assert await backend.swap("live", b"v", None, ttl=None)
    await backend.set_many({"other": b"v"}, ttl=60)
    clock.advance(10)
    assert await backend.prune() == 21
    assert await backend.get_many(["other"]) == [b"v"]
    assert [path.name for path in await asyncio.to_thread(lambda: list(tmp_path.rglob("*_")))] == ["other_"]
    await backend.aclose()


async def test_a_folder_goes_with_its_last_file(tmp_path: Path) -> None:
    """Each system prompt of an LLM has a folder: 4 KB of the disk for each would stay for ever."""
    backend = from_url(f"file://{tmp_path}/answers", clock=(clock := FakeClock()))
    await backend.set_many({f"cc:e:prompt-{i}/a:b": b"v" for i in range(3)}, ttl=5)
    await backend.set_many({"cc:e:prompt-3/a:b": b"v"}, ttl=60)
    clock.advance(10)
    assert await backend.prune() == 3
    (left,) = await asyncio.to_thread(lambda: list((tmp_path / "answers" / "cc" / "e").iterdir()))
    assert left.name == "prompt-3=2Fa"
    assert await backend.delete_many(["cc:e:prompt-3/a:b"]) == 1
    assert await asyncio.to_thread(lambda: [path.name for path in (tmp_path / "answers").iterdir()]) == [".locks"]
    await backend.aclose()


async def test_a_page_of_a_scan_is_as_many_as_go_at_once() -> None:
    """A batch of more takes round trips that its deadline does not know of: 300 answers 30 ms away were not deleted."""
    backend = ObjectBackend(MemoryStore(), concurrency=8)
    keys = [f"k{number}" for number in range(100)]
    await backend.set_many(dict.fromkeys(keys, b"v"), ttl=60)
    pages = [page async for page in backend.scan("")]
    assert sorted(key for page in pages for key in page) == sorted(keys)
    assert max(map(len, pages)) <= 8
    await backend.aclose()


async def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """`rm -r` is how a folder is emptied; a cache that is open goes on."""
    url = f"file://{tmp_path}/answers"
    backend = from_url(url)
    await backend.set_many({"k": b"v"}, ttl=60)
    await asyncio.to_thread(shutil.rmtree, tmp_path / "answers")
    assert await backend.get_many(["k"]) == [None]
    assert await backend.delete_many(["k"]) == 0
    await asyncio.to_thread(shutil.rmtree, tmp_path / "answers")
    assert await backend.swap("k", None, b"w", ttl=60)
    await asyncio.to_thread(shutil.rmtree, tmp_path / "answers")
    assert [page async for page in backend.scan("")] == []
    assert await backend.prune() == 0
    await backend.set_many({"k": b"x"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"x"]
    await backend.aclose()


@pytest.mark.parametrize("command", ["doctor", "stats", "ls"])
def test_commands_that_look_make_no_folder(tmp_path: Path, command: str) -> None:
    """A name that is mistyped leaves nothing behind, and is said; a folder that is there stays."""
    done = CliRunner().invoke(app(), [command, f"file://{tmp_path}/no/such"])
    assert done.exit_code == 2
    assert "there is no such folder" in done.output
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    assert CliRunner().invoke(app(), [command, f"file://{tmp_path}/empty"]).exit_code == (1 if command == "ls" else 0)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


async def test_a_child_of_a_process_that_used_one_is_told(tmp_path: Path) -> None:
    """The threads that do the work are not in the child: a call would wait for ever."""
    backend = ObjectBackend(MemoryStore())
    await backend.set_many({"k": b"v"}, ttl=60)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.events._set_running_loop(None)
            try:
                asyncio.run(backend.get_many(["k"]))
            except BackendUnavailable as error:
                status = 0 if error.reason == "forked" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
    assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()


async def test_wrong_keys_a_missing_bucket_and_no_server(s3_server: int) -> None:
    for url, reason in (
        (s3_url(s3_server, "no-such-bucket"), "no_bucket"),
        (s3_url(1, "bucket"), "refused"),
    ):
        backend = from_url(url)
        with pytest.raises(BackendError) as failed:
            await backend.set_many({"k": b"v"}, ttl=60)
        assert failed.value.reason == reason, failed.value.__cause__
        await backend.aclose()


def test_doctor_tells_of_a_bucket_that_is_not_there(s3_server: int) -> None:
    """A read of it finds nothing, as in one that is empty."""
    done = CliRunner().invoke(app(), ["doctor", s3_url(s3_server, "no-such-bucket")])
    assert done.exit_code == 1
    assert "does not answer: no_bucket" in done.output


def test_doctor_tells_of_a_container_that_is_not_there(azure_server: int) -> None:
    done = CliRunner().invoke(app(), ["doctor", azure_url(azure_server, "no-such-container")])
    assert done.exit_code == 1
    assert "does not answer: no_bucket" in done.output


async def test_a_store_30_ms_away_gives_hits_with_the_defaults(s3_server: int) -> None:
    """What one job has computed the next one finds: its first call is a hit."""
    bucket = bucket_of(s3_server)
    calls = 0

    async def factory() -> int:
        nonlocal calls
        calls += 1
        return 42

    with Proxy(s3_server) as link:
        link.slow(0.03)
        took = []
        for _ in range(3):
            async with Cache(s3_url(link.port, bucket), ttl=60) as cache:
                for number in range(5):
                    began = time.monotonic()
                    assert await cache.get_or_set({"q": number}, factory) == 42
                    took.append(time.monotonic() - began)
        assert calls <= 7, took
    print("first job", [round(t * 1e3) for t in took[:5]], "later ones", [round(t * 1e3) for t in took[5:]])


def test_a_folder_is_made_by_the_first_call_and_not_by_a_look(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/new/answers"

    async def use() -> None:
        backend = from_url(url)
        await backend.set_many({"k": b"v"}, ttl=60)
        assert backend.absence() is None
        assert await from_url(url).get_many(["k"]) == [b"v"]
        await backend.aclose()

    assert from_url(url).absence() == "there is no such folder; the first call makes it"
    for command in (["doctor", url], ["stats", url], ["invalidate", url, "--all", "--yes"]):
        looked = CliRunner().invoke(app(), command)
        assert looked.exit_code == 2, looked.output
        assert "there is no such folder" in looked.stderr
    assert list(tmp_path.iterdir()) == []
    asyncio.run(use())


def test_an_object_store_is_not_looked_for() -> None:
    assert ObjectBackend(MemoryStore()).absence() is None
    assert from_url("s3://bucket?region=x").absence() is None
