"""A small disk for a test to fill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sqlite.disks import mounted


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of two megabytes, or as many as asked for, where this user may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "tmpfs", f"size={getattr(request, 'param', 2)}m"):
        yield folder
