"""Whether a file is on a disk of this machine: only such a file is read in the thread of a caller.

A network file system may not answer for minutes, and then neither would the event loop that reads from it.
"""

from __future__ import annotations

import os
from typing import Final

_MOUNTS: Final = "/proc/self/mountinfo"
_LOCAL: Final = frozenset(
    {
        "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "overlay", "ramfs", "reiserfs",
        "tmpfs", "vfat", "xfs", "zfs",
    }
)  # fmt: skip


def is_local(path: str) -> bool:
    """Return whether the file at the absolute `path` is on a local disk; False where that cannot be told.

    It can be told on Linux.
    """
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
            return kind_of(path, mounts.read()) in _LOCAL
    except OSError:
        return False


def kind_of(path: str, mounts: str) -> str:
    """Return the type of the file system that holds `path`, by `mounts`: text in the form of `/proc/self/mountinfo`."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        fields, _, others = line.partition(" - ")
        parts, rest = fields.split(" "), others.split(" ")
        if len(parts) < 5:
            continue
        point = _unescaped(parts[4])
        below = point if point.endswith(os.sep) else point + os.sep
        # Of two mounts at one place, the later one is on top.
        if (path + os.sep).startswith(below) and len(below) >= longest:
            kind, longest = rest[0], len(below)
    return kind


def _unescaped(point: str) -> str:
    for escaped, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(escaped, character)
    return point
