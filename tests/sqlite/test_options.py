"""URLs and options: their meaning, and the errors for wrong ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cachecore.contract import OptionsError
from cachecore_sqlite import SQLiteOptions, from_url


def test_paths_are_those_of_sqlalchemy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes are relative to the current folder, four absolute; a later change of folder has no effect."""
    monkeypatch.chdir(tmp_path)
    backend = from_url("sqlite:///cache.db")
    monkeypatch.chdir("/")
    assert backend.path == str(tmp_path / "cache.db")
    assert from_url(f"sqlite:///{tmp_path}/a%20b.db").path == f"{tmp_path}/a b.db"
    assert from_url("sqlite:////var/cache.db").path == "/var/cache.db"
    assert from_url("sqlite:///:memory:").path == ":memory:"
    assert from_url("sqlite:///~/cache.db").path == os.path.expanduser("~/cache.db")


def test_options_are_query_parameters() -> None:
    """Each option can be given; durations and sizes have units."""
    url = "sqlite:///c.db?max_bytes=256MiB&durability=power&timeout=30ms&readers=3&feed_interval=0.002&heartbeat=100ms"
    assert from_url(url).options == SQLiteOptions(
        max_bytes=256 * 1024 * 1024, durability="power", timeout=0.03, readers=3, feed_interval=0.002, heartbeat=0.1
    )
    assert from_url("sqlite:///c.db").options == SQLiteOptions()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://host/c.db", "sqlite:///"),
        ("sqlite:///", "names a file"),
        ("sqlite:///folder/", "names a file"),
        ("sqlite:///c.db#part", "%23"),
        ("sqlite:///c.db?max_size=3", "'max_size' is no option .* max_bytes"),
        ("sqlite:///c.db?timeout=1s&timeout=2s", "timeout is given twice"),
        ("sqlite:///c.db?timeout=0", "timeout must be more than 0"),
        ("sqlite:///c.db?timeout=soon", "timeout must be a duration"),
        ("sqlite:///c.db?max_bytes=10", "max_bytes must be a whole number of at least 1048576"),
        ("sqlite:///c.db?max_bytes=1.5GO", "max_bytes must be a size such as"),
        ("sqlite:///c.db?readers=0", "readers must be a whole number of at least 1"),
        ("sqlite:///c.db?durability=full", "durability must be one of process, file, power"),
    ],
)
def test_wrong_urls_say_what_is_right(url: str, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        from_url(url)
