"""Archives: from any store to any, whole or not at all, valid afterwards, and nothing comes back that was invalid."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import Cache
from cachecore.cli.archive import ArchiveWriter, Content, DamagedArchiveError, read
from cachecore.cli.transfer import Importer
from cachecore.serializers import EncryptedSerializer
from cachecore.testing.groups import Cluster
from tests.conftest import SERVERS
from tests.integration.operating.conftest import Run, answers, fill

ALL = ["first", "secon", "third"]


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    with Cluster(SERVERS[max(SERVERS)], timeout_ms=60_000) as cluster:
        yield cluster.url


def test_there_and_back(url: str, run: Run, tmp_path: Path) -> None:
    """An archive of any store fills a file, and an archive of that the store again."""
    other = f"sqlite:///{tmp_path}/other.sqlite"
    fill(url)
    done = run("export", f"{tmp_path}/a", url, "--json")
    assert (done.status, done.json["answers"]) == (0, 3)
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0
    done = run("import", f"{tmp_path}/a", other, "--json")
    assert (done.status, done.json["outcomes"]) == (0, {"stored": 3})
    assert answers(other) == ALL
    again = run("import", f"{tmp_path}/a", other, "--json")
    assert (again.status, again.json["outcomes"]) == (0, {"already": 3})
    life = [row["fresh_until"] for row in run("ls", url, "--json").json["answers"]]
    assert sorted(map(str, life)) == sorted(
        str(row["fresh_until"]) for row in run("ls", other, "--json").json["answers"]
    )
    assert run("invalidate", other, "--tag", "doc:1", "--yes").status == 0
    assert answers(other) == [None, "secon", "third"], "tags work as before"
    assert run("export", f"{tmp_path}/b", other).status == 0
    assert run("invalidate", url, "--all", "--yes").status == 0
    back = run("import", f"{tmp_path}/b", url, "--json")
    assert back.json["answers"] == 2


def test_from_and_to_a_cluster(run: Run, tmp_path: Path, cluster_url: str) -> None:
    """Hash tags come and go: keys and stamps are made anew, and the answers are valid."""
    one, two = f"sqlite:///{tmp_path}/one.sqlite", f"sqlite:///{tmp_path}/two.sqlite"
    fill(one)
    assert run("export", f"{tmp_path}/a", one).status == 0
    for _ in range(2):
        assert run("import", f"{tmp_path}/a", cluster_url).status == 0
    assert answers(cluster_url) == ALL
    assert run("copy", cluster_url, two).status == 0
    assert answers(two) == ALL
    assert run("invalidate", cluster_url, "--tag", "doc:1", "--yes").status == 0
    assert answers(cluster_url) == [None, "secon", "third"]


def test_what_was_invalidated_since_stays_invalid(url: str, run: Run, tmp_path: Path) -> None:
    """An archive from before an invalidation brings nothing back, unless a person says that nothing lies between."""
    fill(url)
    assert run("export", f"{tmp_path}/a", url).status == 0
    assert run("invalidate", url, "--tag", "doc:1", "--yes").status == 0
    refill = asyncio.run(_new_tag(url))
    assert refill
    done = run("import", f"{tmp_path}/a", url, "--json")
    assert (done.status, done.json["outcomes"]["other_stamps"]) == (1, 1)
    assert answers(url) == [None, "secon", "third"]
    assert run("invalidate", url, "--all", "--yes").status == 0
    assert asyncio.run(_new_tag(url))
    assert run("import", f"{tmp_path}/a", url, "--json").json["outcomes"] == {"other_stamps": 3}
    assert run("import", f"{tmp_path}/a", url, "--restamp", "--json").json["outcomes"] == {"stored": 3}
    assert answers(url) == ALL


async def _new_tag(url: str) -> bool:
    """Store another answer with the tag doc:1, which has a new stamp then; delete what the first had left."""
    async with Cache(url, ttl=3600, namespace="faq", tags=["shop"]) as cache:
        return await cache.set({"q": "other"}, {}, tags=["doc:1"])


def test_what_is_invalidated_during_an_export(
    url: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stamps are read last: an answer that was written before its tag was invalidated is not imported."""
    fill(url)
    finish = ArchiveWriter.finish

    def after_an_invalidation(self: object, stamps: dict[str, bytes]) -> None:
        kept = {name: stamp for name, stamp in stamps.items() if "doc%3A1" not in name}
        finish(self, kept)  # type: ignore[arg-type]  # the writer itself

    monkeypatch.setattr(ArchiveWriter, "finish", after_an_invalidation)
    assert run("export", f"{tmp_path}/a", url).status == 0
    other = f"sqlite:///{tmp_path}/other.sqlite"
    assert run("import", f"{tmp_path}/a", other, "--json").json["outcomes"] == {"stored": 2, "invalid": 1}
    assert answers(other) == [None, "secon", "third"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "no end"])
def test_a_damaged_archive_changes_nothing(run: Run, tmp_path: Path, damage: str) -> None:
    """It is read as a whole before the first answer is stored."""
    url, other = f"sqlite:///{tmp_path}/a.sqlite", f"sqlite:///{tmp_path}/b.sqlite"
    fill(url)
    archive = tmp_path / "archive"
    assert run("export", str(archive), url).status == 0
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "no end":
        del data[-30:]
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
    else:
        data[:] = b"PK\x03\x04" + bytes(1000)
    archive.write_bytes(data)
    done = run("import", str(archive), other)
    assert done.status == 2, done.out
    assert str(archive) in done.err
    assert not (tmp_path / "b.sqlite").exists()


def test_an_interrupted_export_is_gone_on_with(run: Run, tmp_path: Path) -> None:
    """What a killed run has left, cut in the middle of an answer, is finished and is a whole archive."""
    url, other = f"sqlite:///{tmp_path}/a.sqlite", f"sqlite:///{tmp_path}/b.sqlite"
    fill(url)
    assert run("export", f"{tmp_path}/whole", url).status == 0
    data = (tmp_path / "whole").read_bytes()
    for cut in (60, 200, 400, len(data) - 5):
        (tmp_path / "x.part").write_bytes(data[:cut])
        (tmp_path / "x").unlink(missing_ok=True)
        refused = run("export", f"{tmp_path}/x", url)
        assert refused.status == 2
        assert "--resume" in refused.err
        done = run("export", f"{tmp_path}/x", url, "--resume", "--json")
        assert (done.status, done.json["answers"]) == (0, 3), done.err
        done = run("import", f"{tmp_path}/x", other, "--dry-run", "--json")
        assert done.status == 2  # a dry run makes no file
        assert run("import", f"{tmp_path}/x", url, "--dry-run", "--json").json["outcomes"] == {"already": 3}
    assert run("export", f"{tmp_path}/x", url).status == 2


def test_an_older_answer_makes_way_only_if_asked(url: str, run: Run, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.sqlite"
    fill(url)
    assert run("copy", url, other).status == 0
    fill(url)
    done = run("copy", url, other, "--json")
    assert (done.status, done.json["outcomes"]) == (1, {"older": 3})
    assert run("copy", url, other, "--overwrite", "--json").json["outcomes"] == {"stored": 3}
    assert run("copy", other, url, "--json").json["outcomes"] == {"already": 3}


def test_encrypted_answers_are_copied_but_not_restamped(run: Run, tmp_path: Path) -> None:
    """They are bound to key and header: the same bytes open, others would not."""
    one, two = f"sqlite:///{tmp_path}/one.sqlite", f"sqlite:///{tmp_path}/two.sqlite"
    sealed = EncryptedSerializer(keys={"k1": bytes(32)})

    async def put(url: str, request: str) -> None:
        async with Cache(url, ttl=60, serializer=sealed) as cache:
            await cache.set(request, "secret", required=True)

    async def got(url: str) -> object:
        async with Cache(url, ttl=60, serializer=sealed) as cache:
            return await cache.get("a")

    asyncio.run(put(one, "a"))
    assert run("copy", one, two, "--json").json["outcomes"] == {"stored": 1}
    assert asyncio.run(got(two)) == "secret"
    assert run("invalidate", two, "--all", "--yes").status == 0
    asyncio.run(put(two, "b"))
    done = run("copy", one, two, "--restamp", "--json")
    assert (done.status, done.json["outcomes"]) == (1, {"sealed": 1})


def test_what_is_invalidated_during_a_copy(url: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that is invalidated at the source after its answers were copied is made invalid in the target too."""
    other = f"sqlite:///{tmp_path}/other.sqlite"
    fill(url)
    put = Importer.put

    async def then_invalidate(self: Importer, records: list[tuple[str, bytes]]) -> None:
        await put(self, records)
        async with Cache(url, ttl=60) as cache:
            await cache.invalidate_tags("doc:1")

    monkeypatch.setattr(Importer, "put", then_invalidate)
    done = run("copy", url, other, "--json")
    assert (done.status, done.json["tags_invalidated_meanwhile"]) == (0, 1)
    assert answers(other) == [None, "secon", "third"]


@pytest.mark.parametrize("stamps", [{"cc:s:n": 1}, {"cc:s:n": {}}, {1: b"12345678"}, {b"cc:s:n": b"12345678"}])
def test_stamps_of_another_type_are_damage(tmp_path: Path, stamps: Any) -> None:
    with ArchiveWriter(tmp_path / "a", prefix="cc", shards=0, created=1.0) as writer:
        path = writer.part
    path.write_bytes(path.read_bytes() + msgpack.packb(["s", stamps]))
    with pytest.raises(DamagedArchiveError, match="damaged"):
        list(read(path, Content("", 0, 0.0)))


@given(st.data())
def test_no_bytes_whatever_are_taken_for_an_archive(
    tmp_path_factory: pytest.TempPathFactory, whole_archive: bytes, data: st.DataObject
) -> None:
    """Changed, cut or lengthened anywhere, it is refused, or says what it said before."""
    changed = bytearray(whole_archive)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    del changed[data.draw(st.integers(len(changed) // 2, len(changed))) :]
    path = tmp_path_factory.mktemp("archive") / "a"
    path.write_bytes(changed)
    content = Content("", 0, 0.0)
    try:
        found = list(read(path, content))
    except DamagedArchiveError:
        return
    path.write_bytes(whole_archive)
    before = Content("", 0, 0.0)
    assert found == list(read(path, before))
    assert content == before


@pytest.fixture(scope="module")
def whole_archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    with ArchiveWriter(folder / "a", prefix="cc", shards=0, created=1.0) as writer:
        for number in range(3):
            writer.add(f"cc:e::{number:064x}", bytes([number]) * 20)
        writer.finish({"cc:s:n": b"12345678", "cc:s:t%2Fx": b"87654321"})
    return (folder / "a").read_bytes()
