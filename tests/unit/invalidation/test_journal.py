"""Pending invalidations in a file: there when the caller is told, taken over once its owner is dead, never twice."""

from __future__ import annotations

import errno
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cachecore import OptionsError
from cachecore.invalidation.outbox.backlog import Groups, Invalidation, Root, entries, stamps
from cachecore.invalidation.outbox.journal import Journal

ROOT = ("p:s:n",)
FAQ: Groups = (("p:s:n/faq",), ROOT)


def journal(folder: Path, prefix: str = "p") -> Journal:
    return Journal(str(folder), Root(prefix, ROOT))


def names(items: list[Invalidation]) -> set[str]:
    return {item.name for item in items}


def write(folder: Path, *items: Invalidation) -> Journal:
    made = journal(folder)
    made.append(items)
    assert made.flush(lambda: items)
    return made


def test_what_was_flushed_is_taken_over_once_its_owner_is_gone(tmp_path: Path) -> None:
    owner = write(tmp_path, *entries(["p:e:faq:1"], FAQ), *stamps(["p:s:t/doc"], FAQ))
    first, second = journal(tmp_path), journal(tmp_path)
    assert first.adopt() == []  # its owner lives and holds the lock
    owner.close()
    adopted = first.adopt()
    assert names(adopted) == {"p:e:faq:1", "p:s:t/doc"}
    assert {item.name: item.above for item in adopted} == {"p:e:faq:1": FAQ, "p:s:t/doc": (ROOT,)}
    assert second.adopt() == []  # it is in the first one's file now
    first.close()
    assert names(second.adopt()) == {"p:e:faq:1", "p:s:t/doc"}
    second.close()


def test_what_was_not_flushed_was_never_promised(tmp_path: Path) -> None:
    owner = journal(tmp_path)
    owner.append(entries(["p:e:1"], FAQ))
    assert list(tmp_path.iterdir()) == []
    owner.close()


def test_what_is_kept_is_all_that_is_left(tmp_path: Path) -> None:
    """What was delivered once is known to have been."""
    owner = write(tmp_path, *entries(["p:e:1", "p:e:2"], FAQ))
    owner.append(entries(["p:e:3"], FAQ))
    (pending,), (again,) = entries(["p:e:1"], FAQ), entries(["p:e:4"], FAQ)
    owner.keep([pending, replace(again, delivered=True)])
    owner.close()
    heir = journal(tmp_path)
    assert {item.name: item.delivered for item in heir.adopt()} == {"p:e:1": False, "p:e:4": True}
    heir.close()
    second = journal(tmp_path)
    assert {item.name: item.delivered for item in second.adopt()} == {"p:e:1": False, "p:e:4": True}
    second.keep([])
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_disk_that_fails_at_the_end_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner = write(tmp_path, *entries(["p:e:1", "p:e:2"], FAQ))

    def fail(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        owner.keep(entries(["p:e:1"], FAQ))
    assert "cannot be written" in caplog.text
    owner.close()
    assert names(journal(tmp_path).adopt()) == {"p:e:1", "p:e:2"}


def test_delivered_leaves_nothing(tmp_path: Path) -> None:
    owner = write(tmp_path, *entries(["p:e:1"], FAQ))
    (path,) = tmp_path.iterdir()
    owner.clear()
    assert path.stat().st_size == 0
    owner.close()
    assert list(tmp_path.iterdir()) == []
    assert journal(tmp_path).adopt() == []


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_torn_last_line_is_tolerated(tmp_path: Path, cut: int) -> None:
    owner = write(tmp_path, *entries(["p:e:1"], FAQ))
    owner.append(entries(["p:e:2"], FAQ))
    owner.flush(list)
    owner.close()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert names(journal(tmp_path).adopt()) == {"p:e:1"}


def test_damage_in_the_middle_invalidates_everything(tmp_path: Path) -> None:
    """Something was promised that cannot be read any more."""
    owner = write(tmp_path, *entries(["p:e:1"], FAQ))
    owner.append(entries(["p:e:2"], FAQ))
    owner.flush(list)
    owner.close()
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().split(b"\n")
    lines[1] = b"\xff" + lines[1][1:]
    path.write_bytes(b"\n".join(lines))
    assert names(journal(tmp_path).adopt()) == {"p:e:2", *ROOT}


@pytest.mark.parametrize("over", [0, 1])
def test_file_that_is_too_long_invalidates_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, over: int
) -> None:
    """Nothing of what was promised is dropped, and nothing is read without bounds."""
    write(tmp_path, *entries([f"p:e:{number}" for number in range(100)], FAQ)).close()
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr("cachecore.invalidation.outbox.journal._MAX_BYTES", path.stat().st_size - over)
    adopted = names(journal(tmp_path).adopt())
    assert adopted == (set(ROOT) if over else {f"p:e:{number}" for number in range(100)})
    assert ("everything" in caplog.text) == bool(over)


def test_file_of_another_application_is_left_alone_however_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards: a file of another prefix or format is neither read past the bound nor changed."""
    write(tmp_path, *entries([f"p:e:{number}" for number in range(100)], FAQ)).close()
    (path,) = tmp_path.iterdir()
    endless = tmp_path / "1-abc.pending"
    endless.write_bytes(b"x" * 1000)
    data = path.read_bytes()
    monkeypatch.setattr("cachecore.invalidation.outbox.journal._MAX_BYTES", 500)
    assert journal(tmp_path, "other").adopt() == []
    assert path.read_bytes() == data
    assert endless.read_bytes() == b"x" * 1000


@pytest.mark.parametrize(
    "data", [b"nothing of ours\n", b'{"version":2,"prefix":"p","root":[]}\n{}\n', b"[]\n"], ids=repr
)
def test_files_of_others_are_left_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "1-abc.pending"
    path.write_bytes(data)
    (tmp_path / "notes.txt").write_text("mine")
    assert journal(tmp_path).adopt() == []
    assert path.read_bytes() == data
    assert (tmp_path / "notes.txt").exists()


def test_file_without_a_whole_line_promised_nothing(tmp_path: Path) -> None:
    (tmp_path / "1-abc.pending").write_bytes(b'{"version":1,"pre')
    assert journal(tmp_path).adopt() == []
    assert list(tmp_path.iterdir()) == []


def test_another_prefix_is_another_application(tmp_path: Path) -> None:
    write(tmp_path, *entries(["p:e:1"], FAQ)).close()
    assert journal(tmp_path, "other").adopt() == []
    assert names(journal(tmp_path).adopt()) == {"p:e:1"}


def test_file_holds_keys_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    write(folder, *entries(["p:e:1"], FAQ))
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert b"p:e:1" in path.read_bytes()


def test_file_stays_bounded(tmp_path: Path) -> None:
    """A store that is away for long, with much that pends and is replaced, does not fill the disk."""
    owner = journal(tmp_path)
    pending = entries([f"p:e:{number}" for number in range(1000)], FAQ)
    for _ in range(200):
        owner.append(pending)
        owner.flush(lambda: pending)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 2_000_000
    owner.close()
    assert names(journal(tmp_path).adopt()) == {item.name for item in pending}


def test_full_disk_costs_the_file_and_not_the_caller(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What could not be written is written once the disk works again."""
    owner = journal(tmp_path)
    first, second = entries(["p:e:1"], FAQ), entries(["p:e:2"], FAQ)
    owner.append(first)
    tmp_path.rename(tmp_path.with_name("away"))
    assert not owner.flush(lambda: first)
    assert "cannot be written" in caplog.text
    assert "p:e:1" not in caplog.text
    tmp_path.with_name("away").rename(tmp_path)
    owner.append(second)
    assert owner.flush(lambda: [*first, *second])
    owner.close()
    assert names(journal(tmp_path).adopt()) == {"p:e:1", "p:e:2"}


def test_disk_that_fills_up_in_the_middle_of_a_line_costs_that_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written once there is room stands behind whole lines, the head of the file included."""
    owner = journal(tmp_path)
    first = entries(["p:e:1"], FAQ)
    owner.append(first)
    written = 0
    real = os.write

    def short(file: int, data: bytes) -> int:
        nonlocal written
        if written:
            raise OSError(errno.ENOSPC, "full")
        written = real(file, bytes(data)[:10])
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        assert not owner.flush(lambda: first)
    assert owner.flush(lambda: first)
    owner.close()
    assert names(journal(tmp_path).adopt()) == {"p:e:1"}


def test_threads_that_flush_at_once_lose_nothing(tmp_path: Path) -> None:
    owner = journal(tmp_path)
    made = [entries([f"p:e:{number}"], FAQ) for number in range(40)]

    def keep(part: list[list[Invalidation]]) -> None:
        for items in part:
            owner.append(items)
            assert owner.flush(list)

    threads = [threading.Thread(target=keep, args=(made[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owner.close()
    assert names(journal(tmp_path).adopt()) == {item.name for items in made for item in items}


def test_directory_that_cannot_be_used_fails_while_building(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionsError, match="pending_path"):
        journal(tmp_path / "file")
    with pytest.raises(OptionsError, match="pending_path"):
        journal(tmp_path / "file" / "below")
